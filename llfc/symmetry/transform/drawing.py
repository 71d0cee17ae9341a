"""Random maps of the units of one group, of exactly one kind."""

import torch
from torch import Tensor

from llfc.symmetry.transform.element import Element

SPREAD = 0.5  # standard deviation of the logarithms of random scales


def random_element(kind: str, index: Tensor, generator: torch.Generator) -> Element:
    """A random map of exactly this kind, with these units permuted if it is no mixture of units."""
    units = len(index)
    if kind in ("orthogonal", "invertible"):
        matrix = random_rotation(units, generator)
        if kind == "invertible":
            scales = random_scales(units, generator)
            matrix = matrix @ (scales[:, None] * random_rotation(units, generator))
        return Element(matrix=matrix)
    factor = None
    if kind == "signed":
        factor = random_signs(units, generator)
    elif kind == "scaled":
        factor = random_scales(units, generator)
    return Element(index, factor)  # type: ignore[arg-type]


def random_signs(units: int, generator: torch.Generator) -> Tensor:
    """1 and -1, float64 [units], not all of them 1."""
    drawn = torch.randint(2, (units,), generator=generator).double() * 2 - 1
    if bool((drawn == 1).all()):
        drawn[int(torch.randint(units, (), generator=generator))] = -1
    return drawn


def random_scales(units: int, generator: torch.Generator) -> Tensor:
    """Positive numbers, float64 [units], whose logarithms are normal."""
    drawn = torch.randn(units, generator=generator, dtype=torch.float64)
    return (SPREAD * drawn.clamp(-3, 3)).exp()


def random_rotation(units: int, generator: torch.Generator) -> Tensor:
    """A uniformly random orthogonal matrix, float64 [units, units].

    Reference:
        Mezzadri, How to generate random matrices from the classical compact groups, Notices of the
        AMS 2007. https://arxiv.org/abs/math-ph/0609050
    """
    drawn = torch.randn(units, units, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    turned: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return turned
