"""A linear map of the units of one group."""

from dataclasses import dataclass

import torch
from torch import LongTensor, Tensor

ORTHOGONAL = 1e-8  # how far MᵀM may be from the identity

# How many numbers are held in double precision at a time.
PIECE = 2**22


@dataclass(frozen=True, eq=False)
class Element:
    """A map of units [U]: `new[i] = factor[i] old[index[i]]`, or `new = matrix old`.

    Attributes:
        index: int64 [U], a permutation; None if there is a matrix.
        factor: float64 [U], none of them 0; None: all are 1.
        matrix: float64 [U, U], invertible; None if there is an index.
    """

    index: LongTensor | None = None
    factor: Tensor | None = None
    matrix: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.index is None) == (self.matrix is None) or (
            self.matrix is not None and self.factor is not None
        ):
            raise ValueError("an element has either an index or a matrix; factors need an index")
        for name in ("index", "factor", "matrix"):
            given = getattr(self, name)
            if given is not None:
                dtype = torch.int64 if name == "index" else torch.float64
                object.__setattr__(self, name, given.detach().to("cpu", dtype).clone())
        self._check()

    def _check(self) -> None:
        units = len(self)
        if self.index is not None and not torch.equal(
            self.index.sort().values, torch.arange(units)
        ):
            shown = self.index.flatten()[:8].tolist()
            raise ValueError(f"the index must be a permutation, got {shown}")
        if self.factor is not None and (
            self.factor.shape != (units,) or not (self.factor.isfinite() & (self.factor != 0)).all()
        ):
            raise ValueError(f"factors must be {units} finite numbers, none of them 0")
        if self.matrix is not None and (
            self.matrix.shape != (units, units)
            or not self.matrix.isfinite().all()
            or not is_invertible(self.matrix)
        ):
            raise ValueError(f"the matrix must be [{units}, {units}], finite and invertible")

    @classmethod
    def identity(cls, units: int) -> "Element":
        """The map that leaves all units as they are."""
        return cls(torch.arange(units))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.index) if self.index is not None else len(self.matrix)  # type: ignore[arg-type]

    @property
    def kind(self) -> str:
        """The smallest kind that holds it; a key of `KINDS`."""
        if self.matrix is not None:
            rest = self.matrix.T @ self.matrix - torch.eye(len(self), dtype=torch.float64)
            return "orthogonal" if float(rest.abs().max()) < ORTHOGONAL else "invertible"
        if self.factor is None or bool((self.factor == 1).all()):
            return "permutation"
        if bool((self.factor.abs() == 1).all()):
            return "signed"
        return "scaled" if bool((self.factor > 0).all()) else "invertible"

    def is_identity(self) -> bool:
        """Whether it moves nothing."""
        if self.matrix is not None:
            return torch.equal(self.matrix, torch.eye(len(self), dtype=torch.float64))
        still = torch.equal(self.index, torch.arange(len(self)))  # type: ignore[arg-type]
        return still and self.kind == "permutation"

    def __eq__(self, other: object) -> bool:
        """Equal to the bit; of two forms of one map, only the same are."""
        if not isinstance(other, Element):
            return NotImplemented
        parts = ((getattr(self, n), getattr(other, n)) for n in ("index", "factor", "matrix"))
        return all(
            (x is None) == (y is None) and (x is None or torch.equal(x, y)) for x, y in parts
        )

    __hash__ = None  # type: ignore[assignment]

    def moved(self) -> int:
        """The number of units that are not mapped to themselves."""
        if self.matrix is not None:
            rows = self.matrix != torch.eye(len(self), dtype=torch.float64)
            return int(rows.any(1).sum())
        moved = torch.ne(self.index, torch.arange(len(self)))  # type: ignore[arg-type]
        return int((moved if self.factor is None else moved | (self.factor != 1)).sum())

    def as_matrix(self) -> Tensor:
        """Its matrix, float64 [U, U]."""
        if self.matrix is not None:
            return self.matrix
        rows = torch.eye(len(self), dtype=torch.float64)[self.index]
        return rows if self.factor is None else self.factor[:, None] * rows

    def inverse(self) -> "Element":
        """The map that undoes it."""
        if self.matrix is not None:
            return Element(matrix=torch.linalg.inv(self.matrix))
        back = self.index.argsort()  # type: ignore[union-attr]
        return Element(back, None if self.factor is None else 1 / self.factor[back])  # type: ignore[arg-type]

    def after(self, first: "Element") -> "Element":
        """One map for two: this one after `first`."""
        if self.index is None or first.index is None:
            return Element(matrix=self.as_matrix() @ first.as_matrix())
        factors = [self.factor, None if first.factor is None else first.factor[self.index]]
        given = [factor for factor in factors if factor is not None]
        product = None if not given else given[0] if len(given) == 1 else given[0] * given[1]
        return Element(first.index[self.index], product)  # type: ignore[arg-type]

    def apply(self, values: Tensor, power: int) -> Tensor:
        """The map, to a power, of the first dimension of `values`, in their own type.

        Args:
            values: [U, ...].
            power: 1; -1, the inverse transpose; 0: units are permuted only; other powers are of the
                factors.

        Raises:
            ValueError: a matrix to another power than 1 and -1.
        """
        if self.index is not None:
            moved = values.index_select(0, self.index.to(values.device))
            if self.factor is None or power == 0:
                return moved
            factor = (self.factor**power).to(values.device)
            wide = moved.to(torch.promote_types(values.dtype, torch.float64))
            return (factor.reshape(-1, *[1] * (values.dim() - 1)) * wide).to(values.dtype)
        if power not in (1, -1):
            raise ValueError(f"a matrix has no power {power} that a tensor could be multiplied by")
        double = torch.promote_types(values.dtype, torch.float64)
        matrix = self.as_matrix().to(values.device, double)
        parts = []
        # Of an embedding in single precision, a copy in double takes more than all else.
        for part in torch.split(values.flatten(1), max(1, PIECE // len(self)), dim=1):
            of = part.to(double)
            found = matrix @ of if power == 1 else torch.linalg.solve(matrix.mT, of)
            parts.append(found.to(values.dtype))
        return (torch.cat(parts, dim=1) if len(parts) != 1 else parts[0]).reshape(values.shape)


def is_invertible(matrix: Tensor) -> bool:
    """Whether the condition of a matrix, float64 [U, U], is one that rounding leaves a meaning.

    By the Frobenius norms of the matrix and its inverse, which bound it.
    """
    inverse, failed = torch.linalg.inv_ex(matrix)
    condition = float(matrix.norm() * inverse.norm())
    return not failed and condition * len(matrix) * torch.finfo(matrix.dtype).eps < 1
