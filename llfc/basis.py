"""B in A's basis: its units permuted or mixed to align with A's, its function checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from llfc.connectivity.samples import Batches
from llfc.matching.matchers import known_to, match_alike
from llfc.matching.overlap.parameters import check_spec
from llfc.modules import check_same_function, check_same_outputs, check_state, copy_of
from llfc.modules.inputs import Inputs, positional, taken
from llfc.results import LeftOut
from llfc.symmetry import permutation_spec
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.tasks import Task


@dataclass(frozen=True, eq=False)
class Basis:
    """B aligned with A, a new model if units moved; how, its record, and what was left out."""

    b: nn.Module
    found: Permutation | Transform | None = None
    record: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def into_one_basis(
    a: nn.Module,
    b: nn.Module,
    matching: str | Permutation | Transform | None,
    spec: PermutationSpec | None,
    inputs: Inputs,
    task: Task,
    train: Batches | None,
    seed: int,
) -> Basis:
    """B with its units permuted, or mixed, to align with A's; both are copies, in eval mode.

    Without a spec, a transform's own is taken.

    Args:
        a: the network that stays as it is.
        b: the network whose units are permuted.
        matching: what `llfc.connect` takes.
        spec: the symmetry of both; derived from A if None.
        inputs: a batch on which it is checked that the function is kept.
        task: what the networks are compared at.
        train: for the matchers that use features.
        seed: of the matcher.

    Raises:
        ValueError: if `matching` or `spec` is not what it should be, or B, moved, is another
            function than B.
    """
    if matching is None:
        return Basis(b)
    if not isinstance(matching, str | Permutation | Transform):
        raise ValueError(
            "matching must be a name, a Permutation, a Transform or None, got a"
            f" {type(matching).__name__}"
        )
    if spec is None and isinstance(matching, Transform):
        spec = matching.spec
    spec = permutation_spec(a, *positional(a, taken(inputs, slice(2)))) if spec is None else spec
    check_spec(spec)
    check_state("model_b", b)
    if isinstance(matching, Transform):
        matching.check_of(spec)
    if isinstance(matching, str):
        seen = None if train is None else (images for images, _ in train)
        matching = match_alike(matching, a, b, spec, seen, seed, known_to(matching, task))
    left_out = (
        *fixed(spec),
        *(LeftOut("group", group, reason) for group, reason in matching.left_out.items()),
        *(LeftOut("definition", *entry) for entry in matching.definitions.items()),
    )
    moved = permuted(a, b, spec, matching, inputs)
    return Basis(moved, matching, matching.record, left_out)


def permuted(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    matching: Permutation | Transform,
    inputs: Inputs,
) -> nn.Module:
    """A copy of B with its units permuted, or mixed; B itself if none moves.

    Raises:
        ValueError: if it is another function than B on `inputs`, or not A's but for its numbers.
    """
    if not matching.moved():
        return b
    state, moved = b.state_dict(), copy_of(b)
    mixing = matching.apply if isinstance(matching, Transform) else None
    moved.load_state_dict(spec.apply(matching, state))
    check_same_outputs(moved, b, inputs, mixing)
    check_same_function(a, moved, inputs)
    return moved


def fixed(spec: PermutationSpec) -> list[LeftOut]:
    """What does not move, each with the reason."""
    lines = (line.partition(": ") for line in spec.frozen)
    return [LeftOut("parameter", name, reason) for name, _, reason in lines]
