"""How alike two networks' features are, and how much of their spread the blend keeps."""

# Shape suffixes: N = images of a batch, D = numbers of a feature.

import numpy as np
import torch
from torch import Tensor

from llfc.connectivity.barrier import middle
from llfc.connectivity.layerwise import Moments
from llfc.connectivity.measures.subject import Measured, Subject
from llfc.connectivity.probes import features_of

PAIRS = {"cka_ab": ("a", "b"), "cka_a": ("blend", "a"), "cka_b": ("blend", "b")}


def similarity(subject: Subject) -> Measured:
    r"""Variance ratio and linear CKA of every probed layer, at the blend nearest to alpha = 1/2.

    A and B are corrected as the blend is.

    `variance_ratio` is the blend's variance over the variance between the ends',
    :math:`\sum_k \sigma_k^2(\alpha) / \sum_k [(1-\alpha) \sigma_k(A) + \alpha \sigma_k(B)]^2`, over
    images and with k the numbers of the feature: far below 1, the features of the blend have
    collapsed. It is NaN where the ends' features do not vary.

    Linear CKA is between A and B (`cka_ab`), and between the blend and each (`cka_a`, `cka_b`). It
    is from the unbiased estimate of HSIC in each batch, averaged over batches by their size, so
    memory does not grow with the images. It does not see permutations of units. NaN where no batch
    has four images, or a feature does not vary.

    Costs a forward pass over the test data of A, B and the blend, and the layers' products.

    Raises:
        ValueError: if a probe gives no tensor.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR, ICLR 2023, for variance collapse.
        https://arxiv.org/abs/2211.08403
        Nguyen, Raghu & Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021, for
        CKA in batches. https://arxiv.org/abs/2010.15327
    """
    line, at = subject.line, middle(subject.line.alpha)
    layers = [_Layer() for _ in subject.probes]
    for images, _ in subject.test:
        features = {
            "a": features_of(line.ends[0], subject.probes, images),
            "b": features_of(line.ends[1], subject.probes, images),
            "blend": features_of(line.at(at), subject.probes, images),
        }
        for index, layer in enumerate(layers):
            layer.add({name: each[index] for name, each in features.items()})
    ratios = np.array([layer.variance_ratio(float(line.alpha[at])) for layer in layers])
    ckas = {name: np.array([layer.cka(name) for layer in layers]) for name in PAIRS}
    names = [probe.name for probe in subject.probes]
    return Measured(
        tables={"similarity": {"layer": names, "variance_ratio": ratios, **ckas}},
        scalars={
            "variance_ratio_mean": float(ratios.mean()),
            "variance_ratio_last": float(ratios[-1]),
            **{f"{name}_mean": float(values.mean()) for name, values in ckas.items()},
        },
    )


class _Layer:
    """Running sums of one layer over batches."""

    def __init__(self) -> None:
        self.moments: dict[str, Moments] = {}
        self.hsic: dict[tuple[str, str], float] = {}

    def add(self, features: dict[str, Tensor]) -> None:
        """Add a batch's features [N, D] of a, b and the blend."""
        for name, feature in features.items():
            batch = Moments.of(feature.double().T)
            before = self.moments.get(name)
            self.moments[name] = batch if before is None else before.merged(batch)
        count = len(features["a"])
        if count < 4:
            return
        grams = {name: feature @ feature.T for name, feature in features.items()}
        pairs = {*PAIRS.values(), *((name, name) for name in features)}
        for x, y in sorted(pairs):
            value = unbiased_hsic(grams[x], grams[y]) * count
            self.hsic[x, y] = self.hsic.get((x, y), 0.0) + value

    def variance_ratio(self, alpha: float) -> float:
        """Of all batches."""
        std = {name: self._std(name) for name in self.moments}
        between = float(torch.lerp(std["a"], std["b"], alpha).square().sum())
        return float(std["blend"].square().sum()) / between if between else float("nan")

    def _std(self, name: str) -> Tensor:
        moments = self.moments[name]
        return torch.where(moments.constant(), 0.0, moments.std())

    def cka(self, name: str) -> float:
        """Of all batches with four images or more."""
        x, y = PAIRS[name]
        if not self.hsic or not all(self._std(end).any() for end in (x, y)):
            return float("nan")
        of_x, of_y = self.hsic[x, x], self.hsic[y, y]
        # An unbiased estimate of what is never negative can be, with few images.
        return self.hsic[x, y] / (of_x * of_y) ** 0.5 if min(of_x, of_y) > 0 else float("nan")


def unbiased_hsic(k: Tensor, m: Tensor) -> float:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion from Gram matrices.

    Args:
        k: inner products of N features of one network, shape [N, N], N at least 4.
        m: those of the other network's features of the same images.

    Reference:
        Song, Smola, Gretton, Bedo & Borgwardt, Feature Selection via Dependence Maximization, JMLR
        2012, equation 5. https://jmlr.org/papers/v13/song12a.html
    """
    count = len(k)
    k, m = (gram.double() - torch.diag(gram.double().diagonal()) for gram in (k, m))
    trace = (k * m).sum()
    sums = k.sum() * m.sum() / ((count - 1) * (count - 2))
    rows = 2 * (k.sum(0) * m.sum(0)).sum() / (count - 2)
    return float((trace + sums - rows) / (count * (count - 3)))
