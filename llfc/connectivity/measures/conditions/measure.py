"""The two conditions of every layer that two networks run, summed over batches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from llfc.connectivity.measures.conditions.additivity import Additivity, additivity
from llfc.connectivity.measures.conditions.commutativity import (
    Commutativity,
    Weights,
    commutativity,
)
from llfc.connectivity.measures.conditions.imageaxis import image_axes
from llfc.connectivity.measures.conditions.operation import Activation, LinearMap, Operation
from llfc.connectivity.measures.conditions.operations import hear_operations, operations
from llfc.connectivity.measures.conditions.sums import Four, S, as_they_lie
from llfc.connectivity.measures.shuffled import Shuffled
from llfc.connectivity.measures.subject import Measured, Subject
from llfc.imageaxis import ImageAxis
from llfc.results import TABLES, Table

PAIRS = ("matched", "shuffled", "unmatched")


@torch.no_grad()
def conditions(subject: Subject) -> Measured:
    r"""Weak additivity of each activation function, commutativity of each linear map; alpha = 1/2.

    Where every activation function is additive on A's and B's pre-activations, and every layer's
    weights commute with their features, LLFC holds at every layer with coefficient 1 (Theorem 1).

    `additivity` has a row for every activation function that the forward pass calls, as a module or
    not, with :math:`u = (\sigma(h_A) + \sigma(h_B)) / 2`, :math:`v = \sigma((h_A + h_B) / 2)` and
    :math:`dist(x, y) = ||x - y||^2 / (||x||\,||y||)`: `dist` dist(u, v) over all images as one
    vector; `cos` the mean over images of their cosine; `coef` that of <v, u> / ||u||²; `signs` the
    share of the pre-activations that are positive in both networks or in none.

    `commutativity` has a row for every convolution and product with a weight: `dist_com`
    dist(W_A H_A + W_B H_B, W_A H_B + W_B H_A), with H the layer's input, over all images as one
    vector and without biases; `dist_w` dist(W_A, W_B) and `dist_h` dist(H_A, H_B), the two trivial
    ways to commute. The first layer, whose inputs are the images, always commutes.

    Networks are corrected as the blends are, since that is where LLFC is measured.

    An absolute value proves nothing: two independent Gaussian pre-activations have dist 0.158 and
    cos 0.930 under a ReLU. So each is given for three `pair`s: `matched`, A and B; `shuffled`, A
    and B on different images, 512 random ones of all the data, as `Shuffled` has them; and
    `unmatched`, A and B as it was before it was matched, where there is one.

    Scalars are of the matched pair: means over the layers and the worst; `_ratio_shuffled` and
    `_ratio_unmatched` are the sum of the distances over the control's. A network with no activation
    function, or no linear map, has no such table and scalars. Where a vector is zero, `distance`
    and `additivity` say what stands in; what is seen of a network, `operations` does.

    Costs, over the test data, a forward pass of A, of B and of the unmatched B, another of each
    pair's layers, and the same on 512 images for the shuffled pair.

    Raises:
        ValueError: if the networks run different operations, as where data decide what is run; if
            features are not finite.

    Reference:
        Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear
        Feature Connectivity, NeurIPS 2023, section 5. https://arxiv.org/abs/2307.08286
    """
    line = subject.line
    a, b = line.ends
    others = {"matched": b}
    if subject.unmatched is not None:
        others["unmatched"] = subject.unmatched
    example = subject.test.example()
    ran = operations(a, example)
    axes = image_axes(a, example, ran)
    found, shuffled = _Found(), Shuffled(subject.seed)
    for images, _ in subject.test:
        shuffled.add(images)
        _add_batch(found, a, others, images, axes)
    for images, different in shuffled.pairs(subject.test.batch_size):
        _add_batch(found, a, {"shuffled": b}, images, axes, different)
    return found.measured()


def _add_batch(
    found: "_Found",
    model: nn.Module,
    others: Mapping[str, nn.Module],
    images: Tensor,
    axes: Sequence[ImageAxis | None],
    different: Tensor | None = None,
) -> None:
    """A on `images`, the others on these or on `different` ones.

    A function of its own, so that a batch's features are let go of before the next ones come.
    """
    of_a = operations(model, images)
    found.check_repeats(of_a, axes)
    for pair, other in others.items():
        step = _InStep(found, pair, of_a, axes, len(images))
        hear_operations(other, images if different is None else different, step.receive)
        step.check_ended()


@dataclass(eq=False)
class _InStep:
    """Another network's forward pass on a batch, beside what A did on it."""

    found: "_Found"
    pair: str
    of_a: Sequence[Operation]
    axes: Sequence[ImageAxis | None]
    count: int
    index: int = 0

    def receive(self, b: Operation) -> None:
        """Add A's next operation and `b`, which must be the same one."""
        a = self.of_a[self.index] if self.index < len(self.of_a) else None
        if a is None or _said(a) != _said(b):
            raise ValueError(f"A and B run different operations: {_said(a)} and {_said(b)}")
        self.found.add((self.pair, self.index), a, b, self.axes[self.index], self.count)
        self.index += 1

    def check_ended(self) -> None:
        """See that A ran no more than the other."""
        if self.index < len(self.of_a):
            more = _said(self.of_a[self.index])
            raise ValueError(f"A and B run different operations: {more} and {_said(None)}")


