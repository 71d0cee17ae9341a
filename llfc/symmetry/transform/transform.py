"""An element of a network's symmetry: a map of the units of every group, of any kind."""

import copy
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from llfc.atomic import made_whole
from llfc.oneline import in_one_line
from llfc.seeds import stream
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.spec.axes import axis_groups
from llfc.symmetry.spec.kinds import SMALLER
from llfc.symmetry.transform.acting import act
from llfc.symmetry.transform.element import Element

FORMAT = "llfc.Transform"  # in the header of its file
SPREAD = 0.5  # standard deviation of the logarithms of random scales


class Transform(Mapping[str, Element]):
    """For every group of a spec, a linear map of its units, of the group's kind or a smaller one.

    A permutation is the special case in which every map is one: `of_permutation`, `permutation`.

    Args:
        spec: the symmetry.
        elements: group -> its map; groups that are left out stay as they are.

    Raises:
        ValueError: a group is not the spec's, has another size, or is of a kind that does not hold
            the map.
    """

    def __init__(self, spec: PermutationSpec, elements: Mapping[str, Element]) -> None:
        self.spec = spec
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

    def __repr__(self) -> str:
        moved = sum(not element.is_identity() for element in self.values())
        return f"Transform({len(self)} groups, {moved} of them moved)"

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
        pure = all(element.kind == "permutation" for element in self.values())
        powers = None if pure else self.spec.kinds.powers
        new: OrderedDict[str, Tensor] = OrderedDict()
        if hasattr(state, "_metadata"):
            new._metadata = copy.deepcopy(state._metadata)  # type: ignore[attr-defined]
        for name, tensor in state.items():
            folded = self.spec.fold(name, tensor.detach())
            for dim, axis in enumerate(self.spec.axes[name]):
                if axis_groups(axis):
                    own = powers[name][dim] if powers else None
                    folded = act(self, axis, own, folded, dim)
            new[name] = folded.reshape(tensor.shape).clone()
        return new

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

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically; its header holds the kind of each map as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        tensors = {
            f"{part}/{group}": value.contiguous()
            for group, element in self.items()
            for part in ("index", "factor", "matrix")
            if (value := getattr(element, part)) is not None
        }
        kinds = json.dumps({group: element.kind for group, element in self.items()})
        with made_whole(Path(path)) as beside:
            save_file(tensors, beside, {"format": FORMAT, "kinds": kinds})

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
                parts: dict[str, dict[str, Tensor]] = {}
                for key in file.keys():
                    part, _, group = key.partition("/")
                    parts.setdefault(group, {})[part] = file.get_tensor(key)
            return cls(spec, {group: Element(**found) for group, found in parts.items()})  # type: ignore[arg-type]
        except (SafetensorError, ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a saved transform: {in_one_line(error)}") from error


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
