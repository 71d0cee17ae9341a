"""What the best map of a group depends on: products of A's units with B's, for each power."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Product:
    """Sums over some rows of A and of B, [units, rest], in float64.

    Attributes:
        cross: of a_i b_j, [U, U].
        a: of a_i a_j, [U, U]; of squares alone, [U], where no more was asked for.
        b: the same of B.
    """

    cross: Tensor
    a: Tensor
    b: Tensor

    @classmethod
    def of(cls, a: Tensor, b: Tensor, gram: bool) -> "Product":
        """The products of rows; `gram` asks for those within A and within B too."""
        own = [(x @ x.T if gram else x.square().sum(1)).double() for x in (a, b)]
        return cls((a @ b.T).double(), *own)

    def __add__(self, other: "Product") -> "Product":
        return Product(self.cross + other.cross, self.a + other.a, self.b + other.b)

    def squares(self) -> tuple[Tensor, Tensor]:
        """|a_i|^2 and |b_j|^2, [U] each."""
        a, b = (x if x.ndim == 1 else x.diagonal() for x in (self.a, self.b))
        return a, b


Products = dict[int, Product]  # by power
Row = tuple[int, Tensor, Tensor]  # the power of a group's map, and A's and B's rows [units, rest]


def products(rows: Iterable[Row], gram: bool = False) -> Products:
    """The products of all rows of a group.

    Args:
        rows: at each of its places.
        gram: whether products within A and within B are wanted, beside squares.
    """
    found: Products = {}
    for power, a, b in rows:
        product = Product.of(a, b, gram)
        found[power] = found[power] + product if power in found else product
    return found


def distance(found: Products) -> float:
    """The sum of |a_i - b_i|^2."""
    total = 0.0
    for product in found.values():
        a, b = product.squares()
        total += float(a.sum() + b.sum() - 2 * product.cross.diagonal().sum())
    return total


def crossed(found: Products) -> Tensor:
    """The products of A with B, of all powers, [U, U]."""
    return torch.stack([product.cross for product in found.values()]).sum(0)
