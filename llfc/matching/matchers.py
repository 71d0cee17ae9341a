"""The matchers, all under one signature."""

import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import nn

from llfc.devices import tf32_disabled
from llfc.matching.activations import match_activations, match_activations_uncentred
from llfc.matching.frank_wolfe import match_frank_wolfe
from llfc.matching.identity import match_nothing
from llfc.matching.learning.learned import match_learned
from llfc.matching.mixing.orthogonal import match_orthogonal
from llfc.matching.mixing.orthogonal_activations import match_orthogonal_activations
from llfc.matching.overlap.overlap import Overlap
from llfc.matching.overlap.parameters import check_matchable, check_one_function
from llfc.matching.plugged import OFFERED, OwnMatcher
from llfc.matching.record import recorded
from llfc.matching.sinkhorn import match_sinkhorn
from llfc.matching.straight_through import match_straight_through
from llfc.matching.weights import match_weights
from llfc.modules.few_values import few_values_told
from llfc.modules.inputs import Inputs
from llfc.names import divided, readable
from llfc.plugins import is_own, resolve
from llfc.plugins.options import Option, options_of, spelled
from llfc.seeds import generators_left
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.tasks import Task


class Matcher(Protocol):
    """Finds the map of `b`'s units that brings it closest to `a`.

    That is a `Permutation`, or a `Transform` where units are mixed too. Its record holds what only
    the matcher knows: `iterations`, in its own unit, and, if it does not maximise the overlap,
    `objective_before` and `objective`; `match` adds everything else. The same seed gives the same
    answer in every process; a network matched with itself stays as it is. Batches are iterated over
    once. Further keyword arguments, all with defaults, are its options, such as an `effort`, which
    may also follow its name (`named`); what the networks are for is given to one that has the
    option `task`.
    """

    def __call__(
        self,
        a: nn.Module,
        b: nn.Module,
        spec: PermutationSpec,
        batches: Iterable[Inputs] | None,
        *,
        seed: int,
    ) -> Permutation | Transform: ...


MATCHERS: Mapping[str, Matcher] = {
    "none": match_nothing,
    "weights": match_weights,
    "activations": match_activations,
    "activations-uncentred": match_activations_uncentred,
    "frank-wolfe": match_frank_wolfe,
    "sinkhorn": match_sinkhorn,
    "straight-through": match_straight_through,
    "orthogonal": match_orthogonal,
    "orthogonal-activations": match_orthogonal_activations,
    "learned": match_learned,
}


def matcher_of(name: str) -> Matcher:
    """The matcher called `name`: one of MATCHERS, or a plug-in (see `llfc.plugins`).

    Raises:
        ValueError: if there is none.
    """
    return OwnMatcher.named(name) if is_own("matching", name, MATCHERS) else MATCHERS[name]


def named(matching: str) -> tuple[str, dict[str, Any]]:
    """The matcher that `matching` names and the options that it says.

    They follow a built-in's or a plug-in's name, as in `weights:effort=4`, `learned:steps=400` and
    `mine.py:match:effort=2,start=random`: whole numbers, numbers, True or False, words, None,
    whatever the option is annotated as or, without annotation, its default is.

    Raises:
        ValueError: if there is no such matcher, it has no such option, or the value is of another
            type.

    >>> named("weights:effort=4")
    ('weights', {'effort': 4.0})
    """
    name, said = divided(matching)
    options: dict[str, Any] = {}
    for part in said.split(",") if said else ():
        option, equals, word = part.partition("=")
        known = _option(name, option)
        what = f"{option} of matching {readable(name)!r}"
        if not equals or option in options:
            raise ValueError(f"{what} must be said once, as {option}=VALUE, in {matching!r}")
        if not known.kinds:
            raise ValueError(f"{what} cannot be said in the name: give it as an argument")
        try:
            options[option] = known.read(word)
        except ValueError as error:
            raise ValueError(f"{what} {error}") from None
    return name, options


