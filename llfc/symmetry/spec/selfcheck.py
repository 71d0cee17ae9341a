"""Does a spec preserve the function? Checked on the model, with all groups permuted at random."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
    """Whether all entries are equal, as of a new norm's scale, which would hide a wrong spec."""
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


def randomised_inputs(inputs: Sequence[Any], seed: int) -> tuple[Any, ...]:
    """The inputs, with noise in those tensors whose entries are all equal."""
    leaves, shape = pytree.tree_flatten(tuple(inputs))
    tensors = {str(k): x for k, x in enumerate(leaves) if isinstance(x, Tensor)}
    drawn = randomised(tensors, seed)
    found: tuple[Any, ...] = pytree.tree_unflatten(
        [drawn.get(str(k), x) for k, x in enumerate(leaves)], shape
    )
    return found


def relative_gap(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The maximum over tensors of max |x - y| / max |x|; NaN if any entry is NaN."""
    gaps = [0.0]
    for x, y in zip(before, after, strict=True):
        x, y = (as_reals(side.detach()).double() for side in (x, y))
        if x.numel():
            gaps.append(float((x - y).abs().max() / x.abs().max().clamp_min(1e-30)))
    return float("nan") if any(gap != gap for gap in gaps) else max(gaps)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A model's outputs with a state and with the permuted state, on the same inputs in one mode.

    Attributes:
        permuted: maps a state dict to the permuted one.
        model: the model to run; its own state and mode are unchanged afterwards.
        state: the state dict to run it with.
        inputs: the model's positional arguments.
        seed: of what the model draws at random, the same with either state.
        training: whether to run in train mode, where every random draw is a single number that all
            units share (`OneDraw`).
    """

    permuted: StateMap
    model: nn.Module
    state: Mapping[str, Tensor]
    inputs: Sequence[Any]
    seed: int
    training: bool

    def outputs(self, state: Mapping[str, Tensor], *, spent: bool = False) -> list[Tensor]:
        """The tensors that the model returns with `state`.

        That is not modified, unless it is `spent`: then it is not copied either.
        """
        draws = (
            OneDraw()  # type: ignore[no-untyped-call]
            if self.training
            else contextlib.nullcontext()
        )
        with in_mode(self.model, self.training), drawn_alike(self.seed), torch.no_grad(), draws:
            result = torch.func.functional_call(
                self.model,
                {name: x if spent else x.clone() for name, x in state.items()},
                pytree.tree_map_only(Tensor, Tensor.clone, tuple(self.inputs)),
                tie_weights=False,
            )
        return [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]

    @cached_property
    def before(self) -> list[Tensor]:
        """The outputs with the state as it is."""
        return self.outputs(self.state)

    def gap(self) -> float:
        """The function gap: the largest change of an output, relative to the largest output."""
        return relative_gap(self.before, self.outputs(self.permuted(self.state)))

    def gap_in_double(self) -> float:
        """The function gap in float64; infinite if the model does not run in float64."""
        state = {name: in_double(tensor) for name, tensor in self.state.items()}
        inputs = pytree.tree_map_only(Tensor, in_double, self.inputs)
        try:
            with InDouble():  # type: ignore[no-untyped-call]
                return replace(self, state=state, inputs=inputs).gap()
        except (RuntimeError, TypeError, ValueError):
            return float("inf")

    def rounding(self) -> float:
        """The machine epsilon of the coarsest floating type in which the model computes."""
        with Lowest() as lowest:
            self.outputs(self.state)
        return float(lowest.eps)

    def in_train_mode(self) -> "Comparison | None":
        """The same in train mode, on `twice` the inputs if need be; None if it runs on neither.

        A norm may need more than one example, and a head that only train mode has larger images, or
        targets.
        """
        for given in (self.inputs, twice(self.inputs)):
            comparison = replace(self, inputs=given, training=True)
            with contextlib.suppress(Exception):  # whatever the model's own code raises
                comparison.before  # noqa: B018
                return comparison
        return None

    def gap_and_tolerance(self) -> tuple[float, float]:
        """The function gap, and the largest that can be rounding rather than a false symmetry."""
        gap = self.gap()
        entries = sum(tensor.numel() for tensor in self.state.values())
        if gap <= (SUSPICIOUS if entries < LARGE_STATE else GAP_TOLERANCE):
            return gap, GAP_TOLERANCE
        exact = self.gap_in_double()
        if exact <= max(DOUBLE_TOLERANCE, ROUNDED * min(gap, 1.0)):
            return min(gap, exact), GAP_TOLERANCE
        if math.isfinite(exact) and exact > gap / 10:
            return gap, SUSPICIOUS
        if math.isfinite(exact):
            return gap, GAP_TOLERANCE
        return gap, max(GAP_TOLERANCE, ROUNDINGS * self.rounding())


def function_gap(
    permuted: StateMap, model: nn.Module, inputs: Sequence[Any], seed: int = 0
) -> float:
    """The larger of the function gaps of a copy of `model` in eval and in train mode.

    The function gap is the largest change of an output when the state is `permuted`, relative to
    the largest output; 0 for an exact symmetry in exact arithmetic.

    Where the model rounds by more than the tolerance, the gap is that in float64. A model that does
    not run on the inputs in train mode is checked in eval mode only.

    Raises:
        ValueError: if the gap exceeds 1e-4 or is NaN, or exceeds 1e-5 and is as large in float64,
            so that it is not rounding. For a model that does not run in float64, a larger gap is
            allowed if its own precision is coarser.
    """
    check_network("model", model)
    check_state("model", model)
    model = copy_of(model)
    state = randomised(model.state_dict(), seed)
    in_eval = Comparison(permuted, model, state, randomised_inputs(inputs, seed), seed, False)
    worst = 0.0
    for mode in ("eval", "train"):
        comparison = in_eval if mode == "eval" else in_eval.in_train_mode()
        if comparison is None:
            continue
        gap, allowed = comparison.gap_and_tolerance()
        if not gap <= allowed:
            hint = "" if allowed <= GAP_TOLERANCE else "; upcast it to float32 first to be sure"
            raise ValueError(
                f"permutation spec: outputs in {mode} mode change by {gap:.2g} of their scale, "
                f"more than {allowed:.2g}{hint}"
            )
        worst = max(worst, gap)
    return worst
