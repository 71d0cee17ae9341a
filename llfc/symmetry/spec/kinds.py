"""The kind of each group: by which linear maps its units can be mixed, beyond permutations.

A group's map M takes the place of every value that carries its units, so a tensor that writes them
is multiplied by M, one that reads them by the inverse transpose of M, and a gain only permuted:
the *power* 1, -1 or 0 of each place where the group lies. In a product of two values, powers add.
"""

from collections.abc import Mapping, Sequence

# From the smallest. Each kind holds the permutations; `signed` and `scaled` hold neither the other.
KINDS: dict[str, str] = {
    "permutation": "units change places",
    "signed": "units change places, and some change their sign",
    "scaled": "units change places, and each is multiplied by a positive number",
    "orthogonal": "units are rotated and reflected among one another",
    "invertible": "units are mixed by any invertible matrix",
}
# What is within each kind, the largest first.
SMALLER: dict[str, tuple[str, ...]] = {
    "permutation": (),
    "signed": ("permutation",),
    "scaled": ("permutation",),
    "orthogonal": ("signed", "permutation"),
    "invertible": ("orthogonal", "scaled", "signed", "permutation"),
}

Powers = tuple[tuple[int, ...], ...]  # of an axis: for each segment, one for each of its factors


class Kinds(dict[str, str]):
    """Group name -> its kind, a key of `KINDS`.

    Attributes:
        powers: tensor of the state dict -> for each of its axes in `spec.axes`, the power of the
            group's map at each segment and factor; 0 too where no group moves the factor.
        lines: a line for each group whose kind was made smaller as its self-check failed.
        gap: the largest change of an output under random maps of these kinds, in float64, relative
            to the output's scale; infinite if the model does not run in float64, so that all kinds
            are permutations.
    """

    def __init__(
        self,
        kinds: Mapping[str, str],
        powers: Mapping[str, Sequence[Powers]],
        lines: Sequence[str] = (),
        gap: float = 0.0,
    ) -> None:
        super().__init__(kinds)
        self.powers = {name: tuple(each) for name, each in powers.items()}
        self.lines = tuple(lines)
        self.gap = gap
