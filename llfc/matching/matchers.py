"""The matchers, all under one signature."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import nn

from llfc.devices import whole_float32
from llfc.matching.activations import match_activations, match_activations_uncentred
from llfc.matching.frank_wolfe import match_frank_wolfe
from llfc.matching.identity import match_nothing
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.sinkhorn import match_sinkhorn
from llfc.matching.straight_through import match_straight_through
from llfc.matching.taps import Inputs
from llfc.matching.weights import match_weights
from llfc.modules import check_network
from llfc.names import lookup


class Matcher(Protocol):
    """Finds the permutation of `b` that brings it closest to `a`.

    The permutation's record holds the fields of `llfc.matching.record`. The same seed gives the
    same answer in every process; a network stays in place when it is matched with itself.
    """

    def __call__(
        self,
        a: nn.Module,
        b: nn.Module,
        spec: PermutationSpec,
        batches: Iterable[Inputs] | None,
        *,
        seed: int,
    ) -> Permutation: ...


MATCHERS: Mapping[str, Matcher] = {
    "none": match_nothing,
    "weights": match_weights,
    "activations": match_activations,
    "activations-uncentred": match_activations_uncentred,
    "frank-wolfe": match_frank_wolfe,
    "sinkhorn": match_sinkhorn,
    "straight-through": match_straight_through,
}


@whole_float32()
def match(
    name: str,
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None = None,
    seed: int = 0,
) -> Permutation:
    """The permutation of `b` towards `a` that the matcher `name` finds; models stay as they are.

    Args:
        name: a name in MATCHERS.
        a: the network that stays as it is.
        b: the network whose units are permuted.
        spec: the symmetry of both, from `permutation_spec`.
        batches: inputs as the models take them (a tensor, or a tuple of tensors for several
            inputs), for the matchers that look at features; can be iterated again.
        seed: of the matcher's random choices.

    Raises:
        ValueError: if the name is unknown, the models are not of one architecture or not the
            spec's, or wrap others, a parameter is not finite, or a matcher that needs batches has
            none.
    """
    matcher = lookup("matching", name, MATCHERS)
    check_network("model a", a)
    check_network("model b", b)
    if not isinstance(spec, PermutationSpec):
        raise ValueError(f"spec must be a PermutationSpec, got a {type(spec).__name__}")
    return matcher(a, b, spec, batches, seed=seed)
