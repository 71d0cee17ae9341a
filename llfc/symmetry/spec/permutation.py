"""Permutations of hidden units: which unit of the old network stands where in the new one.

`perm[g][i] = j`: unit i of group g in the new network is unit j in the old one (Ainsworth et al.,
Git Re-Basin, ICLR 2023, section 3; arXiv 2209.04836).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from llfc.atomic import made_whole
from llfc.names import counted
from llfc.oneline import in_one_line
from llfc.symmetry.spec.reported import Reported, report_of, tensors_by_part

FORMAT = {"format": "llfc.Permutation"}  # in the header of its file


class Permutation(Reported, Mapping[str, Tensor]):
    """For every group of units, an int64 index vector [units] on the CPU; and what is `Reported`.

    Raises:
        ValueError: if an index vector is not a permutation.
    """

    def __init__(
        self,
        indices: Mapping[str, Tensor],
        record: Mapping[str, float] | None = None,
        left_out: Mapping[str, str] | None = None,
        definitions: Mapping[str, str] | None = None,
    ) -> None:
        self._indices: dict[str, Tensor] = {}
        for group, index in indices.items():
            index_U = torch.as_tensor(index).detach().to("cpu", torch.int64)
            if not torch.equal(index_U.sort().values, torch.arange(index_U.numel())):
                shown = index_U.flatten()[:8].tolist()
                raise ValueError(f"group {group!r}: the index must be a permutation, got {shown}")
            self._indices[group] = index_U
        self._report(record, left_out, definitions)

    def __getitem__(self, group: str) -> Tensor:
        return self._indices[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Permutation):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(self[g], other[g]) for g in self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Permutation({counted(len(self), 'group')}, {counted(self.moved(), 'unit')} moved)"

    def moved(self) -> int:
        """The number of units that are not mapped to themselves.

        >>> Permutation({"fc": torch.tensor([1, 0, 2])}).moved()
        2
        """
        return sum(int((p != torch.arange(len(p))).sum()) for p in self._indices.values())

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors: `group/NAME`, `record/NAME`; `left_out/NAME`, `definitions/NAME` in UTF-8."""
        return {
            f"group/{name}": index_U for name, index_U in self.items()
        } | self._report_as_tensors()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Permutation":
        """The permutation that `to_tensors` converted.

        Raises:
            ValueError: a name is none that `to_tensors` gives, or an index is not a permutation.
        """
        parts = tensors_by_part(tensors, ("group",), "permutation")
        return cls(parts["group"], *report_of(parts))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, atomically: an int64 index [units] for every group.

        Raises:
            OSError: the file cannot be written.
        """
        with made_whole(Path(path)) as beside:
            save_file({n: t.contiguous() for n, t in self.to_tensors().items()}, beside, FORMAT)

    @classmethod
    def load(cls, path: str | Path) -> "Permutation":
        """Read what `save` wrote.

        Raises:
            OSError: there is no such file, or it cannot be read.
            ValueError: the file holds no permutation.
        """
        data = Path(path).read_bytes()
        try:
            return cls.from_tensors(load(data))
        except (SafetensorError, ValueError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a saved permutation: {in_one_line(error)}") from error
