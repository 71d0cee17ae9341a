"""What the outputs along the line say of one batch, with few of them in memory at once.

Outputs of a language model are large: 1000 tokens with a vocabulary of 50 000 take 200 MB at every
position. So they are added position by position, and at most `NUMBERS` of them are summed, in
float64, at a time; where all positions fit into that, in one pass.
"""

# Shape suffixes: P = positions on the line, G = some of them, N = samples, C = classes.

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from llfc.connectivity.layerwise import InnerProducts
from llfc.connectivity.logits import LogitSums, Networks, parts_along
from llfc.results import midpoint
from llfc.tasks import NUMBERS, Task, missed, row_parts

Ends = tuple[Tensor, Tensor]


class BatchOutputs:
    """Sums over the samples of one batch, from the output at each position, given in turn.

    Attributes:
        count: number of samples.
        loss: sums of losses at each position, then of A and B as trained, shape [P + 2], float64.
        error: the same of errors.
    """

    def __init__(
        self,
        alpha_P: Tensor,
        ends: Ends,
        targets: Tensor,
        task: Task,
        *,
        trained: Ends | None = None,
        features: int | None = None,
    ) -> None:
        """Nothing is summed yet.

        Args:
            alpha_P: positions from A to B, shape [P], float64.
            ends: what counts of A's and B's outputs, corrected as the networks between them are.
            targets: the targets that count.
            task: what outputs and targets are.
            trained: of A and B as trained; the same if None.
            features: how many features the outputs are, if these are to be compared.
        """
        size = len(alpha_P)
        self.count = len(targets)
        self.loss, self.error = alpha_P.new_zeros(2, size + 2)
        self._alpha, self._ends, self._targets, self._task = alpha_P, ends, targets, task
        self._trained = ends if trained is None else trained
        self._parts = alpha_P.new_full((3, size), 0.0 if task.classes else math.nan)
        self._above = alpha_P.new_zeros(2, size)
        self._networks: Networks | None = None
        self._features = features
        self._of_ends = alpha_P.new_zeros(4, 1, features or 0)
        self._between = alpha_P.new_zeros(4, size, 1, features or 0)
        self._group = max(1, NUMBERS // max(1, ends[0].numel()))
        self._pending: list[Tensor] = []
        self._done = 0

    def add(self, output: Tensor) -> None:
        """Add what counts of the output at the next position, from A to B.

        Raises:
            ValueError: if loss or error is not one number per sample.
        """
        self._pending.append(output)
        if self._done + len(self._pending) == len(self._alpha):
            self._sum()
        elif len(self._pending) == self._group:
            self._sum()

    def _sum(self) -> None:
        at = slice(self._done, self._done + len(self._pending))
        outputs, self._pending, self._done = self._pending, [], at.stop
        parts = row_parts(self._ends[0]) if self._task.classes else [slice(None)]
        for rows in parts:
            z_GNC = torch.stack([output[rows] for output in outputs])
            (self._add_classes if self._task.classes else self._add_scores)(at, rows, z_GNC)
            if self._features is not None:
                self._add_products(at, rows, z_GNC)

    def _add_classes(self, at: slice, rows: slice, z_GNC: Tensor) -> None:
        """Of logits of classes: some samples at some positions."""
        labels, size = self._targets[rows].long(), len(self._alpha)
        z = z_GNC.double()
        a, b = (end[rows].double() for end in self._ends)
        own = [end[rows].double() for end in self._trained]
        self._parts[:, at] += parts_along(self._alpha[at], z, a, b, labels)
        self.loss[at] += torch.stack([_entropy(one, labels) for one in z])
        error_GN, ends = missed(z, labels), [missed(end, labels) for end in own]
        self.error[at] += error_GN.sum(-1)
        self._add_above(at, error_GN, ends)
        if at.start == 0:
            self.loss[size:] += torch.stack([_entropy(end, labels) for end in own])
            self.error[size:] += torch.stack([end.sum() for end in ends])
        middle = midpoint(self._alpha.tolist())
        if at.start <= middle < at.stop:
            found = Networks.of(own[0], own[1], z[middle - at.start], labels)
            self._networks = found if self._networks is None else self._networks.merged(found)

    def _add_scores(self, at: slice, rows: slice, z: Tensor) -> None:
        """Of other outputs: all samples at some positions."""
        del rows
        targets, task, size = self._targets, self._task, len(self._alpha)
        scores = [task.scores(one, targets) for one in z]
        ends = [task.scores(end, targets) for end in self._trained]
        self.count = len(scores[0][0])
        for place, (loss, error) in enumerate(scores, at.start):
            self.loss[place], self.error[place] = loss.sum(), error.sum()
        for place, (loss, error) in enumerate(ends, size):
            self.loss[place], self.error[place] = loss.sum(), error.sum()
        self._add_above(at, torch.stack([error for _, error in scores]), [end[1] for end in ends])
        middle = midpoint(self._alpha.tolist())
        if at.start <= middle < at.stop:
            ensemble = task.scores((self._trained[0] + self._trained[1]) / 2, targets)
            networks = (*ends, scores[middle - at.start], ensemble)
            losses, errors = zip(*networks, strict=True)
            self._networks = Networks.without_classes(
                *(torch.stack([one.sum() for one in each]) for each in (losses, errors))
            )

    def _add_above(self, at: slice, error_GN: Tensor, ends: list[Tensor]) -> None:
        """Errors above the mean of the ends', where A and B stand for themselves."""
        a, b = ends
        error_GN = error_GN.clone()
        if at.start == 0:
            error_GN[0] = a
        if at.stop == len(self._alpha):
            error_GN[-1] = b
        above_GN = error_GN - (a + b) / 2
        self._above[:, at] += torch.stack([above_GN, above_GN.square()]).sum(-1)

    def _add_products(self, at: slice, rows: slice, z_GNC: Tensor) -> None:
        assert self._features is not None
        count = z_GNC.shape[1] if self._task.classes else self._features
        f, a, b = (
            x.double().reshape(len(x), count, -1)
            for x in (z_GNC, *(end[rows][None] for end in self._ends))
        )
        ends, between = InnerProducts.terms(self._alpha[at], f, a, b)
        self._of_ends[..., rows] = ends
        self._between[:, at, 0, rows] = between

    def products(self) -> InnerProducts:
        """Those of the outputs as features of one layer."""
        return InnerProducts(*self._of_ends, *self._between)

    def sums(self) -> LogitSums:
        """What the outputs alone say."""
        assert self._networks is not None
        return LogitSums(self.count, self._parts, self._above, self._networks)


def _entropy(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(logits, classes, reduction="sum")
