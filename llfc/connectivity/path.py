"""One streaming pass along the line: loss, error and every layer's inner products at every alpha.

Each batch goes once through A and through B, whose features are kept for that batch, and once
through each network between them, whose features are only multiplied with those and forgotten.
Memory does not grow with the number of images, and that of networks not with the positions.
"""

# Shape suffixes: P = positions on the line, L = layers, N = images of a batch.

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llfc.connectivity.blend import Line
from llfc.connectivity.layerwise import InnerProducts, LayerMoments
from llfc.connectivity.probes import Probe, tapped
from llfc.connectivity.samples import Batches
from llfc.results import Array, LayerProfile

CACHED = 2**18  # numbers; a megabyte in float32


@dataclass(frozen=True, eq=False)
class Walk:
    """What was found along the line.

    Attributes:
        loss: mean cross-entropy in nats at each position, shape [P].
        error: share of images whose largest logit is not their label's, shape [P].
        layers: a profile a probe.
        zeros: how many times an image's feature was zero at a position; see
            `llfc.connectivity.layerwise`.
    """

    loss: Array
    error: Array
    layers: tuple[LayerProfile, ...]
    zeros: int


@torch.no_grad()
def walk(line: Line, batches: Batches, probes: Sequence[Probe] = ()) -> Walk:
    """Loss and error at every position, and each probe's profile, in one pass over `batches`.

    Sums over images are in float64; so are products of inner products. The networks, their
    features and the inner products themselves are in the networks' own type.

    Args:
        line: the networks.
        batches: what they are evaluated on.
        probes: the layers to profile; none costs nothing.

    Raises:
        ValueError: if there are no images, a label is out of range, the networks give no logits,
            or a loss or a feature is not finite.
    """
    walker = _Walker(line, probes)
    with ExitStack() as stack:
        for model in {id(m): m for m in (line.a, line.b, line.at(1))}.values():
            stack.enter_context(tapped(model, probes, walker.receive))
        for images, labels in batches:
            walker.batch(images, labels, batches.split)
    return walker.found(batches.split)


class _Walker:
    """The state of one walk: running sums, and the features of A and B on the batch at hand."""

    def __init__(self, line: Line, probes: Sequence[Probe]) -> None:
        self.line, self.probes = line, probes
        size, device = len(line.alpha), line.device
        self.alpha = torch.as_tensor(line.alpha, device=device)
        self.count = 0
        self.loss = torch.zeros(size, dtype=torch.float64, device=device)
        self.wrong = torch.zeros(size, dtype=torch.int64, device=device)
        self.moments = LayerMoments({})
        self.ends: dict[str, list[Tensor]] = {"a": [], "b": []}
        self.products: list[Tensor] = []  # of the position at hand, [3, N] a probe
        self.at: str = "a"
        self.eps = 0.0

    def receive(self, index: int, output: object) -> None:
        """Take the feature of probe `index`, of the network that is running."""
        feature = self._flat(output, index)
        if self.at in self.ends:
            # A copy, as a module that works in place may follow.
            self.ends[self.at].append(feature.clone())
        else:
            others = feature, self.ends["a"][index], self.ends["b"][index]
            self.products.append(products_with(feature, others))

    def batch(self, images: Tensor, labels: Tensor, split: str) -> None:
        """Add one batch."""
        size = len(self.line.alpha)
        self.count += len(labels)
        self.ends = {"a": [], "b": []}
        self._evaluate(0, "a", images, labels, split)
        self._evaluate(size - 1, "b", images, labels, split)
        rows = []
        for position in self.line.inner:
            self.products = []
            self._evaluate(position, "between", images, labels, split)
            if self.probes:
                rows.append(torch.stack(self.products, 1))
        if self.probes:
            products = self._with_ends(rows)
            self.moments = self.moments.update(self.alpha, products, self.eps)

    def found(self, split: str) -> Walk:
        """The result, on the CPU."""
        alpha = self.line.alpha
        loss = (self.loss / self.count).cpu().numpy()
        for position, value in enumerate(loss.tolist()):
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError(f"{split} loss is {value} at alpha {alpha[position]:g}")
        names = [probe.name for probe in self.probes]
        return Walk(
            loss=loss,
            error=(self.wrong.double() / self.count).cpu().numpy(),
            layers=self.moments.profiles(names, alpha) if names else (),
            zeros=int(self.moments.zeros),
        )

    def _evaluate(self, position: int, at: str, images: Tensor, labels: Tensor, split: str) -> None:
        self.at = at
        logits = _logits(self.line.at(position), images)
        if at == "a":
            _check_labels(labels, logits.shape[1], split)
        loss = F.cross_entropy(logits.double(), labels.long(), reduction="sum")
        self.loss[position] += loss
        self.wrong[position] += (logits.argmax(1) != labels).sum()

    def _with_ends(self, rows: list[Tensor]) -> InnerProducts:
        """The batch's products; those of the ends, at the ends, are A's and B's own."""
        of_a, of_b = self.ends["a"], self.ends["b"]

        pairs = [products_with(a, (a, b)) for a, b in zip(of_a, of_b, strict=True)]
        aa, ab = torch.stack(pairs, 1).double()
        bb = torch.stack([products_with(b, (b,))[0] for b in of_b]).double()
        self.eps = torch.finfo(of_a[0].dtype).eps
        first, last = torch.stack([aa, aa, ab]), torch.stack([bb, ab, bb])
        ff, fa, fb = torch.stack([first, *(row.double() for row in rows), last], 1)
        return InnerProducts(aa, bb, ab, ff, fa, fb)

    def _flat(self, output: object, index: int) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(f"probe {self.probes[index].name!r} gives no tensor")
        feature = output.flatten(1)
        # Half precision has too few digits for a sum of squares.
        return feature.float() if feature.element_size() < 4 else feature


def products_with(feature: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The inner product of each image's feature [N, D] with each of `others`, shape [others, N].

    On a CPU a few images at a time, so that the products are still in its cache when they are
    summed: two to three times faster on features of 16 000 numbers and more.
    """
    rows = max(1, CACHED // feature.shape[1]) if feature.device.type == "cpu" else len(feature)
    parts = zip(*(torch.split(tensor, rows) for tensor in (feature, *others)), strict=True)
    return torch.cat(
        [torch.stack([torch.linalg.vecdot(f, other) for other in rest]) for f, *rest in parts], 1
    )


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"model must give logits of shape [images, classes], got {got}")
    return logits


def _check_labels(labels: Tensor, classes: int, split: str) -> None:
    if labels.is_floating_point() or labels.ndim != 1:
        raise ValueError(
            f"{split} labels must be whole numbers of shape [images],"
            f" got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{split} labels must be in [0, {classes}), got {low if low < 0 else high}"
        )