def canonical(matching: str) -> str:
    """The one spelling of `matching`: a plug-in by its full name, options sorted, no defaults.

    Raises:
        ValueError: as `named` does.

    >>> canonical("weights:effort=12"), canonical("learned:steps=400,seconds=60.0")
    ('weights', 'learned:seconds=60,steps=400')
    """
    name, options = named(matching)
    defaults = _options(name)
    said = {option: value for option, value in options.items() if value != defaults[option].default}
    return spelled(resolve("matching", name) if is_own("matching", name, MATCHERS) else name, said)


def known_to(matching: str, task: Task) -> dict[str, Any]:
    """What the matcher that `matching` names is given of what the networks are for, as options.

    Raises:
        ValueError: if it descends what the task does not have.
    """
    if divided(matching)[0] == "straight-through" and (not task.classes or task.output is not None):
        raise ValueError(
            "matching 'straight-through' descends class probabilities, which this task's output has"
            " not: choose another, such as 'weights'"
        )
    return {"task": task} if "task" in _options(divided(matching)[0]) else {}


def check_options(matching: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the matcher has not, or that its name says already.

    Raises:
        ValueError: with the first of them, and those that there are; or if there is no matcher.
    """
    name, said = named(matching)
    for option in options:
        _option(name, option)
        if option in said:
            raise ValueError(f"{option} is given twice: in {readable(matching)!r} and beside it")


def _options(name: str) -> dict[str, Option]:
    """The options of the matcher called `name`, by name."""
    matcher = matcher_of(name)
    own = matcher.function if isinstance(matcher, OwnMatcher) else matcher
    return options_of(own, OFFERED)


def _option(name: str, option: str) -> Option:
    known = _options(name)
    if option not in known:
        there = f"its options are {', '.join(known)}" if known else "it has none"
        raise ValueError(f"matching {readable(name)!r} has no option {option!r}: {there}")
    return known[option]


@few_values_told()
@tf32_disabled()
@generators_left()
@torch.inference_mode(False)
def match(
    name: str,
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None = None,
    seed: int = 0,
    **options: Any,
) -> Permutation | Transform:
    """The map of `b`'s units towards `a` that the matcher `name` finds; neither model is modified.

    A `Permutation`, or, of the matchers that use all of the groups' kinds, a `Transform`.

    Its record has the fields of `llfc.matching.record`.

    With batches, `a` with the parameters and buffers of `b` must give the outputs of `b` on the
    first of them; without, all settings of the two modules must be equal.

    Args:
        name: a name in MATCHERS, or a plug-in's as `FILE.py:FUNCTION`; options may follow, as in
            `weights:effort=4`.
        a: the network that stays as it is.
        b: the network whose units are permuted or mixed.
        spec: the symmetry of both, from `permutation_spec`.
        batches: inputs that the models accept (a tensor, or a tuple of tensors for several inputs),
            for the matchers that use features; iterated over once.
        seed: seed of the matcher's random choices.
        options: the matcher's own, such as `effort` of `weights`, if its name does not say them;
            its docstring explains them.

    Raises:
        ValueError: if the name is unknown, or the matcher has no such option, or not of such a
            value; the models do not
            share one architecture, do not fit the spec, are wrappers of other modules, or differ in
            more than their tensors; a parameter is not finite; or a matcher that needs batches is
            given none.
    """
    check_options(name, options)
    batches = check_one_function({"a": a, "b": b}, spec, batches)
    return match_alike(name, a, b, spec, batches, seed, options)


def match_alike(
    name: str,
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    seed: int,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Permutation | Transform:
    """As `match`, for two models that are known to differ only in parameters and buffers."""
    alone, said = named(name)
    matcher = matcher_of(alone)
    began = time.perf_counter()
    check_matchable(a, b, spec)
    found = matcher(a, b, spec, batches, seed=seed, **said, **options)
    return recorded(found, Overlap.of(a, b, spec), began)
