"""Straight-through matching: descent of the midpoint's loss over permutations."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from llfc.matching.ascent.ascent import ascend
from llfc.matching.ascent.search import best_within
from llfc.matching.overlap.basis import permuted_rows
from llfc.matching.overlap.overlap import Index, Overlap
from llfc.matching.taps import batch_definitions
from llfc.modules import device_of, eval_copy, use_batch_statistics
from llfc.modules.inputs import Inputs, on_device, positional
from llfc.modules.reals import norms
from llfc.seeds import stream
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.tasks import CLASSIFICATION

DESCENT_STEPS = 40  # batches; fewer batches are iterated over repeatedly
# A step's length, relative to that of the tensor. On trained pairs of width 1/4 the loss that Adam
# (1e-3) brought to 0.30 (MLP) and 2.04 (VGG-11) came to 0.18 and 1.60; at 0.01, to 0.29 and 2.03.
STEP_LENGTH = 0.1
TINY = 1e-30  # so that a gradient of zero moves nothing
LOSS_TIE = 1e-5  # relative; a smaller decrease of the loss does not count


def match_straight_through(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b at which the midpoint of the line agrees best with the two ends.

    .. math:: \min_P E_x \, \mathrm{KL}(\bar p(x) \,\|\, f_{(\theta_A + P(\theta_B)) / 2}(x))

    where :math:`\bar p` is the mean of the two ends' class probabilities, so no labels are needed.
    This is not the training of Git Re-Basin, which descends the midpoint's loss on labels for
    epochs: it is 40 steps, one batch each, without labels.

    Free weights, a's at first, are projected onto the permutations of b by coordinate ascent of
    their overlap; the midpoint is run with the projection, and its gradient is passed straight
    through to the free weights, each tensor of which takes a step in proportion to its own length.
    Norms use the statistics of the batch, as a blend's own are not known. Of all permutations on
    the way, the identity included, the one of lowest loss over all batches is returned: `objective`
    is minus that loss, `iterations` the number of steps.

    Costs 40 gradient steps of one batch, an ascent at each, and, whenever the permutation changed,
    a forward pass over all batches; memory for three networks. Use it where the midpoint itself is
    the aim: it is what is fitted, so judge it on data that were not given here.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted; neither model is modified.
        spec: the symmetry of both.
        batches: inputs as the models take them.
        seed: of the order in which groups are visited.

    Raises:
        ValueError: if there are no batches, the models differ in architecture, a parameter is not
            finite, or the output has one number, which is no logits of classes.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin: Merging Models modulo Permutation Symmetries,
        ICLR 2023, section 3.3, for the estimator. https://arxiv.org/abs/2209.04836
        You, Gitman & Ginsburg, Large Batch Training of Convolutional Networks, 2017, for the
        length of a step. https://arxiv.org/abs/1708.03888
    """
    data = [] if batches is None else list(batches)
    if not data:
        raise ValueError("straight-through matching needs batches of inputs, got none")
    _, definitions = batch_definitions(a, b, data)
    overlap = Overlap.of(a, b, spec)
    midpoint = _Midpoint(a, b, spec, data)
    (before, after), best = _descended(overlap, midpoint, stream(seed, "matching/straight-through"))
    record = {"objective_before": before, "objective": after, "iterations": DESCENT_STEPS}
    return Permutation(best, record, definitions=definitions)


def _descended(
    overlap: Overlap, midpoint: "_Midpoint", generator: Generator
) -> tuple[tuple[float, float], Index]:
    """Minus the midpoint's loss at the identity and at the best permutation, and the latter."""
    index: Index = dict(overlap.spec.identity())
    best, lowest = index, midpoint.loss()
    before = lowest
    free = {name: tensor.clone() for name, tensor in midpoint.a.items()}
    for step in range(DESCENT_STEPS):
        found = _projection(overlap.towards(free), index if step else None, generator)
        if any(not torch.equal(found[group], index[group]) for group in index):
            index = found
            midpoint.move(index)
            loss = midpoint.loss()
            if loss < lowest - LOSS_TIE * abs(lowest):
                best, lowest = index, loss
        midpoint.descend(free, step)
    return (-before, -lowest), best


