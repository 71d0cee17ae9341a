"""B with its units permuted to align with A's, checked to compute the same function as before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from llfc.connectivity.samples import Batches
from llfc.matching.matchers import match_alike
from llfc.matching.overlap.parameters import check_spec
from llfc.modules import check_same_function, check_same_outputs, check_state, copy_of
from llfc.modules.inputs import positional
from llfc.results import LeftOut
from llfc.symmetry import permutation_spec
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.tasks import Task


@dataclass(frozen=True, eq=False)
class Basis:
    """B aligned with A, a new model if units moved; the matcher's record, and what was left out."""

    b: nn.Module
    record: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def into_one_basis(
    a: nn.Module,
    b: nn.Module,
    matching: str | Permutation | None,
    spec: PermutationSpec | None,
    test: Batches,
    train: Batches | None,
    seed: int,
) -> Basis:
    """B with its units permuted to align with A's; both are copies, in eval mode.

    Raises:
        ValueError: if `matching` or `spec` is not what it should be, or B, permuted, is another
            function than B.
    """
    if matching is None:
        return Basis(b)
    if not isinstance(matching, str | Permutation):
        raise ValueError(
            f"matching must be a name, a Permutation or None, got a {type(matching).__name__}"
        )
    spec = permutation_spec(a, *positional(a, test.example())) if spec is None else spec
    check_spec(spec)
    check_state("model_b", b)
    if isinstance(matching, str):
        _check_task(matching, test.task)
        seen = None if train is None else (images for images, _ in train)
        matching = match_alike(matching, a, b, spec, seen, seed)
    left_out = (
        *(LeftOut("parameter", *_named(line)) for line in spec.frozen),
        *(LeftOut("group", group, reason) for group, reason in matching.left_out.items()),
        *(LeftOut("definition", *entry) for entry in matching.definitions.items()),
    )
    if not matching.moved():
        return Basis(b, matching.record, left_out)
    permuted = copy_of(b)
    permuted.load_state_dict(spec.apply(matching, b.state_dict()))
    images = test.first()
    check_same_outputs(permuted, b, images)
    check_same_function(a, permuted, images)
    return Basis(permuted, matching.record, left_out)


def _check_task(matching: str, task: Task) -> None:
    """Refuse a matcher that descends what the task does not have."""
    if matching == "straight-through" and (not task.classes or task.output is not None):
        raise ValueError(
            "matching 'straight-through' descends class probabilities, which this task's output has"
            " not: choose another, such as 'weights'"
        )


def _named(frozen: str) -> tuple[str, str]:
    """A line of `PermutationSpec.frozen`, split into what is fixed and why."""
    name, _, reason = frozen.partition(": ")
    return name, reason
