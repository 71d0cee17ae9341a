"""The conditions of LLFC at every layer that two networks run, summed over batches."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import nn

from llfc.connectivity.measures.conditions.imageaxis import image_axes
from llfc.connectivity.measures.conditions.operation import (
    Norm,
    Operation,
)
from llfc.connectivity.measures.conditions.operations import operations, stream_operations
from llfc.connectivity.measures.conditions.totals import Totals
from llfc.connectivity.measures.shuffled import Shuffled
from llfc.connectivity.subject import Measured, Subject
from llfc.modules.imageaxis import ImageAxis
from llfc.modules.inputs import Inputs, count_of
from llfc.modules.sites import WAY_OUT
from llfc.results import midpoint


@torch.no_grad()
def conditions(subject: Subject) -> Measured:
    r"""Additivity of activations, commutativity of linear maps, blending of norms; alpha = 1/2.

    Where every activation function is additive on A's and B's pre-activations, every layer's own
    weights commute with their features, and every norm of the blend gives the mean of what A's and
    B's give, LLFC holds at every layer with coefficient 1: Theorem 1, with its first two conditions
    for networks without norms. Across a norm those two say nothing: A and B may differ in a layer
    before a layer norm, and both hold exactly while LLFC does not.

    `additivity` has a row for every activation function that the forward pass calls, as a module or
    not, with :math:`u = (\sigma(h_A) + \sigma(h_B)) / 2`, :math:`v = \sigma((h_A + h_B) / 2)` and
    :math:`dist(x, y) = ||x - y||^2 / (||x||\,||y||)`: `dist` dist(u, v) over all images as one
    vector; `cos` the mean over images of their cosine; `coef` that of <v, u> / ||u||²; `signs` the
    share of the pre-activations that are positive in both networks or in none.

    `commutativity` has a row for every convolution and product with a weight: `dist_com`
    dist(W_A H_A + W_B H_B, W_A H_B + W_B H_A), with H the layer's input, over all images as one
    vector and without biases; `dist_w` dist(W_A, W_B) and `dist_h` dist(H_A, H_B), the two trivial
    ways to commute. The first layer, whose inputs are the images, always commutes. A batch norm
    that directly follows the layer is folded into W, as it is a part of the same linear map and
    undoes any scale of the weights; `raw_commutativity` has the same of these layers' own weights.

    `norms` has a row for every norm, with u the mean of what A's and B's give and v what the norm
    of the network half way between them, corrected, gives of the mean of their inputs: `dist`,
    `cos` and `coef` of u and v as in `additivity`. What REPAIR and RESCALE do after a layer is not
    in it.

    Networks are corrected as the blends are, since that is where LLFC is measured.

    An absolute value proves nothing: two independent Gaussian pre-activations have dist 0.158 and
    cos 0.930 under a ReLU. So each is given for three `pair`s: `matched`, A and B; `shuffled`, A
    and B on different images, 512 random ones of all the data, as `Shuffled` has them; and
    `unmatched`, A and B as it was before it was matched, where there is one.

    Scalars are of the matched pair: means over the layers and the worst; `_ratio_shuffled` and
    `_ratio_unmatched` are the sum of the distances over the control's. A network with no activation
    function, no linear map, or no norm, has no such table and scalars. Where a vector is zero,
    `distance` and `additivity` say what stands in; what is seen of a network, `operations` does.

    Costs, over the test data, a forward pass of A, of B and of the unmatched B, another of each
    pair's layers, one more where batch norms are folded, and the same on 512 images for the
    shuffled pair; a correction of one position if there are norms and an unmatched B.

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
    found, shuffled = Totals(), Shuffled(subject.seed)
    for pair, other in others.items():
        of_other, between = operations(other, example), _between(subject, pair, example, ran)
        _check_alike(ran, of_other)
        _check_alike(ran, between)
        found.prepare(pair, ran, of_other, between)
    for images, _ in subject.test:
        shuffled.add(images)
        _add_batch(found, a, others, images, axes)
    for images, different in shuffled.pairs(subject.test.batch_size):
        _add_batch(found, a, {"shuffled": b}, images, axes, different)
    return found.measured()


def _between(
    subject: Subject, pair: str, example: Inputs, ran: Sequence[Operation]
) -> Sequence[Operation]:
    """The operations of the network half way between A and the other, whose norms are its own."""
    if not any(isinstance(operation, Norm) for operation in ran):
        return ran
    line, at = subject.line, midpoint(subject.line.alpha)
    if pair == "matched" and line.alpha[at] == 0.5:
        between = line.at(at)
    else:
        other = line.b if pair == "matched" else subject.unmatched
        assert other is not None
        between = subject.half_way(line.a, other)
    return operations(between, example)


def _add_batch(
    found: Totals,
    model: nn.Module,
    others: Mapping[str, nn.Module],
    images: Inputs,
    axes: Sequence[ImageAxis | None],
    different: Inputs | None = None,
) -> None:
    """A on `images`, the others on these or on `different` ones.

    A function of its own, so that a batch's features are let go of before the next ones come.
    """
    of_a = operations(model, images)
    found.check_repeats(of_a, axes)
    for pair, other in others.items():
        step = _InStep(found, pair, of_a, axes, count_of(images))
        stream_operations(other, images if different is None else different, step.receive)
        step.check_ended()


@dataclass(eq=False)
class _InStep:
    """Another network's forward pass on a batch, beside what A did on it."""

    found: Totals
    pair: str
    of_a: Sequence[Operation]
    axes: Sequence[ImageAxis | None]
    count: int
    index: int = 0

    def receive(self, b: Operation) -> None:
        """Add A's next operation and `b`, which must be the same one."""
        a = self.of_a[self.index] if self.index < len(self.of_a) else None
        if a is None or _said(a) != _said(b):
            _refuse(a, b)
        self.found.add((self.pair, self.index), a, b, self.axes[self.index], self.count)
        self.index += 1

    def check_ended(self) -> None:
        """See that A ran no more than the other."""
        if self.index < len(self.of_a):
            _refuse(self.of_a[self.index], None)


def _check_alike(a: Sequence[Operation], b: Sequence[Operation]) -> None:
    for one, other in itertools.zip_longest(a, b):
        if _said(one) != _said(other):
            _refuse(one, other)


def _refuse(a: Operation | None, b: Operation | None) -> NoReturn:
    raise ValueError(
        f"A and B run different operations: {_said(a)} and {_said(b)};"
        f" leave out the measure 'conditions'; or, {WAY_OUT}"
    )


def _said(operation: Operation | None) -> str:
    if operation is None:
        return "none more"
    shape = tuple(operation.input.shape)
    return f"{operation.function} in {operation.layer!r} on {shape}"
