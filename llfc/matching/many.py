"""Matching of several networks at once, into one common basis."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from llfc.devices import tf32_disabled
from llfc.matching.ascent.ascent import ascend, better
from llfc.matching.ascent.relaxation import relaxed
from llfc.matching.mixing.many import transforms_of_many
from llfc.matching.overlap.basis import permuted_tensor
from llfc.matching.overlap.overlap import Index, Overlap
from llfc.matching.overlap.parameters import check_one_function, finite_parameters
from llfc.modules.few_values import few_values_told
from llfc.modules.inputs import Inputs
from llfc.seeds import generators_left, stream
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform

MANY = ("weights", "orthogonal")  # matchers that are defined for several networks
MOST_ROUNDS = 20  # a bound: the ascent ends when no network moves, usually after two or three


@few_values_told()
@tf32_disabled()
@generators_left()
@torch.inference_mode(False)
def match_many(
    models: Sequence[nn.Module],
    spec: PermutationSpec,
    *,
    matching: str = "weights",
    batches: Iterable[Inputs] | None = None,
    seed: int = 0,
) -> tuple[Permutation, ...] | tuple[Transform, ...]:
    r"""For each network, the permutation that aligns it with all others, in one common basis.

    .. math:: \max_{P_1 \dots P_n} \sum_{p < q} \sum_l \langle P_p(W_p)^l, P_q(W_q)^l \rangle

    The networks take turns: each is matched with the sum of the others, first by Frank-Wolfe and
    then by coordinate ascent, until none changes; the sum above never decreases. The first
    network's basis is the common one, so its permutation is the identity. The map from p to q goes
    through the common basis, so the maps around any cycle compose to the identity.

    Args:
        models: at least two networks of one architecture; none is modified.
        spec: their symmetry.
        matching: `weights`; or `orthogonal`, for transforms by maps of each group's whole kind that
            minimise the sum of squared distances (`llfc.matching.mixing.many`).
        batches: inputs that the models accept; on the first of them the first model, with the
            parameters and buffers of another, must give the other's outputs. If None, all settings
            of the models must be equal.
        seed: seed of the order in which groups are visited.

    Raises:
        ValueError: if there are fewer than two models, they differ in more than their tensors, or
            one holds a number that is not finite.

    Reference:
        Crisostomi, Fumero, Baieri, Bernard & Rodolà, C2M3: Cycle-Consistent Multi-Model Merging,
        NeurIPS 2024. https://arxiv.org/abs/2405.17897
    """
    if len(models) < 2:
        raise ValueError(f"match_many needs at least two models, got {len(models)}")
    check_many(matching)
    check_one_function({f"{i}": model for i, model in enumerate(models)}, spec, batches)
    states = [finite_parameters(model, f"{i}") for i, model in enumerate(models)]
    if matching == "orthogonal":
        return transforms_of_many(states, spec)
    generator = stream(seed, "matching/many")
    found: list[Index] = [dict(spec.identity()) for _ in models]
    placed = [_moved(spec, index, state) for index, state in zip(found, states, strict=True)]
    for round_ in range(MOST_ROUNDS):
        unmoved = True
        for p in range(1, len(models)):
            # In the first round a network sees only those that have found their place.
            others = [placed[q] for q in range(p if round_ == 0 else len(models)) if q != p]
            overlap = Overlap(_sum(others), states[p], spec)
            best, _ = ascend(overlap, found[p], generator)
            if round_ == 0:
                best = better(overlap, best, ascend(overlap, relaxed(overlap)[0], generator)[0])
            if better(overlap, found[p], best) is best:
                found[p], unmoved = best, False
                placed[p] = _moved(spec, best, states[p])
        if unmoved and round_ > 0:
            break
    return tuple(Permutation(index) for index in found)


def check_many(matching: str) -> None:
    """Refuse a matching that is not defined for several networks.

    Raises:
        ValueError: if it is none of MANY, or has options.
    """
    if matching not in MANY:
        raise ValueError(
            f"matching of several networks must be one of {', '.join(MANY)}, got {matching!r}"
        )


def _sum(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([state[name] for state in states]).sum(0) for name in states[0]}


def _moved(spec: PermutationSpec, index: Index, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: permuted_tensor(spec, index, name, tensor) for name, tensor in state.items()}