def _projection(towards_free: Overlap, start: Index | None, generator: Generator) -> Index:
    """The permutation of b nearest to the free weights: by ascent from `start`, or by a search.

    By itself, so that the scores, which are many, are gone before the midpoint runs.
    """
    if start is None:
        return best_within(towards_free, generator)[0]
    return ascend(towards_free, start, generator)[0]


class _Midpoint:
    """The network half-way between a and a permuted b, and how it differs from the two ends.

    It stands at the identity until it is moved. Beside the two networks it takes the memory of
    three: copies of both, which are what is run, and its own weights.
    """

    def __init__(
        self, a: nn.Module, b: nn.Module, spec: PermutationSpec, data: list[Inputs]
    ) -> None:
        self.spec, self.data = spec, data
        ends = eval_copy(a), eval_copy(b)
        self.a, self.b = (dict(end.named_parameters()) for end in ends)
        self.device = device_of(ends[0])
        self.model = ends[0]
        self.weights = {
            name: torch.empty_like(tensor, memory_format=torch.contiguous_format)
            for name, tensor in self.a.items()
        }
        self.move(spec.identity())
        with torch.no_grad():
            self.targets = [
                torch.stack([_logits(end(*inputs)).softmax(-1) for end in ends]).mean(0)
                for inputs in map(self._inputs, data)
            ]
        use_batch_statistics(self.model)

    def _inputs(self, batch: Inputs) -> tuple[Any, ...]:
        return positional(self.model, on_device(batch, self.device))

    def move(self, index: Mapping[str, Tensor]) -> None:
        """Stand half-way to the b that `index` gives."""
        for name, weight in self.weights.items():
            a, half = (self.spec.fold(name, tensor) for tensor in (self.a[name], weight))
            for rows, b in permuted_rows(self.spec, index, name, self.b[name]):
                torch.lerp(a[rows], b.to(self.device), 0.5, out=half[rows])

    def _batch_loss(self, weights: Mapping[str, Tensor], number: int) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        inputs = self._inputs(self.data[number])
        logits = _logits(functional_call(self.model, {**weights, **buffers}, inputs))
        return F.kl_div(logits.log_softmax(-1), self.targets[number], reduction="batchmean")

    def loss(self) -> float:
        """The divergence of the midpoint from the ends, mean over the images of all batches."""
        sizes = [len(target) for target in self.targets]
        with torch.no_grad():
            losses = [float(self._batch_loss(self.weights, i)) * n for i, n in enumerate(sizes)]
        return sum(losses) / sum(sizes)

    def descend(self, free: dict[str, Tensor], step: int) -> None:
        """Move the free weights down the midpoint's loss with the projection in their place."""

        def take(name: str, projected: Tensor) -> None:
            assert projected.grad is not None
            length = norms(free[name]) / norms(projected.grad).clamp(min=TINY)
            # In float64 if a length has to be: the two may be further apart than float32 reaches.
            kind = torch.promote_types(projected.grad.dtype, length.dtype)
            free[name] -= projected.grad.to(kind).mul_(STEP_LENGTH * length)
            projected.grad = None  # at once: all gradients together are as large as a network

        leaves = {name: weight.detach().requires_grad_() for name, weight in self.weights.items()}
        for name, leaf in leaves.items():
            hook = functools.partial(take, name)
            leaf.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        with torch.enable_grad():
            loss = self._batch_loss(leaves, step % len(self.data))
            torch.autograd.backward(loss)


def _logits(returned: Any) -> Tensor:
    """What a network gave, or the logits in it, of at least two classes."""
    found: Tensor = CLASSIFICATION.found_in(returned)
    if isinstance(found, Tensor) and found.shape[-1:] == (1,):
        raise ValueError(
            "matching 'straight-through' descends class probabilities, and the output has one"
            " number: choose another, such as 'weights'"
        )
    return found
