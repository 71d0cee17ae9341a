"""An element of a network's symmetry: a map of the units of every group, of any kind."""

import copy
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llfc.atomic import made_whole
from llfc.names import counted
from llfc.oneline import in_one_line
from llfc.seeds import stream
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.spec.kinds import SMALLER
from llfc.symmetry.spec.reported import Reported, report_of, tensors_by_part
from llfc.symmetry.transform.acting import moved_tensor
from llfc.symmetry.transform.drawing import random_element
from llfc.symmetry.transform.element import Element

FORMAT = "llfc.Transform"  # in the header of its file
PARTS = ("index", "factor", "matrix")  # of an element


class Transform(Reported, Mapping[str, Element]):
    """For every group of a spec, a linear map of its units, of the group's kind or a smaller one.

    What a matcher that found it has to say, it carries as a `Permutation` does (`Reported`).

    A permutation is the special case in which every map is one: `of_permutation`, `permutation`.

    Args:
        spec: the symmetry.
        elements: group -> its map; groups that are left out stay as they are.
        record: what is `Reported`.
        left_out: the same.
        definitions: the same.

    Raises:
        ValueError: a group is not the spec's, has another size, or is of a kind that does not hold
            the map.
    """

    def __init__(
        self,
        spec: PermutationSpec,
        elements: Mapping[str, Element],
        record: Mapping[str, float] | None = None,
        left_out: Mapping[str, str] | None = None,
        definitions: Mapping[str, str] | None = None,
    ) -> None:
        self.spec = spec
        self._report(record, left_out, definitions)
        for group, element in elements.items():
            if group not in spec.groups:
                raise ValueError(f"transform: group {group!r} is not in the spec")
            if len(element) != spec.groups[group]:
                raise ValueError(
                    f"transform: group {group!r} has {spec.groups[group]} units, got {len(element)}"
                )
            kind = element.kind
            if kind != "permutation":
                allowed = spec.kinds[group]
                if kind not in (allowed, *SMALLER[allowed]):
                    raise ValueError(
                        f"transform: group {group!r} is of kind {allowed!r}, which does not hold "
                        f"this map, of kind {kind!r}"
                    )
        self._elements = {
            group: elements.get(group) or Element.identity(units)
            for group, units in spec.groups.items()
        }

    def __getitem__(self, group: str) -> Element:
        return self._elements[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._elements)

    def __len__(self) -> int:
        return len(self._elements)

    def __eq__(self, other: object) -> bool:
        """Equal to the bit; `distance` tells how close two are."""
        if not isinstance(other, Transform):
            return NotImplemented
        return self.keys() == other.keys() and all(self[g] == other[g] for g in self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        moved = sum(not element.is_identity() for element in self.values())
        return f"Transform({counted(len(self), 'group')}, {moved} of them moved)"

    def moved(self) -> int:
        """The number of units that are not mapped to themselves."""
        return sum(element.moved() for element in self.values())

    @classmethod
    def identity(cls, spec: PermutationSpec) -> "Transform":
        """The transform that leaves everything as it is."""
        return cls(spec, {})

    @classmethod
    def random(cls, spec: PermutationSpec, seed: int) -> "Transform":
        """A random element of exactly the kind of each group; the permutations are `spec.random`'s.

        Permutations, signs (not all of them 1) and orthogonal maps are uniform, the logarithms of
        scales normal with deviation .5; an invertible map is a diagonal of such scales between two
        orthogonal ones.
        """
        permuted = spec.random(seed)
        return cls(
            spec,
            {
                group: random_element(kind, permuted[group], stream(seed, f"transform/{group}"))
                for group, kind in spec.kinds.items()
            },
        )

    @classmethod
    def of_permutation(cls, spec: PermutationSpec, perm: Mapping[str, Tensor]) -> "Transform":
        """A permutation as a transform."""
        spec.validate(perm)
        return cls(spec, {group: Element(index) for group, index in perm.items()})  # type: ignore[arg-type]

    def permutation(self) -> Permutation:
        """The transform as a permutation.

        Raises:
            ValueError: it is more than a permutation.
        """
        for group, element in self.items():
            if element.kind != "permutation" or element.index is None:
                raise ValueError(
                    f"transform: the map of group {group!r} is no permutation but {element.kind}"
                )
        return Permutation({group: element.index for group, element in self.items()})  # type: ignore[misc]

    def apply(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict in the new basis, which computes the same function; its tensors are new.

        Permutations and signs are exact; others are computed in float64 and rounded to each
        tensor's type. What no group moves, or the identity, is copied bit by bit.

        Raises:
            ValueError: a tensor or a shape is not the spec's.
        """
        missing = sorted(self.spec.axes.keys() - state.keys())
        if missing:
            raise ValueError(f"state dict: tensor {missing[0]!r} of the spec is missing")
        new: OrderedDict[str, Tensor] = OrderedDict()
        if hasattr(state, "_metadata"):
            new._metadata = copy.deepcopy(state._metadata)  # type: ignore[attr-defined]
        for name, tensor in state.items():
            new[name] = self.moved_tensor(name, tensor.detach()).clone()
        return new

    def moved_tensor(self, name: str, tensor: Tensor) -> Tensor:
        """One tensor of a state dict in the new basis, as `apply` computes it.

        Raises:
            ValueError: the spec has no such tensor, or its shape is another.
        """
        powers = None if self._pure else self.spec.kinds.powers
        return moved_tensor(self, self.spec, powers, name, tensor)

    @cached_property
    def _pure(self) -> bool:
        """Whether it is a permutation."""
        return all(element.kind == "permutation" for element in self.values())

    def check_of(self, spec: PermutationSpec) -> None:
        """Refuse to be applied to the networks of another spec.

        Raises:
            ValueError: names the first group that differs, or a tensor whose axes do.
        """
        if spec is self.spec:
            return
        spec.validate(self)
        for name in sorted(spec.axes.keys() | self.spec.axes.keys()):
            if spec.axes.get(name) != self.spec.axes.get(name):
                raise ValueError(f"transform: on tensor {name!r} groups lie as in another spec")

    def _places(self) -> dict[str, str]:
        """For each nested group, the group at the place that its new place is taken from."""
        indices = {
            group: torch.arange(len(element)) if element.index is None else element.index
            for group, element in self.items()
        }
        return self.spec.places(indices)

    def inverse(self) -> "Transform":
        """The transform that undoes this one."""
        taken = self._places()
        return Transform(
            self.spec, {taken.get(g, g): element.inverse() for g, element in self.items()}
        )

    def after(self, first: "Transform") -> "Transform":
        """One transform for two: `q.after(p).apply(s) == q.apply(p.apply(s))`."""
        taken = self._places()
        return Transform(
            self.spec,
            {group: self[group].after(first[taken.get(group, group)]) for group in self},
        )

    def distance(self, other: "Transform") -> float:
        """The largest difference of an entry of any group's matrix; 0 for equal transforms."""
        gaps = [float((self[g].as_matrix() - other[g].as_matrix()).abs().max()) for g in self]
        return max(gaps, default=0.0)

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors: `index/GROUP`, `factor/GROUP` or `matrix/GROUP`, and those of the report."""
        tensors = {
            f"{part}/{group}": value.contiguous()
            for group, element in self.items()
            for part in PARTS
            if (value := getattr(element, part)) is not None
        }
        return tensors | self._report_as_tensors()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], spec: PermutationSpec) -> "Transform":
        """The transform that `to_tensors` converted.

        Raises:
            ValueError: a name is none that `to_tensors` gives, or there is no such map in the spec.
        """
        parts = tensors_by_part(tensors, PARTS, "transform")
        groups = {group for part in PARTS for group in parts[part]}
        elements = {g: Element(*(parts[part].get(g) for part in PARTS)) for g in groups}  # type: ignore[arg-type]
        return cls(spec, elements, *report_of(parts))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically; its header holds the kind of each map as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        kinds = json.dumps({group: element.kind for group, element in self.items()})
        with made_whole(Path(path)) as beside:
            save_file(self.to_tensors(), beside, {"format": FORMAT, "kinds": kinds})

    @classmethod
    def load(cls, path: str | Path, spec: PermutationSpec) -> "Transform":
        """Read what `save` wrote.

        Raises:
            OSError: there is no such file, or it cannot be read.
            ValueError: the file holds no transform, or none of this spec.
        """
        Path(path).open("rb").close()
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise ValueError("its header is another")
                tensors = {key: file.get_tensor(key) for key in file.keys()}
            return cls.from_tensors(tensors, spec)
        except (SafetensorError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a saved transform: {in_one_line(error)}") from error
