"""The spec of a network's symmetry: which tensors the permutations of its hidden units move.

A network's symmetry is data: for every tensor of the state dict, how each axis factors into groups
of units.
"""

import copy
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sized
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import LongTensor, Tensor, nn

from llfc.atomic import made_whole
from llfc.names import counted
from llfc.seeds import stream
from llfc.symmetry.spec.axes import (
    Axis,
    Feature,
    axis_groups,
    axis_index,
    axis_positions,
    axis_size,
    plain_segments,
    segment_index,
)
from llfc.symmetry.spec.kinds import Kinds
from llfc.symmetry.spec.permutation import Permutation
from llfc.symmetry.spec.saved import saved_kinds, saved_parts
from llfc.symmetry.spec.selfcheck import function_gap
from llfc.symmetry.spec.table import table


@runtime_checkable
class Mixing(Protocol):
    """A map of units that moves a state dict itself: `llfc.Transform`."""

    def apply(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict in the new basis."""

    def check_of(self, spec: "PermutationSpec") -> None:
        """Refuse to be applied to the networks of another spec."""


@dataclass(repr=False)
class PermutationSpec:
    """The permutation symmetry of a network: groups of units, and the axes that each permutes.

    Printed, it is a table that names the first axes of every group; `table()` names them all.

    Attributes:
        groups: group name -> number of units, in forward order.
        axes: tensor of the state dict -> one Axis for each dimension. Where the units of one
            dimension are nested in another's (grouped convolution), neighbouring dimensions are
            folded into one axis: read such a tensor through `fold`.
        features: group -> the values of the graph that carry it, in the order in which they are
            made; where it is read, `last` is set.
        frozen: a line for each thing that does not move though nothing shows that it must not:
            what no graph uses, tensors that the graph uses and the state dict does not hold, units
            that no product of groups moves; with strict=False also what is not understood.
    """

    groups: dict[str, int]
    axes: dict[str, tuple[Axis, ...]]
    features: dict[str, tuple[Feature, ...]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._kinds: Kinds | None = None
        self._find_kinds: Callable[[], Kinds] | None = None

    @property
    def kinds(self) -> Kinds:
        """Group -> its kind: `permutation`, `signed`, `scaled`, `orthogonal` or `invertible`.

        By which linear maps the group's units can be mixed, without changing the function; the
        largest of these kinds that holds. Found and checked when first asked for, on the model and
        the example inputs of the derivation, which are kept until then.

        Raises:
            ValueError: the spec was made by hand, or loaded from a file that has no kinds; or the
                model is no longer what it was.
        """
        if self._kinds is None:
            if self._find_kinds is None:
                raise ValueError(
                    "kinds: this spec does not know its model; derive it with permutation_spec, or "
                    "load a file that was saved after its kinds were asked for"
                )
            self._kinds = self._find_kinds()
            self._find_kinds = None
        return self._kinds

    def with_kinds(self, kinds: Kinds | Callable[[], Kinds]) -> "PermutationSpec":
        """The same spec with kinds, or with what finds them when they are first asked for."""
        spec = PermutationSpec(self.groups, self.axes, self.features, self.frozen)
        if isinstance(kinds, Kinds):
            spec._kinds = kinds
        else:
            spec._find_kinds = kinds
        return spec

    def identity(self) -> Permutation:
        """The identity: every group's index is 0, 1, 2, ..."""
        return Permutation({group: torch.arange(units) for group, units in self.groups.items()})

    def random(self, seed: int) -> Permutation:
        """A uniformly random permutation, drawn from a separate stream per group."""
        return Permutation(
            {
                group: torch.randperm(units, generator=stream(seed, f"permutation/{group}"))
                for group, units in self.groups.items()
            }
        )

    def index(self, perm: Mapping[str, Tensor], axis: Axis) -> LongTensor:
        """For each position of an axis, the old position that comes to stand there; [size]."""
        return axis_index(perm, axis)  # type: ignore[return-value]

    def positions(self, axis: Axis, group: str) -> LongTensor:
        """Where the units of a group lie on an axis while everything is in place.

        Returns:
            [units, repeats]: row u holds the positions that belong to unit u, in one order for
            all u; repeats is 0 if the group does not move the axis.
        """
        return axis_positions(axis, group, self.groups[group])  # type: ignore[return-value]

    def fold(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor with one dimension for each of `axes[name]`.

        Raises:
            ValueError: the spec has no such tensor, or its shape is another.
        """
        if name not in self.axes:
            raise ValueError(f"state dict: the spec has no tensor {name!r}")
        sizes = [axis_size(axis) for axis in self.axes[name]]
        if list(tensor.shape) == sizes:
            return tensor
        if len(sizes) >= tensor.dim() or tensor.numel() != math.prod(sizes):
            raise ValueError(f"{name!r}: the spec is for shape {sizes}, got {list(tensor.shape)}")
        return tensor.reshape(sizes)

    def apply(
        self, perm: "Mapping[str, Tensor] | Mixing", state: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The permuted state dict, which computes the same function; its tensors are new.

        Of a `Transform`, which mixes units too, what its own `apply` gives.

        The versions of modules that a model's own state dict carries are carried on, as some
        modules refuse a state dict without.

        Raises:
            ValueError: a group, a tensor or a shape is not the spec's.
        """
        if isinstance(perm, Mixing):
            perm.check_of(self)
            return perm.apply(state)
        self.validate(perm)
        missing = sorted(self.axes.keys() - state.keys())
        if missing:
            raise ValueError(f"state dict: tensor {missing[0]!r} of the spec is missing")
        indices: dict[Axis, Tensor] = {}
        new: OrderedDict[str, Tensor] = OrderedDict()
        if hasattr(state, "_metadata"):
            new._metadata = copy.deepcopy(state._metadata)  # type: ignore[attr-defined]
        for name, tensor in state.items():
            if not isinstance(tensor, Tensor):
                kind = type(tensor).__name__
                raise ValueError(f"state dict: {name!r} must be a tensor, got a {kind}")
            folded = self.fold(name, tensor.detach())
            for dim, axis in enumerate(self.axes[name]):
                if not axis_groups(axis):
                    continue
                if axis not in indices:
                    indices[axis] = self.index(perm, axis)
                folded = folded.index_select(dim, indices[axis].to(folded.device))
            new[name] = folded.reshape(tensor.shape).clone()
        return new

    def validate(self, perm: Mapping[str, Sized]) -> None:
        """Refuse a permutation, or another map of units, of other groups or other sizes.

        Raises:
            ValueError: names the first group that differs.
        """
        for group in sorted(self.groups.keys() ^ perm.keys()):
            where = "the spec" if group in self.groups else "the permutation"
            raise ValueError(f"permutation: group {group!r} is only in {where}")
        for group, units in self.groups.items():
            if len(perm[group]) != units:
                raise ValueError(
                    f"permutation: group {group!r} has {units} units, got {len(perm[group])}"
                )

    def places(self, perm: Mapping[str, Tensor]) -> dict[str, str]:
        """For each nested group, the group at the place that its new place is taken from."""
        taken: dict[str, str] = {}
        axes = {axis for axes in self.axes.values() for axis in axes}
        for segment in {segment for axis in axes for segment in plain_segments(axis)}:
            for depth, factor in enumerate(segment):
                if len(factor.groups) > 1:
                    source = segment_index(perm, segment[:depth]).tolist()
                    taken |= {
                        g: factor.groups[j] for g, j in zip(factor.groups, source, strict=True)
                    }
        return taken

    def inverse(self, perm: Mapping[str, Tensor]) -> Permutation:
        """The permutation that undoes `perm`."""
        self.validate(perm)
        taken = self.places(perm)
        return Permutation({taken.get(g, g): perm[g].argsort() for g in self.groups})

    def compose(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Permutation:
        """One permutation for two: `apply(compose(p, q), s) == apply(q, apply(p, s))`."""
        self.validate(first)
        self.validate(second)
        taken = self.places(second)
        return Permutation({g: first[taken.get(g, g)][second[g]] for g in self.groups})

    def check(self, model: nn.Module, *example_inputs: Any, seed: int = 0) -> float:
        """The largest change of an output under random permutations, relative to its scale.

        Raises:
            ValueError: if the change exceeds 1e-4, so that the spec is not a symmetry of the model.
        """
        permuted = partial(self.apply, self.random(seed))
        return function_gap(permuted, model, example_inputs, seed)

    def table(self, most: int | None = None, *, kinds: bool = False) -> str:
        """A line for each group: its name, its units, and every axis of a tensor that it moves.

        Args:
            most: axes named in a line, which then says how many more there are; None: all.
            kinds: whether to name the kind of each group, which may have to be found first.
        """
        known = self.kinds if kinds else None
        return table(self.groups, self.axes, self.frozen, most, known)

    def __str__(self) -> str:
        return self.table(most=3)

    def __repr__(self) -> str:
        units = sum(self.groups.values())
        return (
            f"PermutationSpec({counted(len(self.groups), 'group')}, {counted(units, 'unit')},"
            f" {counted(len(self.axes), 'tensor')})"
        )

    def save(self, path: str | Path) -> None:
        """Write the spec as JSON, atomically, with the kinds if they were asked for before."""
        with made_whole(Path(path)) as beside:
            beside.write_text(json.dumps(asdict(self) | saved_kinds(self._kinds)))

    @classmethod
    def load(cls, path: str | Path) -> "PermutationSpec":
        """Read a spec that `save` wrote.

        Raises:
            ValueError: the file holds no spec, or one that contradicts itself.
        """
        groups, axes, features, frozen, kinds = saved_parts(path)
        spec = cls(groups, axes, features, frozen)
        return spec if kinds is None else spec.with_kinds(kinds)
