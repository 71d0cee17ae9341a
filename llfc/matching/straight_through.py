"""Straight-through matching: descent of the midpoint's loss over permutations."""

import copy
import time
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from llfc.matching.overlap import Index, Overlap
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.record import with_record
from llfc.matching.taps import Inputs
from llfc.matching.weights import ascend, best_of_starts
from llfc.seeds import stream

STEPS = 40  # batches; data that are fewer are gone through again
RATE = 1e-3  # of Adam on the free weights
TIE = 1e-5  # relative; a loss lower by less is no reason to move


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

    where \bar p is the mean of the two ends' class probabilities, so no labels are needed. Free
    weights, a's at first, are projected onto the permutations of b by coordinate ascent of their
    overlap; the midpoint is run with the projection, and its gradient is passed straight through to
    the free weights. Norms use the statistics of the batch, as a blend's own are not known. Of all
    permutations on the way, the identity included, the one of lowest loss over all batches is
    returned: `objective` is minus that loss, `iterations` the number of steps.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted; neither model is modified.
        spec: the symmetry of both.
        batches: inputs as the models take them; can be iterated again.
        seed: of the order in which groups are visited, and of dropout.

    Raises:
        ValueError: if there are no batches, the models differ in architecture, or a parameter is
            not finite.

    Reference:
        Ainsworth, Hayase & Srinivasa, Git Re-Basin: Merging Models modulo Permutation Symmetries,
        ICLR 2023, section 3.3. https://arxiv.org/abs/2209.04836
    """
    began = time.perf_counter()
    data = [] if batches is None else [_as_tuple(batch) for batch in batches]
    if not data:
        raise ValueError("straight-through matching needs batches of inputs, got none")
    overlap = Overlap.of(a, b, spec)
    midpoint = _Midpoint(a, b, spec, data)
    generator = stream(seed, "matching/straight-through")
    index: Index = dict(spec.identity())
    best, lowest = index, midpoint.loss(index)
    before = lowest
    free = {name: tensor.detach().clone() for name, tensor in a.named_parameters()}
    adam = torch.optim.Adam([tensor.requires_grad_() for tensor in free.values()], lr=RATE)
    start, _ = best_of_starts(overlap, generator)
    for step in range(STEPS):
        projected = overlap.towards({name: tensor.detach() for name, tensor in free.items()})
        moved, _ = ascend(projected, index if step else start, generator)
        if step == 0 or any(not torch.equal(moved[g], index[g]) for g in index):
            index = moved
            loss = midpoint.loss(index)
            if loss < lowest - TIE * abs(lowest):
                best, lowest = index, loss
        adam.zero_grad()
        midpoint.pass_through(index, free, step)
        adam.step()
    return with_record(overlap, best, began=began, iterations=STEPS, objective=(-before, -lowest))


class _Midpoint:
    """The network half-way between a and a permuted b, and how it differs from the two ends."""

    def __init__(
        self, a: nn.Module, b: nn.Module, spec: PermutationSpec, data: list[tuple[Tensor, ...]]
    ) -> None:
        self.spec, self.data = spec, data
        self.a = {name: tensor.detach() for name, tensor in a.named_parameters()}
        self.b = {name: tensor.detach() for name, tensor in b.state_dict().items()}
        self.device = next(iter(self.a.values())).device
        self.model = copy.deepcopy(a).train()
        for module in self.model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.eval()
        ends = [copy.deepcopy(end).eval() for end in (a, b)]
        with torch.no_grad():
            self.targets = [
                torch.stack([end(*self._there(batch)).softmax(-1) for end in ends]).mean(0)
                for batch in data
            ]

    def _there(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(tensor.to(self.device) for tensor in batch)

    def _permuted(self, index: Mapping[str, Tensor]) -> dict[str, Tensor]:
        moved = self.spec.apply(index, self.b)
        return {name: moved[name].to(self.device) for name in self.a}

    def _batch_loss(self, weights: Mapping[str, Tensor], number: int) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        logits = functional_call(self.model, {**weights, **buffers}, self._there(self.data[number]))
        return F.kl_div(logits.log_softmax(-1), self.targets[number], reduction="batchmean")

    def loss(self, index: Mapping[str, Tensor]) -> float:
        """The divergence of the midpoint from the ends, mean over the images of all batches."""
        b = self._permuted(index)
        blend = {name: torch.lerp(tensor, b[name], 0.5) for name, tensor in self.a.items()}
        sizes = [len(target) for target in self.targets]
        with torch.no_grad():
            losses = [float(self._batch_loss(blend, i)) * n for i, n in enumerate(sizes)]
        return sum(losses) / sum(sizes)

    def pass_through(self, index: Mapping[str, Tensor], free: dict[str, Tensor], step: int) -> None:
        """Add to the free weights' gradients those of the projected weights."""
        b = self._permuted(index)
        with torch.enable_grad():
            # The value is the projection's, the gradient the free weights'.
            through = {name: b[name] + (free[name] - free[name].detach()) for name in b}
            blend = {name: (tensor + through[name]) / 2 for name, tensor in self.a.items()}
            loss = self._batch_loss(blend, step % len(self.data))
            torch.autograd.backward(loss)


def _as_tuple(batch: Inputs) -> tuple[Tensor, ...]:
    return (batch,) if isinstance(batch, Tensor) else tuple(batch)
