"""An intervention: units that were brought into one basis, taken out of it again in doses.

B computes the same function at any dose, with the same losses and norms of its tensors; only how
its units lie beside A's is another. So what changes with the dose is due to the alignment alone.
"""

import math

import torch
from torch import Generator, Tensor

from llfc.names import lookup
from llfc.seeds import stream
from llfc.specs import ALL
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.symmetry.transform.drawing import random_rotation
from llfc.symmetry.transform.element import Element


def misaligned(
    found: Permutation | Transform, spec: PermutationSpec, share: float, group: str, seed: int
) -> Permutation | Transform:
    """The same map of B's units, after which some of them are misaligned.

    Of every group that is not of kind `orthogonal` a `share` of the units, rounded, change places:
    chosen at random, each goes where the next of them was. Of a larger share these are more, the
    ones of a smaller share among them. An orthogonal group is rotated by `share` times 90 degrees,
    in as many planes at random as there are pairs of dimensions, so that every vector turns by that
    angle, whether the map that was found permutes or rotates.

    Args:
        found: the map, as a matcher found it; its record is kept.
        spec: the symmetry that it is of.
        share: from 0, as it is, to 1.
        group: the one group that is misaligned, or ALL.
        seed: of the choice of units, or planes.

    Returns:
        A permutation where one was found and no orthogonal group is misaligned, else a transform.

    Raises:
        ValueError: if the spec has no such group.
    """
    check_group(spec, group)
    if share == 0:
        return found
    chosen = spec.groups if group == ALL else (group,)
    draws = {name: stream(seed, f"misalignment/{name}") for name in chosen}
    elements = {
        name: Element(matrix=rotated(spec.groups[name], share, draw))
        if spec.kinds[name] == "orthogonal"
        else Element(exchanged(spec.groups[name], share, draw))  # type: ignore[arg-type]
        for name, draw in draws.items()
    }
    first = found if isinstance(found, Transform) else Transform.of_permutation(spec, found)
    after = Transform(spec, elements).after(first)
    told = found.record, found.left_out, found.definitions
    turned = any(spec.kinds[name] == "orthogonal" for name in chosen)
    if turned or isinstance(found, Transform):
        return Transform(spec, after, *told)
    return Permutation(after.permutation(), *told)


def check_group(spec: PermutationSpec, group: str) -> None:
    """See that the spec has the group, if it is not ALL.

    Raises:
        ValueError: if it has not.
    """
    lookup("group of units", group, {ALL: 0, **spec.groups})


def exchanged(units: int, share: float, generator: Generator) -> Tensor:
    """An index [units]: `share` of them, rounded, go where the next was; one alone stays."""
    chosen = torch.randperm(units, generator=generator)[: round(share * units)]
    index = torch.arange(units)
    index[chosen] = chosen.roll(-1)
    return index


def rotated(units: int, share: float, generator: Generator) -> Tensor:
    """A rotation [units, units], float64, by `share` times 90 degrees in random planes.

    Of an odd number of dimensions one stays.
    """
    basis = random_rotation(units, generator)
    angle = share * math.pi / 2
    turn = torch.eye(units, dtype=torch.float64)
    first = torch.arange(0, units - 1, 2)
    turn[first, first] = turn[first + 1, first + 1] = math.cos(angle)
    turn[first, first + 1] = -math.sin(angle)
    turn[first + 1, first] = math.sin(angle)
    return basis.T @ turn @ basis
