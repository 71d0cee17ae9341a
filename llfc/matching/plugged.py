"""Matchers of one's own: a function of two networks that returns a map of units."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from llfc.modules import copy_of
from llfc.modules.inputs import Inputs
from llfc.plugins import call, own_function
from llfc.seeds import drawn_alike
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform

OFFERED = ("a", "b", "spec", "batches", "seed")


@dataclass(frozen=True)
class OwnMatcher:
    """A plug-in under the signature of `llfc.matching.matchers.Matcher`.

    It sees copies of the networks, which it may change, and draws from the generators that all
    share as the seed says. `iterations` is 1 in the record of one that does not count its own.

    Attributes:
        what: it is, at the beginning of errors.
        function: takes any of OFFERED, by name; what else it has a default for is an option.
    """

    what: str
    function: Callable[..., Any]

    @staticmethod
    def named(name: str) -> "OwnMatcher":
        """That of the plug-in called `name`.

        Raises:
            ValueError: if there is none, or it takes other arguments.
        """
        return OwnMatcher(*own_function("matching", name, OFFERED))

    def __call__(
        self,
        a: nn.Module,
        b: nn.Module,
        spec: PermutationSpec,
        batches: Iterable[Inputs] | None,
        *,
        seed: int,
        **options: Any,
    ) -> Permutation | Transform:
        """The permutation or transform that the plug-in finds.

        Raises:
            ValueError: if it raises, or returns anything else.
        """
        given = {"a": copy_of(a), "b": copy_of(b), "spec": spec, "batches": batches, "seed": seed}
        given |= options
        with drawn_alike(seed):
            found = call(self.what, self.function, given)
        if not isinstance(found, Permutation | Transform):
            raise ValueError(
                f"{self.what} must return an llfc.Permutation or an llfc.Transform, got a"
                f" {type(found).__name__}"
            )
        record = {"iterations": 1.0, **found.record}
        try:
            if isinstance(found, Transform):
                found.check_of(spec)
                return Transform(spec, found, record, found.left_out)
            spec.validate(found)
        except ValueError as error:
            raise ValueError(f"{self.what} must return one of the spec's: {error}") from None
        return Permutation(found, record, found.left_out)
