"""Linear CKA from streamed features, exact and independent of the batch size."""

# Shape suffixes: N = images of a batch, X, Y = numbers of a feature.

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from llfc.connectivity.measures.shuffled import parts
from llfc.modules.reals import to_ordinary

NARROW = 1024  # numbers of a feature; its products with itself are then 8 MB


def cka_ratio(xy: float, xx: float, yy: float) -> float:
    """CKA from the three HSICs; NaN where one is not positive, as an unbiased estimate can be."""
    found: float = xy / (xx * yy) ** 0.5 if min(xx, yy) > 0 else float("nan")
    return found


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
    return _estimate(count, (k * m).sum(), k.sum() * m.sum(), (k.sum(0) * m.sum(0)).sum())


def _estimate(count: int, trace: Tensor, sums: Tensor, rows: Tensor) -> float:
    """HSIC from tr(K M), sum(K) sum(M) and the inner product of their row sums."""
    found = trace + sums / ((count - 1) * (count - 2)) - 2 * rows / (count - 2)
    return float(found / (count * (count - 3)))


class HsicSums:
    """Running sums of several networks' features, enough for their HSICs over all images.

    `unbiased_hsic` of Gram matrices of all images, which are never made: its sums over pairs of
    images follow from the features' products, [X, Y], and sums. Features are taken from their mean
    over the first batch, which changes no HSIC and keeps its digits, and in a unit, a power of two,
    in which those of the first batch are ordinary: HSICs are in that unit, CKA has none. Sums over
    a batch are in the features' type, sums of batches in float64.
    """

    def __init__(self) -> None:
        self.count = 0
        self._origin: dict[str, Tensor] = {}
        self._scale: dict[str, float] = {}
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, features: Mapping[str, Tensor]) -> None:
        """Add a batch's features [N, X], by the network's name."""
        if not self.count:
            self._origin = {name: feature.mean(0) for name, feature in features.items()}
            self._scale = {
                name: to_ordinary(feature - self._origin[name])
                for name, feature in features.items()
            }
        self.count += len(next(iter(features.values())))
        rows = {
            name: (feature - self._origin[name]) * self._scale[name]
            for name, feature in features.items()
        }
        squares = {name: row.square().sum(1) for name, row in rows.items()}
        for x, of_x in rows.items():
            self._sum((x,), of_x.sum(0))
            self._sum((x, "squares"), squares[x].sum())
            for y, of_y in rows.items():
                self._sum((x, y, "weighted"), squares[y] @ of_x)
                if x <= y:
                    self._sum((x, y), of_x.T @ of_y)
                    self._sum((x, y, "squares"), squares[x] @ squares[y])

    def _sum(self, name: tuple[str, ...], batch: Tensor) -> None:
        batch = batch.double()
        self._sums[name] = self._sums[name] + batch if name in self._sums else batch

    def hsic(self, x: str, y: str) -> float:
        """The unbiased HSIC of two networks' features; of four images at least."""
        x, y = min(x, y), max(x, y)
        products_XY, both = self._sums[x, y], self._sums[x, y, "squares"]
        sum_X, sum_Y = self._sums[x,], self._sums[y,]
        # The Gram matrices without their diagonals, which are the squares.
        sums = [s @ s - self._sums[name, "squares"] for name, s in ((x, sum_X), (y, sum_Y))]
        rows = (
            sum_X @ products_XY @ sum_Y
            - sum_X @ self._sums[x, y, "weighted"]
            - sum_Y @ self._sums[y, x, "weighted"]
            + both
        )
        trace = products_XY.square().sum() - both
        return _estimate(self.count, trace, sums[0] * sums[1], rows)


def block_pairs(count: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Which of `count` images meet which: every two parts of at most `size`, each two once."""
    found = parts(count, size)
    for index, part in enumerate(found):
        for other in found[: index + 1]:
            yield part, other
