"""How alike two networks' features are, and how much of their spread the blend keeps."""

# Shape suffixes: N = images of a batch, D = numbers of a feature.

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llfc.connectivity.measures.cka import NARROW, HsicSums, block_pairs, cka_ratio, unbiased_hsic
from llfc.connectivity.measures.shuffled import Shuffled, keys_of
from llfc.connectivity.moments import Moments
from llfc.connectivity.probes import features_of
from llfc.connectivity.subject import Measured, Subject
from llfc.modules.inputs import Inputs, count_of, taken
from llfc.modules.reals import to_ordinary
from llfc.results import midpoint

BLOCK = 128  # images at a time whose wide features meet others'
CKA_PAIRS = {"cka_ab": ("a", "b"), "cka_a": ("blend", "a"), "cka_b": ("blend", "b")}


def similarity(subject: Subject) -> Measured:
    r"""Variance ratio and linear CKA of every probed layer, at the blend nearest to alpha = 1/2.

    A and B are corrected as the blend is.

    `variance_ratio` is the blend's variance over the variance between the ends',
    :math:`\sum_k \sigma_k^2(\alpha) / \sum_k [(1-\alpha) \sigma_k(A) + \alpha \sigma_k(B)]^2`, over
    images and with k the numbers of the feature: far below 1, the features of the blend have
    collapsed. It is NaN where the ends' features do not vary.

    Linear CKA is between A and B (`cka_ab`), and between the blend and each (`cka_a`, `cka_b`),
    from the unbiased estimate of HSIC. It is exact, whatever the batches: of features of at most
    1024 numbers over all images, of wider ones over 512 random images of the data, as `Shuffled`
    has them, or all if there are no more; where samples are tokens, over one token of each of
    512 sequences. It does not see permutations of units. NaN of fewer than
    four images, and where a feature does not vary.

    Costs a forward pass over the test data of A, B and the blend, and of each narrow feature of d
    numbers six products with d² numbers per image, kept in as many. If a feature is wide, ten
    forward passes of each network over 128 images, and memory for the products of 512 images with
    one another.

    Raises:
        ValueError: if a probe gives no tensor.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR, ICLR 2023, for variance collapse.
        https://arxiv.org/abs/2211.08403
        Kornblith, Norouzi, Lee & Hinton, Similarity of Neural Network Representations Revisited,
        ICML 2019, for CKA. https://arxiv.org/abs/1905.00414
        Nguyen, Raghu & Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021, for
        its unbiased estimate. https://arxiv.org/abs/2010.15327
    """
    line, at = subject.line, midpoint(subject.line.alpha)
    layers, sample = [_Layer() for _ in subject.probes], Shuffled(subject.seed)
    for images, targets in subject.test:
        counted = subject.test.task.counted(targets)
        if counted is not None and not counted.any():
            continue
        sample.add(images if counted is None else _one_token(images, counted, subject.seed))
        for layer, features in zip(layers, _features(subject, images, counted), strict=True):
            layer.add(features)
    if any(layer.wide for layer in layers) and sample.images is not None:
        _multiply(subject, layers, sample.images)
    ratios = np.array([layer.variance_ratio(float(line.alpha[at])) for layer in layers])
    ckas = {name: np.array([layer.cka(name) for layer in layers]) for name in CKA_PAIRS}
    names = [probe.name for probe in subject.probes]
    return Measured(
        tables={"similarity": {"layer": names, "variance_ratio": ratios, **ckas}},
        scalars={
            "variance_ratio_mean": float(ratios.mean()),
            "variance_ratio_last": float(ratios[-1]),
            **{f"{name}_mean": float(values.mean()) for name, values in ckas.items()},
        },
    )


def _features(
    subject: Subject, images: Inputs, counted: Tensor | None = None
) -> Iterator[dict[str, Tensor]]:
    """The features [N, D] of each probe, by the network's name."""
    line = subject.line
    a, b = (features_of(end, subject.probes, images, counted) for end in line.ends)
    blend = features_of(line.at(midpoint(line.alpha)), subject.probes, images, counted)
    for of_a, of_b, between in zip(a, b, blend, strict=True):
        yield {"a": of_a, "b": of_b, "blend": between}


