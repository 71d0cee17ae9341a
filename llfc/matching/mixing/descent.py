"""Coordinate descent on the squared distance of two networks, over maps of every kind."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from llfc.matching.mixing.elements import BEST, TIE, scale_of
from llfc.matching.mixing.heads import family_of, inside, partners
from llfc.matching.mixing.places import Places
from llfc.matching.mixing.products import Products, Row, products
from llfc.modules.reals import as_reals
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import axis_groups
from llfc.symmetry.transform import Element, Transform
from llfc.symmetry.transform.acting import act

SWEEPS = 60  # a bound; the descent ends before, when what a sweep gains is too little
# What all groups together still gain in a sweep, relative to the squared distance, is too little.
ENOUGH = 1e-4

State = Mapping[str, Tensor]


class Descent:
    """B on its way towards A: its tensors as they are moved, and the transform that moved them.

    Attributes:
        spec: the symmetry.
        places: where its groups lie.
        a: A's parameters, folded.
        moved: B's, as the transform moves them.
        transform: the maps so far.
        visits: of a group, so far.
    """

    def __init__(self, a: State, b: State, spec: PermutationSpec, dtype: torch.dtype) -> None:
        self.spec, self.dtype = spec, dtype
        self.a = {name: self._folded(name, tensor) for name, tensor in a.items()}
        self._b = b
        self.places = Places(spec, self.a)
        self.visits = 0
        self.moved: dict[str, Tensor] = {}
        self.start(Transform.identity(spec))

    def _folded(self, name: str, tensor: Tensor) -> Tensor:
        return as_reals(self.spec.fold(name, tensor.detach())).to(self.dtype)

    def start(self, transform: Transform) -> None:
        """Move B by a transform, whatever moved it before."""
        self.transform: dict[str, Element] = dict(transform)
        for name, tensor in self._b.items():  # one by one, so that what it was is freed
            moved = transform.moved_tensor(name, tensor.detach())
            self.moved[name] = self._folded(name, moved).clone()
        self._waiting = dict.fromkeys(self.places.top, float("inf"))

    def aim(self, a: State) -> None:
        """Take another A, folded, from now on."""
        self.a = dict(a)
        self._waiting = dict.fromkeys(self.places.top, float("inf"))

    def found(self) -> Transform:
        """The transform so far."""
        return Transform(self.spec, self.transform)

    def value(self, tensors: Iterable[str] | None = None) -> float:
        """The squared distance of A from B as it is moved, of some tensors or of all."""
        names = self.a if tensors is None else tensors
        return sum(
            float((a - b).square().sum(dtype=torch.float64))
            for name in names
            for a, b in zip(*(_pieces(side[name]) for side in (self.a, self.moved)), strict=True)
        )

    def squares(self) -> float:
        """The sum of all squares of A and of B as it is moved."""
        sides = (*self.a.values(), *self.moved.values())
        return sum(float(side.square().sum(dtype=torch.float64)) for side in sides)

    def descend(self, sweeps: int = SWEEPS) -> float:
        """Visit groups until none gains, or a sweep does not; return the squared distance.

        A group is visited again only once those it meets have gained, since its last visit, what
        counts beside the distance that is left.
        """
        value = self.value()
        for _ in range(sweeps):
            least = ENOUGH * value / max(1, len(self._waiting))
            due = [group for group in self.places.top if self._waiting[group] > least]
            if not due:
                break
            for group in due:
                self._waiting[group] = 0.0
                gain = self.visit(group)
                for near in self._near(group) if gain > 0 else ():
                    self._waiting[near] += gain
            before, value = value, self.value()
            if before - value <= ENOUGH * value:
                break
        return value

    def anchor(self) -> None:
        """Visit each group once, seen only through what is already in place.

        Inputs, outputs and embeddings do not move, so a group that meets them can be matched by
        what it shares with them alone, then those that meet this group, and so on: to what has no
        place yet, nothing is fitted. A planted element is so undone in one pass.
        """
        left = list(self.places.top)
        settled: set[str] = set()
        while left:
            group = next((g for g in left if self._anchors(g, settled)), left[0])
            self.visit(group, self._anchors(group, settled) or None, sure=False)
            settled |= {group, *self.places.nested(group)}
            left.remove(group)
        self._waiting = dict.fromkeys(self.places.top, float("inf"))

    def _anchors(self, group: str, settled: set[str]) -> set[str]:
        """The tensors of more than one number a unit whose other sides are in place."""
        own = (group, *self.places.nested(group))
        return {
            place.tensor
            for each in own
            for place in self.places.of[each]
            if place.others <= settled | set(own) - {each}
            and each not in place.others
            and self.a[place.tensor].numel() > place.positions.numel()
        }

    def _near(self, group: str) -> set[str]:
        """The groups at the top that meet this one, or what is nested in it, in a tensor."""
        own = {group, *self.places.nested(group)}
        names = self.places.tensors(own)
        met = {g for name in names for axis in self.spec.axes[name] for g in axis_groups(axis)}
        near = {g for g in self.places.top if g in met or met & set(self.places.nested(g))}
        return near if self._bends(group) else near - {group}

    def _bends(self, group: str) -> bool:
        own = (group, *self.places.nested(group))
        return len(own) > 1 or self.places.bends(group)

    def visit(self, group: str, only: set[str] | None = None, *, sure: bool = True) -> float:
        """Move a group, and those nested in it, to their best maps; what the distance falls by.

        Args:
            group: one at the top.
            only: the tensors that it is seen by; None for all.
            sure: whether it moves only if the distance falls.
        """
        self.visits += 1
        gain = 0.0
        if nested := self.places.families(group):
            families = [
                family_of(names, self.spec.kinds[names[0]], [self.rows(n, only) for n in names])
                for names in nested
            ]
            partner = Element(partners(families))  # type: ignore[arg-type]
            if not partner.is_identity():
                elements, _ = inside(families, partner.index)  # type: ignore[arg-type]
                if gain := self._try({group: partner, **elements}, sure):
                    return gain  # and all that is nested in it is at its best
        else:
            gain += self._improve(group, only, sure)
        for name in self.places.nested(group):
            gain += self._improve(name, only, sure)
        return gain

    def rows(self, group: str, only: set[str] | None) -> list[Row]:
        """At each of the group's places its power, and A's and B's rows."""
        return [
            (place.power, place.rows(self.a[place.tensor]), place.rows(self.moved[place.tensor]))
            for place in self.places.of[group]
            if only is None or place.tensor in only
        ]

    def products(self, group: str, only: set[str] | None) -> Products:
        """The group's products."""
        gram = self.spec.kinds[group] == "invertible"
        return products(self.rows(group, only), gram)

    def _improve(self, group: str, only: set[str] | None, sure: bool) -> float:
        """One group alone to its best map."""
        found = self.products(group, only)
        if not found:
            return 0.0
        element, gain = BEST[self.spec.kinds[group]](found)
        if not gain > TIE[self.dtype] * scale_of(found):
            return 0.0
        if self.places.bends(group):
            return self._try({group: element}, sure)
        self.apply(group, element)
        return gain

    def apply(self, group: str, element: Element) -> None:
        """Move one group, in which none is nested."""
        for place in self.places.of[group]:
            tensor = self.moved[place.tensor]
            place.put(tensor, _mapped(element, place.rows(tensor), place.power))
        self.transform[group] = element.after(self.transform[group])

    def _try(self, elements: Mapping[str, Element], sure: bool) -> float:
        """Move several groups at once, and back unless the distance falls."""
        names = self.places.tensors(elements)
        before = self.value(names)
        old = {name: self.moved[name] for name in names}
        whole = {g: elements.get(g) or Element.identity(n) for g, n in self.spec.groups.items()}
        for name in names:
            for dim, axis in enumerate(self.spec.axes[name]):
                if axis_groups(axis):
                    powers = self.spec.kinds.powers[name][dim]
                    self.moved[name] = act(whole, axis, powers, self.moved[name], dim)
        gain = before - self.value(names)
        if sure and not gain > TIE[self.dtype] * before:
            self.moved |= old
            return 0.0
        self.moved |= {name: self.moved[name].contiguous() for name in names}
        moves = Transform(self.spec, elements)
        self.transform = dict(moves.after(Transform(self.spec, self.transform)))
        return gain


def _mapped(element: Element, rows: Tensor, power: int) -> Tensor:
    """As `Element.apply`, a matrix in the rows' own type: to be precise is the transform's part."""
    if element.matrix is None:
        return element.apply(rows, power)
    matrix = element.matrix if power == 1 else torch.linalg.inv(element.matrix).mT
    return matrix.to(rows.device, rows.dtype) @ rows


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    """The tensor in parts, so that no copy of the whole is made."""
    return torch.split(tensor, max(1, len(tensor) // 16)) if tensor.ndim else (tensor,)
