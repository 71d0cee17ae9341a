"""Maps of units that are learned, and what they do to tensors while gradients flow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.transform import Element
from llfc.symmetry.transform.acting import Acting

LEARNED = ("scaled", "orthogonal", "invertible")  # kinds that are continuous
# Of an invertible map: what it makes of float32 numbers is wrong by so many times their rounding.
CONDITION = 1e4


@dataclass(frozen=True, eq=False)
class Mixing:
    """new = matrix old; `dual` is the inverse transpose of the matrix, which what reads takes."""

    matrix: Tensor
    dual: Tensor

    def is_identity(self) -> bool:
        """Never: it is being learned."""
        return False

    def apply(self, values: Tensor, power: int) -> Tensor:
        """The matrix, or at power -1 the dual, times the first dimension of `values`."""
        own = self.matrix if power == 1 else self.dual
        wide = torch.promote_types(own.dtype, values.dtype)
        found = own.to(wide) @ values.to(wide).flatten(1)
        return found.reshape(values.shape).to(values.dtype)


@dataclass(frozen=True, eq=False)
class Scaling:
    """new[i] = exp(log[i]) old[i]."""

    log: Tensor

    def is_identity(self) -> bool:
        """Never: it is being learned."""
        return False

    def apply(self, values: Tensor, power: int) -> Tensor:
        """The scales, to a power, times the first dimension of `values`."""
        scale = (power * self.log).exp().reshape(-1, *[1] * (values.dim() - 1))
        return (scale * values).to(values.dtype)


@dataclass(frozen=True)
class Still:
    """The identity, of groups that are not learned."""

    def is_identity(self) -> bool:
        """Always."""
        return True

    def apply(self, values: Tensor, power: int) -> Tensor:
        """The values themselves."""
        del power
        return values


class Stack:
    """The maps of some groups of one kind and one size, which are learned together.

    They are moved by exponentials, M becomes exp(X) M: so orthogonal maps, for which X is skew,
    stay orthogonal, invertible ones invertible, and scales positive. Every step starts at X = 0,
    where exp(X) M has the derivative of M + X M: no exponential is differentiated.

    Args:
        groups: their names.
        kind: one of LEARNED.
        units: of each group.
        like: a parameter of the networks, for the device and the precision of the steps.

    Attributes:
        step: X of each group, [groups, U, U], of scales its diagonal, [groups, U]: what an
            optimiser moves; zero but for that moment.
    """

    def __init__(self, groups: Sequence[str], kind: str, units: int, like: Tensor) -> None:
        self.groups, self.kind = groups, kind
        start = torch.zeros(units) if kind == "scaled" else torch.eye(units)
        # Of scales their logarithms. In float64 on the CPU, so that steps add up without drift.
        self.maps = start.double().repeat(len(groups), *[1] * start.dim())
        self.duals = self.maps.clone()
        real = torch.float64 if like.dtype in (torch.float64, torch.complex128) else torch.float32
        self.step = torch.zeros(self.maps.shape, dtype=real, device=like.device)
        self.step.requires_grad_()

    def acting(self) -> dict[str, Mixing | Scaling]:
        """Group -> its map, through which the gradient of `step` flows."""
        maps, duals = (each.to(self.step) for each in (self.maps, self.duals))
        if self.kind == "scaled":
            return {g: Scaling(log) for g, log in zip(self.groups, maps + self.step, strict=True)}
        maps, duals = maps + self.step @ maps, duals - self.step.mT @ duals
        return {g: Mixing(maps[i], duals[i]) for i, g in enumerate(self.groups)}

    def make_tangent(self) -> None:
        """Make the gradient one along which a map stays of its kind: skew, of orthogonal ones."""
        if self.kind == "orthogonal" and (slope := self.step.grad) is not None:
            self.step.grad = (slope - slope.mT) / 2

    @torch.no_grad()
    def settle(self) -> None:
        """Take the step into the maps, and start the next at zero."""
        step = self.step.to("cpu", torch.float64)
        if self.kind == "scaled":
            self.maps = self.maps + step
        else:
            self.maps = torch.linalg.matrix_exp(step) @ self.maps
            self.duals = (
                self.maps
                if self.kind == "orthogonal"
                else torch.linalg.matrix_exp(-step.mT) @ self.duals
            )
        self.step.zero_()

    @torch.no_grad()
    def rein_in(self) -> None:
        """Bring singular values of invertible maps together, where their ratio is over CONDITION.

        Those that are further than its root from their geometric mean are moved there.
        """
        if self.kind != "invertible":
            return
        left, values, right = torch.linalg.svd(self.maps)
        far = values[:, 0] > CONDITION * values[:, -1]
        if not far.any():
            return
        logs, reach = values.log(), math.log(CONDITION) / 2
        middle = logs.mean(1, keepdim=True)
        near = torch.minimum(torch.maximum(logs, middle - reach), middle + reach).exp()
        self.maps[far] = (left * near[:, None] @ right)[far]
        self.duals[far] = (left / near[:, None] @ right)[far]

    def elements(self, maps: Tensor) -> dict[str, Element]:
        """Group -> its map in `maps`, as this once had them; rotations to rounding in float64."""
        if self.kind == "scaled":
            units = torch.arange(maps.shape[1])
            return {g: Element(units, log.exp()) for g, log in zip(self.groups, maps, strict=True)}  # type: ignore[arg-type]
        if self.kind == "orthogonal":
            left, _, right = torch.linalg.svd(maps)
            maps = left @ right
        return {g: Element(matrix=matrix) for g, matrix in zip(self.groups, maps, strict=True)}


def stacks_of(spec: PermutationSpec, like: Tensor) -> list[Stack]:
    """A stack for each kind and size of groups that can be learned."""
    found: dict[tuple[str, int], list[str]] = {}
    for group, units in spec.groups.items():
        if spec.kinds[group] in LEARNED:
            found.setdefault((spec.kinds[group], units), []).append(group)
    return [Stack(groups, kind, units, like) for (kind, units), groups in found.items()]


def acting_of(spec: PermutationSpec, stacks: Sequence[Stack]) -> Mapping[str, Acting]:
    """Every group's map: those of the stacks, and the identity."""
    maps: dict[str, Acting] = {group: Still() for group in spec.groups}
    for stack in stacks:
        maps |= stack.acting()
    return maps
