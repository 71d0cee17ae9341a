"""Random draws of the network itself.

In train mode a network may draw for each unit (dropout): all units are drawn for alike, so that
permuting them changes nothing but which draw goes to which. In eval mode such a network is no
function that a permutation could keep.
"""

from torch import fx

from llfc.symmetry.layouts.combine import pointwise
from llfc.symmetry.layouts.layout import Value, new_layout, settle
from llfc.symmetry.rules.calls import Call
from llfc.symmetry.rules.operators import arguments, operator_name

DROPOUTS = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
DRAWS = (
    *("rand", "rand_like", "randn", "randn_like", "normal", "uniform", "bernoulli", "exponential"),
    *("cauchy", "log_normal", "geometric", "poisson", "randint", "randint_like"),
)
PARAMETRIC = ("normal", "bernoulli", "poisson")  # whose arguments may be tensors


def drawn(call: Call) -> Value:
    """Random numbers, i.i.d. over all entries, or with parameters given entry by entry."""
    fresh = new_layout(call.units, call.shape, "neutral" if call.training else "free", call.owner)
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
    """Whether an operator draws a permutation or a choice, as `randperm` and `multinomial` do."""
    return operator_name(node) in ("randperm", "multinomial", "randint", "randint_like", "random")
