"""One network of several: their blend, and their merge, aligned and corrected: `blend`, `merge`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llfc.basis import fixed, into_one_basis, permuted
from llfc.connection import BATCH_SIZE
from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import correction_of
from llfc.connectivity.corrections.folding import fold
from llfc.connectivity.samples import Batches, Samples
from llfc.devices import tf32_disabled
from llfc.matching.many import match_many
from llfc.modules import (
    check_inputs,
    check_network,
    check_same_architecture,
    check_same_function,
    check_same_outputs,
    copy_into,
    copy_of,
    device_of,
    eval_copy,
    tensors,
)
from llfc.modules.few_values import few_values_told
from llfc.modules.inputs import Inputs, positional, taken
from llfc.results import LeftOut
from llfc.seeds import generators_left, stream
from llfc.symmetry import permutation_spec
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.tasks import Task, as_task

MANY = ("none", "reset")  # corrections that are defined for more than two networks


@dataclass(frozen=True, eq=False)
class Merged:
    """A network that was merged of several.

    Attributes:
        model: the merged network, in eval mode; its state dict is all that it is.
        weights: of each network in the blend, which add up to 1.
        permutations: of the units of each network, in the order given, or transforms; None where
            none was asked for. The first network's is the identity.
        corrected: the number of layers that the correction changed.
        left_out: what was not permuted and not corrected, and why.
    """

    model: nn.Module
    weights: tuple[float, ...]
    permutations: tuple[Permutation | Transform, ...] | None
    corrected: int
    left_out: tuple[LeftOut, ...]


@few_values_told()
@torch.inference_mode(False)
def blend(models: Sequence[nn.Module], weights: Sequence[float] | None = None) -> nn.Module:
    r"""The network whose parameters and buffers are the weighted mean of those of `models`.

    .. math:: \theta = \sum_i w_i \theta_i

    Nothing is aligned or corrected: that is `merge`. Whole numbers, such as a batch norm's count of
    batches, are the first network's.

    Args:
        models: at least two networks of one architecture, on one device; only copies are run.
        weights: of each, between 0 and 1, which add up to 1; equal ones if None.

    Returns:
        A new module in eval mode.

    Raises:
        ValueError: if there are fewer than two networks, they differ in architecture, or the
            weights are no such weights.

    Reference:
        Wortsman et al., Model soups, ICML 2022. https://arxiv.org/abs/2203.05482

    >>> found = blend([nn.Linear(2, 1), nn.Linear(2, 1)], [0.25, 0.75])
    >>> found.training
    False
    """
    shares = shares_of(len(models), weights)
    copies = [eval_copy(model) for model in _checked(models)]
    return _blended(copies, shares, copies[0])


@few_values_told()
@tf32_disabled()
@generators_left()
@torch.inference_mode(False)
def merge(
    models: Sequence[nn.Module],
    *,
    statistics: Samples | None = None,
    inputs: Inputs | None = None,
    weights: Sequence[float] | None = None,
    matching: str | Permutation | Transform | Sequence[Permutation | Transform] | None = "weights",
    correction: str = "reset",
    task: str | Task = "classification",
    spec: PermutationSpec | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> Merged:
    """Align networks with the first, blend them, and correct the blend's statistics.

    Two networks are aligned as in `llfc.connect`; three and more by `llfc.match_many`, into one
    basis, the first network's, in which all maps between them are consistent. That each network is
    the same function after it was permuted is checked on the first batch.

    Args:
        models: at least two networks of one architecture, on one device; only copies are run.
        statistics: training samples as `llfc.connect` takes them, for corrections and for matchers
            that use features. Needed by `reset` only if there are batch norms.
        inputs: a batch of inputs as the models take it; that of `statistics` if None.
        weights: of each network, between 0 and 1, which add up to 1; equal ones if None.
        matching: of two networks what `llfc.connect` takes; of more, what `llfc.match_many`
            takes, or None. Or the permutations or transforms of all networks, of which the first's
            is the identity.
        correction: a name in CORRECTIONS, or a plug-in's; of more than two networks `reset` or
            `none`. What it changes becomes part of the merged network's own tensors.
        task: what the networks are for, as in `llfc.connect`; of matchers that use targets.
        spec: the permutation symmetry of all; derived from the first if None.
        seed: seed of the matcher's random choices and of the order of samples in memory.
        batch_size: maximum number of samples per batch, for samples in memory.

    Raises:
        ValueError: if the networks differ in more than their parameters and buffers, neither inputs
            nor statistics are given, a name is unknown, a permuted network is another function, or
            the correction needs data, cannot be written into weights, or is for two networks only.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023. https://arxiv.org/abs/2209.04836
        Crisostomi, Fumero, Baieri, Bernard & Rodolà, C2M3, NeurIPS 2024, for three and more.
        https://arxiv.org/abs/2405.17897
    """
    shares, correct = shares_of(len(models), weights), correction_of(correction)
    if len(models) > 2 and correction not in MANY:
        raise ValueError(
            f"correction of more than two networks must be one of {', '.join(MANY)},"
            f" got {correction!r}"
        )
    copies = [eval_copy(model) for model in _checked(models)]
    source, of_task = None, as_task(task)
    if statistics is not None:
        source = Batches("statistics", statistics, batch_size, device_of(copies[0]), task=of_task)
    if inputs is None:
        if source is None:
            raise ValueError("merge needs inputs or statistics, to see that functions are kept")
        inputs = source.first()
    check_inputs("inputs", copies[0], inputs if not isinstance(inputs, Tensor) else [inputs])
    for other in copies[1:]:
        check_same_function(copies[0], other, inputs)
    aligned, permutations, left_out = _aligned(
        copies, matching, spec, inputs, source, of_task, seed
    )
    rest = aligned[1]
    if len(aligned) > 2:
        rest = _blended(aligned[1:], [w / sum(shares[1:]) for w in shares[1:]], aligned[1])
    line = Line(aligned[0], rest, line_positions([0, 1 - shares[0], 1]))
    if source is not None:
        source = source.shuffled(stream(seed, "order/statistics"))
    corrections = correct(line, source, taken(inputs, slice(2)), [1])
    model = copy_of(line.at(1))
    fold(model, corrections, 1)
    if corrections.sites.at:
        line.correct(corrections)
        check_same_outputs(model, line.at(1), inputs)
    return Merged(
        model, shares, permutations, corrections.layers, (*left_out, *corrections.left_out)
    )


def shares_of(count: int, weights: Sequence[float] | None) -> tuple[float, ...]:
    """The weights of `count` networks in a blend; equal ones if None.

    Raises:
        ValueError: if they are not between 0 and 1, do not add up to 1, or are not `count`.
    """
    if count < 2:
        raise ValueError(f"models must be at least two networks, got {count}")
    if weights is None:
        return (1 / count,) * count
    shares = tuple(map(float, weights))
    if len(shares) != count:
        raise ValueError(f"weights must be {count}, one for each network, got {len(shares)}")
    if not all(0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(
            f"weights must lie between 0 and 1 and add up to 1, got {', '.join(map(str, weights))}"
        )
    return shares


def _checked(models: Sequence[nn.Module]) -> Sequence[nn.Module]:
    """The models, if they are networks of one architecture."""
    for number, model in enumerate(models):
        check_network(f"model {number}", model)
    for other in models[1:]:
        check_same_architecture(models[0], other)
    return models


@torch.no_grad()
def _blended(models: Sequence[nn.Module], shares: Sequence[float], whole: nn.Module) -> nn.Module:
    """The blend as a copy of `whole`, whose whole numbers it has."""
    values, total = tensors(models[-1]), shares[-1]
    for model, share in zip(models[-2::-1], shares[-2::-1], strict=True):
        total += share
        part = 1 - share / total
        values = {
            name: torch.lerp(own, values[name], part)
            for name, own in tensors(model).items()
            if own.is_floating_point() or own.is_complex()
        }
    found = copy_of(whole)
    copy_into(found, values)
    return found


def _aligned(
    models: Sequence[nn.Module],
    matching: str | Permutation | Transform | Sequence[Permutation | Transform] | None,
    spec: PermutationSpec | None,
    inputs: Inputs,
    source: Batches | None,
    task: Task,
    seed: int,
) -> tuple[list[nn.Module], tuple[Permutation | Transform, ...] | None, tuple[LeftOut, ...]]:
    """The networks in the basis of the first, their permutations, and what did not move."""
    first, *others = models
    if matching is None:
        return [*models], None, ()
    if spec is None:
        spec = permutation_spec(first, *positional(first, taken(inputs, slice(2))))
    if len(models) == 2 and isinstance(matching, str | Permutation | Transform):
        basis = into_one_basis(first, others[0], matching, spec, inputs, task, source, seed)
        assert basis.found is not None  # as there is a matching
        return [first, basis.b], (spec.identity(), basis.found), basis.left_out
    if isinstance(matching, str):
        found: tuple[Permutation | Transform, ...] = match_many(
            models, spec, matching=matching, batches=[inputs], seed=seed
        )
    else:
        found = _permutations(matching, len(models), spec)
    moved = [
        permuted(first, model, spec, permutation, inputs)
        for model, permutation in zip(others, found[1:], strict=True)
    ]
    return [first, *moved], found, tuple(fixed(spec))


def _permutations(
    given: Permutation | Transform | Sequence[Permutation | Transform],
    count: int,
    spec: PermutationSpec,
) -> tuple[Permutation | Transform, ...]:
    """One for each network, the first's the identity."""
    found = () if isinstance(given, Permutation | Transform) else tuple(given)
    if len(found) != count or not all(isinstance(each, Permutation | Transform) for each in found):
        raise ValueError(f"matching must be a name, None, or {count} permutations, one per network")
    for each in found:
        if isinstance(each, Transform):
            each.check_of(spec)
    if found[0].moved():
        raise ValueError("matching must leave the first network as it is: its permutation moves")
    return found
