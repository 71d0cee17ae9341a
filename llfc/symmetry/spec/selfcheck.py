"""Does a spec keep the function? Asked of the model itself, with everything permuted at once."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from llfc.modules import check_network, check_state, copy_of, in_mode, twice
from llfc.modules.reals import as_reals
from llfc.seeds import drawn_alike, stream
from llfc.symmetry.spec.onedraw import OneDraw
from llfc.symmetry.spec.precision import InDouble, Lowest, in_double
from llfc.symmetry.spec.sharing import shared_names

StateMap = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]  # a state in another basis
GAP_TOLERANCE = 1e-4  # of the outputs' scale, in float32
# Norms over two numbers magnify rounding beyond that. What exceeds it is asked again in float64,
# where a true symmetry is far below this and a false one is as far off as before.
DOUBLE_TOLERANCE = 1e-8
# Of the gap in float32, which is rounding if that in float64 is smaller by so much: float64 rounds
# 2e-9 times as much. Batch norms over two numbers, one after another, magnify both.
ROUNDED = 1e-6
# A false symmetry of small weights may stay below the tolerance; float64 does not shrink it.
SUSPICIOUS = 1e-5
ROUNDINGS = 32  # of the model's own precision, where it does not run in float64
LARGE_STATE = 1 << 27  # entries from which float64 is asked only when float32 fails: memory


def is_plain(tensor: Tensor) -> bool:
    """Whether a fresh network holds one and the same number throughout, which would hide errors."""
    return tensor.numel() > 0 and bool((tensor == tensor.flatten()[0]).all())


def randomised(state: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The state with random norm statistics, and with noise where all entries are equal."""
    generator = stream(seed, "self-check")
    new: dict[str, Tensor] = {}
    first = shared_names(state)
    for name, tensor in state.items():
        new[name] = tensor.detach().clone()
        if first[name] != name:
            new[name] = new[first[name]]
            continue
        if not tensor.is_floating_point() or not (is_plain(tensor) or "running_" in name):
            continue
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float32).to(tensor)
        around_one = name.endswith("running_var") or bool(tensor.abs().mean() > 0.1)
        new[name] = 0.5 + noise if around_one else 0.4 * (noise - 0.5)
    return new


def outputs(
    model: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[Any], seed: int
) -> list[Tensor]:
    """The tensors that the model returns with this state; its own state is untouched."""
    draws = (
        OneDraw()  # type: ignore[no-untyped-call]
        if model.training
        else contextlib.nullcontext()
    )
    with drawn_alike(seed), torch.no_grad(), draws:
        copies = {name: tensor.clone() for name, tensor in state.items()}
        result = torch.func.functional_call(
            model,
            copies,
            pytree.tree_map_only(Tensor, Tensor.clone, tuple(inputs)),
            tie_weights=False,
        )
    return [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]


def relative_gap(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest entry of its tensor."""
    gaps = [0.0]
    for x, y in zip(before, after, strict=True):
        x, y = (as_reals(side.detach()).double() for side in (x, y))
        if x.numel():
            gaps.append(float((x - y).abs().max() / x.abs().max().clamp_min(1e-30)))
    return float("nan") if any(gap != gap for gap in gaps) else max(gaps)


def gap_in_mode(
    permuted: StateMap,
    model: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Sequence[Any],
    seed: int,
    training: bool,
) -> float:
    """The function gap in eval mode, or in train mode with draws that are one number."""
    found = []
    for entries in (state, permuted(state)):
        with in_mode(model, training):
            found.append(outputs(model, entries, inputs, seed))
    return relative_gap(*found)


def trainable(
    model: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[Any]
) -> Sequence[Any] | None:
    """The inputs, or `twice`, on which the model runs in train mode; None if on neither.

    A norm may need more than one example, and a head for train mode alone larger ones, or targets.
    """
    for given in (inputs, twice(inputs)):
        with contextlib.suppress(Exception), in_mode(model, True):  # whatever its own code raises
            outputs(model, state, given, seed=0)
            return given
    return None


def function_gap(
    permuted: StateMap, model: nn.Module, inputs: Sequence[Any], seed: int = 0
) -> float:
    """The worse of the function gaps of a copy of `model` in eval and in train mode.

    The function gap is how much the outputs change when the state is `permuted`, relative to the
    largest of them.

    Where the model rounds by more than the tolerance, the gap is that in float64. A model that does
    not run on the inputs in train mode is asked in eval mode alone.

    Raises:
        ValueError: the gap exceeds 1e-4 of the outputs' scale, or is not a number, or exceeds 1e-5
            and is as large in float64, so that it is no rounding. Of a model that does not run in
            float64, more is allowed if its own precision is coarser.
    """
    check_network("model", model)
    check_state("model", model)
    model = copy_of(model)
    state = randomised(model.state_dict(), seed)
    leaves, shape = pytree.tree_flatten(tuple(inputs))
    drawn = {str(k): x for k, x in enumerate(leaves) if isinstance(x, Tensor)}
    drawn = randomised(drawn, seed)
    inputs = pytree.tree_unflatten([drawn.get(str(k), x) for k, x in enumerate(leaves)], shape)
    worst = 0.0
    for training in (False, True):
        given = trainable(model, state, inputs) if training else inputs
        if given is None:
            continue
        gap, allowed = judged(permuted, model, state, given, seed, training)
        if not gap <= allowed:
            where = "train" if training else "eval"
            hint = "" if allowed <= GAP_TOLERANCE else "; upcast it to float32 first to be sure"
            raise ValueError(
                f"permutation spec: outputs in {where} mode change by {gap:.2g} of their scale, "
                f"more than {allowed:.2g}{hint}"
            )
        worst = max(worst, gap)
    return worst


def judged(
    permuted: StateMap,
    model: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Sequence[Any],
    seed: int,
    training: bool,
) -> tuple[float, float]:
    """The function gap in one mode, and how much of it may be rounding."""
    gap = gap_in_mode(permuted, model, state, inputs, seed, training)
    entries = sum(tensor.numel() for tensor in state.values())
    if gap <= (SUSPICIOUS if entries < LARGE_STATE else GAP_TOLERANCE):
        return gap, GAP_TOLERANCE
    exact = gap_in_double(permuted, model, state, inputs, seed, training)
    if exact <= max(DOUBLE_TOLERANCE, ROUNDED * min(gap, 1.0)):
        return min(gap, exact), GAP_TOLERANCE
    if math.isfinite(exact) and exact > gap / 10:
        return gap, SUSPICIOUS
    if math.isfinite(exact):
        return gap, GAP_TOLERANCE
    return gap, max(GAP_TOLERANCE, ROUNDINGS * coarsest(model, state, inputs, seed, training))


def gap_in_double(
    permuted: StateMap,
    model: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Sequence[Any],
    seed: int,
    training: bool,
) -> float:
    """The function gap in float64; infinite if the model insists on another type."""
    state64 = {name: in_double(tensor) for name, tensor in state.items()}
    inputs64 = pytree.tree_map_only(Tensor, in_double, inputs)
    try:
        with InDouble():  # type: ignore[no-untyped-call]
            return gap_in_mode(permuted, model, state64, inputs64, seed, training)
    except (RuntimeError, TypeError, ValueError):
        return float("inf")


def coarsest(
    model: nn.Module,
    state: Mapping[str, Tensor],
    inputs: Sequence[Any],
    seed: int,
    training: bool,
) -> float:
    """The relative rounding of the coarsest type that a model computes in."""
    with in_mode(model, training), Lowest() as lowest:
        outputs(model, state, inputs, seed)
    return float(lowest.eps)