def _one_token(images: Inputs, counted: Tensor, seed: int) -> tuple[Inputs, Tensor]:
    """The sequences with a token that counts, and which one of these, at random, stands for each.

    The same in any batches, as what is in a sequence decides.
    """
    counts = counted.sum(1)
    keys = torch.from_numpy((keys_of(images, seed) >> np.uint64(1)).astype(np.int64))
    nth = keys.to(counts.device) % counts.clamp_min(1)
    chosen = counted & (counted.cumsum(1) == nth[:, None] + 1)
    found: tuple[Inputs, Tensor] = taken((images, chosen), counts.nonzero()[:, 0])
    return found


def _features_of_sample(subject: Subject, sample: Any, rows: slice) -> Iterator[dict[str, Tensor]]:
    """As `_features`, of some of a sample: inputs, or these and the tokens that stand for them."""
    task = subject.test.task
    by_token = task.tokens and not task.whole
    images, counted = taken(sample, rows) if by_token else (taken(sample, rows), None)
    return _features(subject, images, counted)


def _multiply(subject: Subject, layers: Sequence["_Layer"], images: Inputs) -> None:
    """The inner products of all `images` with one another, in the layers that are wide."""
    for part, other in block_pairs(count_of(images), BLOCK):
        here, there = (_features_of_sample(subject, images, rows) for rows in (part, other))
        for layer, x, y in zip(layers, here, there, strict=True):
            if layer.wide:
                layer.multiply(x, y, part, other, count_of(images))


class _Layer:
    """Running sums of one layer over batches.

    Attributes:
        moments: of each network's feature.
        sums: for CKA, while the feature is narrow.
        grams: for CKA, if it is wide: products of images with images.
        wide: whether it is.
    """

    def __init__(self) -> None:
        self.moments: dict[str, Moments] = {}
        self.sums = HsicSums()
        self.grams: dict[str, Tensor] = {}
        self.wide = False

    def add(self, features: dict[str, Tensor]) -> None:
        """Add a batch's features [N, D] of a, b and the blend."""
        for name, feature in features.items():
            batch = Moments.of(feature.double().T)
            before = self.moments.get(name)
            self.moments[name] = batch if before is None else before.merged(batch)
        self.wide = features["a"].shape[1] > NARROW
        if not self.wide:
            self.sums.add(features)

    def multiply(
        self, x: dict[str, Tensor], y: dict[str, Tensor], rows: slice, columns: slice, count: int
    ) -> None:
        """Add the products of some images' features with others', of `count` images in all."""
        for name, feature in x.items():
            # From the mean, so that what images have in common takes no digits.
            mean = self.moments[name].mean.to(feature.dtype)
            scale = to_ordinary(self._std(name))  # CKA does not change with it
            products = ((feature - mean) * scale) @ ((y[name] - mean) * scale).T
            gram = self.grams.setdefault(name, products.new_zeros(count, count))
            gram[rows, columns], gram[columns, rows] = products, products.T

    def variance_ratio(self, alpha: float) -> float:
        """Of all batches."""
        std = {name: self._std(name) for name in self.moments}
        between = float(torch.lerp(std["a"], std["b"], alpha).square().sum())
        return float(std["blend"].square().sum()) / between if between else float("nan")

    def _std(self, name: str) -> Tensor:
        moments = self.moments[name]
        return torch.where(moments.constant(), 0.0, moments.std())

    def cka(self, name: str) -> float:
        """Of all images, or of the sample."""
        x, y = CKA_PAIRS[name]
        if self.moments[x].count < 4 or not all(self._std(end).any() for end in (x, y)):
            return float("nan")
        return cka_ratio(*(self._hsic(*pair) for pair in ((x, y), (x, x), (y, y))))

    def _hsic(self, x: str, y: str) -> float:
        return unbiased_hsic(self.grams[x], self.grams[y]) if self.wide else self.sums.hsic(x, y)
