"""What the best map of a group depends on: products of A's units with B's, for each power."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass
class Product:
    """Sums over some rows of A and of B, [units, rest].

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
        """The products of rows, in their type; `gram` asks for those within A and B too."""
        own = [x @ x.T if gram else x.square().sum(1) for x in (a, b)]
        return cls(a @ b.T, *own)

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add the products of more rows."""
        self.cross.addmm_(a, b.T)
        for mine, x in ((self.a, a), (self.b, b)):
            if mine.ndim == 2:
                mine.addmm_(x, x.T)
            else:
                mine += x.square().sum(1)

    def double(self) -> "Product":
        """The same in float64."""
        return Product(self.cross.double(), self.a.double(), self.b.double())

    def __add__(self, other: "Product") -> "Product":
        return Product(self.cross + other.cross, self.a + other.a, self.b + other.b)

    def squares(self) -> tuple[Tensor, Tensor]:
        """|a_i|^2 and |b_j|^2, [U] each."""
        a, b = (x if x.ndim == 1 else x.diagonal() for x in (self.a, self.b))
        return a, b


Products = dict[int, Product]  # by power
Row = tuple[int, Tensor, Tensor]  # the power of a group's map, and A's and B's rows [units, rest]


def products(rows: Iterable[Row], gram: bool = False) -> Products:
    """The products of all rows of a group, in float64 but of products in the rows' own type.

    Args:
        rows: at each of its places.
        gram: whether products within A and within B are wanted, beside squares.
    """
    found: Products = {}
    for power, a, b in rows:
        if power in found:
            found[power].add(a, b)
        else:
            found[power] = Product.of(a, b, gram)
    return {power: product.double() for power, product in found.items()}


def distance(found: Products) -> float:
    """The sum of |a_i - b_i|^2."""
    total = 0.0
    for product in found.values():
        a, b = product.squares()
        total += float(a.sum() + b.sum() - 2 * product.cross.diagonal().sum())
    return total


def crossed(found: Products) -> Tensor:
    """The products of A with B, of all powers, [U, U]."""
    first, *rest = (product.cross for product in found.values())
    return sum(rest, first)