class _Found:
    """Running sums of every operation, by pair and place in forward order."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []  # layer and function
        self.additive: dict[tuple[str, int], Additivity] = {}
        self.commuting: dict[tuple[str, int], Commutativity] = {}
        self.weights: dict[tuple[str, int], Weights] = {}

    def check_repeats(self, ran: Sequence[Operation], axes: Sequence[ImageAxis | None]) -> None:
        """See that A does on this batch what it did on the last one, and on the example."""
        now = [(each.layer, each.function) for each in ran]
        self.ran = self.ran or now
        if now != self.ran or len(now) != len(axes):
            raise ValueError("A does not run the same operations on every batch")

    def add(
        self,
        at: tuple[str, int],
        a: Operation,
        b: Operation,
        axis: ImageAxis | None,
        count: int,
    ) -> None:
        """Add an operation of a batch of `count` images."""
        if axis is not None and not axis.holds(a.input, count):
            axis = None
        four = (a.input, b.input, a.output, b.output)
        if isinstance(a, Activation):
            if axis is None:
                rows = [x.reshape(1, -1) for x in four]
            else:
                alike = four if axis.dim else as_they_lie(*four)
                rows = [axis.rows(x, count) for x in alike]
            _sum(self.additive, at, additivity(cast("Four", tuple(rows)), a.apply))
        elif isinstance(a, LinearMap) and isinstance(b, LinearMap):
            key = _unshuffled(at)
            if key not in self.weights or not a.constant:
                self.weights[key] = Weights.of(a, b)
            dim = None if axis is None else axis.dim
            _sum(self.commuting, at, commutativity(four, a, self.weights[key], dim))

    def measured(self) -> Measured:
        """The tables, and the scalars."""
        found: dict[str, dict[tuple[str, int], tuple[float, ...]]] = {
            "additivity": {at: sums.values() for at, sums in self.additive.items()},
            "commutativity": {
                at: sums.values(self.weights[_unshuffled(at)].distance)
                for at, sums in self.commuting.items()
            },
        }
        tables = {name: self._table(name, rows) for name, rows in found.items() if rows}
        scalars: dict[str, float] = {}
        for name, table in tables.items():
            scalars |= _scalars(name, table)
        return Measured(tables=tables, scalars=scalars)

    def _table(self, name: str, rows: Mapping[tuple[str, int], tuple[float, ...]]) -> Table:
        """A row an operation and pair: all of the matched pair, then all of each control."""
        ordered = sorted(rows, key=lambda at: (PAIRS.index(at[0]), at[1]))
        for at in ordered:
            if not all(map(math.isfinite, rows[at])):
                raise ValueError(f"features of layer {self.ran[at[1]][0]!r} are not finite")
        layers = [self.ran[index][0] for _, index in ordered]
        columns = map(np.array, zip(*(rows[at] for at in ordered), strict=True))
        words = [layers, [pair for pair, _ in ordered]]
        return dict(zip(TABLES[name], [*words, *columns], strict=True))


def _unshuffled(at: tuple[str, int]) -> tuple[str, int]:
    """Where the weights are: the shuffled pair's are the matched pair's."""
    return ("matched", at[1]) if at[0] == "shuffled" else at


def _sum(sums: dict[tuple[str, int], S], at: tuple[str, int], batch: S) -> None:
    sums[at] = sums[at] + batch if at in sums else batch


def _scalars(name: str, table: Table) -> dict[str, float]:
    """Means over the layers and the worst, and how the distances compare with the controls'."""
    of = {pair: np.array([each == pair for each in table["pair"]]) for pair in PAIRS}
    columns = {key: np.asarray(table[key])[of["matched"]] for key in TABLES[name][2:]}
    found = {f"{name}_{key}_mean": float(values.mean()) for key, values in columns.items()}
    first = TABLES[name][2]
    found[f"{name}_{first}_max"] = float(columns[first].max())
    total = float(columns[first].sum())
    for pair in PAIRS[1:]:
        if of[pair].any():
            control = float(np.asarray(table[first])[of[pair]].sum())
            ratio = total / control if control else float("inf")
            found[f"{name}_ratio_{pair}"] = ratio if total else 0.0
    return found


def _said(operation: Operation | None) -> str:
    if operation is None:
        return "none more"
    shape = tuple(operation.input.shape)
    return f"{operation.function} in {operation.layer!r} on {shape}"
