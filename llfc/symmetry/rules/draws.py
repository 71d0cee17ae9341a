"""Random draws: operators that draw for each unit, and a mode in which none does.

In train mode a network may draw for each unit (dropout): all units are drawn for alike, so that
permuting them changes nothing but which draw goes to which. The self-check lets every draw give
one number. In eval mode such a network is no function that a permutation could keep.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

from llfc.symmetry.layouts.combine import pointwise
from llfc.symmetry.layouts.layout import plain, settle
from llfc.symmetry.rules.calls import Call, Value, arguments, operator_name, rule

DROPOUTS = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
DRAWS = (
    *("rand", "rand_like", "randn", "randn_like", "normal", "uniform", "bernoulli", "exponential"),
    *("cauchy", "log_normal", "geometric", "poisson", "randint", "randint_like"),
)
PARAMETRIC = ("normal", "bernoulli", "poisson")  # whose arguments may be tensors
OFF = {"dropout_p": 0.0, "dropout": 0.0, "train": False, "training": False}


@rule(*DRAWS)
def drawn(call: Call) -> Value:
    """Numbers drawn alike for all entries, or with parameters that other tensors name."""
    fresh = plain(call.units, call.shape, "neutral" if call.training else "free", call.owner)
    given = call.tensors()[1 if is_inplace(call.node) else 0 :]
    if operator_name(call.node) in PARAMETRIC and given:
        return pointwise(call.units, [*given, fresh], call.shape, call.owner)
    return settle(fresh)


def is_inplace(node: fx.Node) -> bool:
    """Whether an operator draws into its first argument."""
    return bool(node.target._schema.name.endswith("_"))  # type: ignore[union-attr]


def draws(node: fx.Node) -> bool:
    """Whether an operator draws at random, one number for each entry."""
    name = operator_name(node)
    return name in DRAWS or (name in DROPOUTS and bool(arguments(node)["train"]))


def chooses(node: fx.Node) -> bool:
    """Whether an operator draws an order or a choice: no single number can stand for that."""
    return operator_name(node) in ("randperm", "multinomial", "randint", "randint_like", "random")


def heads_or_tails(given: Mapping[str, Any]) -> Any:
    """Heads; of entries with chances of their own, what is likelier."""
    chance = given.get("p", given["self"])
    return chance.ge(0.5) if isinstance(chance, Tensor) else 1


TYPICAL: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "rand": lambda given: 0.5,
    "rand_like": lambda given: 0.5,
    "randn": lambda given: 0.5,
    "randn_like": lambda given: 0.5,
    "uniform": lambda given: (given["from"] + given["to"]) / 2,
    "normal": lambda given: given["mean"] + given["std"] / 2,
    "exponential": lambda given: 1 / given["lambd"],
    "cauchy": lambda given: given["median"],
    "log_normal": lambda given: math.exp(given["mean"]),
    "geometric": lambda given: 1,
    "bernoulli": heads_or_tails,
}


class OneDraw(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every draw gives one number for all entries, every dropout passes its input on."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        schema = func._schema
        given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
        given |= dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs
        off = {name: value for name, value in OFF.items() if name in given}
        if off:
            return func(**(given | off))
        result = func(*args, **kwargs)
        typical = TYPICAL.get(schema.name.removeprefix("aten::").rstrip("_"))
        return result if typical is None else result.copy_(torch.as_tensor(typical(given)))
