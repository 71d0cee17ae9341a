"""What a graph says of a network's norms: where each reads, and what reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from llfc.symmetry.kinds import relating
from llfc.symmetry.kinds.carried import carried_in
from llfc.symmetry.kinds.commuting import BY_OPERATOR, KIND_OF
from llfc.symmetry.kinds.finding import Finding
from llfc.symmetry.kinds.viewing import MOVING
from llfc.symmetry.rules.operators import arguments, operator_name, where
from llfc.symmetry.spec.axes import Axis

CONTRACTIONS = ("linear", "addmm", "matmul", "mm", "conv1d", "conv2d", "conv3d")
# Operators through which a shift of all entries alike passes unchanged.
PASSING = (
    *(name for name in MOVING if name not in ("cat", "concat", "concatenate", "stack")),
    *("dropout", "clone", "contiguous", "to", "_to_copy", "alias", "detach", "mean", "getitem"),
    *("index_select", "index"),
)


# Relations of operators that are linear in a stream, as sums are too.
LINEAR = (
    *(relating.linear, relating.matmul, relating.addmm, relating.einsum),
    *(relating.convolution, relating.looked_up, relating.ignored),
)


class Unsafe(Exception):
    """Why a norm cannot be folded; the caller names it."""


@dataclass(frozen=True)
class Reader:
    """A linear map that reads a norm's output.

    Attributes:
        node: the call.
        weight: the placeholder of its weight.
        dim: the dimension of the weight along which it reads.
        bias: the placeholder of its bias, if it has one.
    """

    node: fx.Node
    weight: fx.Node
    dim: int
    bias: fx.Node | None


def readers_of(finding: Finding, out: fx.Node) -> Iterator[Reader]:
    """The linear maps that read a value, directly or after what only moves it.

    Raises:
        Unsafe: something else reads it.
    """
    waiting, seen = [out], set[fx.Node]()
    while waiting:
        node = waiting.pop()
        for user in node.users:
            name = operator_name(user) if user.op == "call_function" else user.op
            if user in seen:
                continue
            seen.add(user)
            if name in PASSING and axes_on(finding, user) == axes_on(finding, node):
                waiting.append(user)
            elif name in CONTRACTIONS:
                yield reader(finding, user, node)
            elif any(True for _ in user.users) or user.op == "output":
                raise Unsafe(f"{named(user)} reads it, which is no linear map")


def axes_on(finding: Finding, node: fx.Node) -> list[Axis]:
    """How units lie on a value: on what only moves their dimension, as before."""
    return [run.axis for x in carried_in(finding.carried[node]) for run in x.runs]


def named(node: fx.Node) -> str:
    """A call in words, or the network's output."""
    return where(node) if node.op == "call_function" else "the output of the network"


def reader(finding: Finding, node: fx.Node, source: fx.Node) -> Reader:
    """A contraction as a reader of one of its arguments.

    Raises:
        Unsafe: its weight is no parameter, or it is a convolution with a margin of zeros.
    """
    values = [(k, v) for k, v in arguments(node).items() if isinstance(v, fx.Node)]
    parameters = [(k, v) for k, v in values if is_parameter(finding, v)]
    weights = [v for k, v in parameters if k not in ("bias", "self") or len(parameters) == 1]
    if operator_name(node) == "addmm":
        weights = [v for k, v in parameters if k == "mat2"]
    biases = [v for k, v in parameters if v not in weights]
    if len(weights) != 1 or source in weights:
        raise Unsafe(f"{where(node)} reads it with a weight that is no parameter")
    padding: Any = arguments(node).get("padding", 0)
    if padding not in (0, [0], [0, 0], [0, 0, 0], "valid"):
        raise Unsafe(f"{where(node)} reads it with a margin of zeros")
    bias = biases[0] if biases else None
    return Reader(node, weights[0], read_dim(finding, weights[0], source), bias)


def is_parameter(finding: Finding, node: fx.Node) -> bool:
    """Whether a node is a tensor of the state dict."""
    return node.op == "placeholder" and node.name in finding.parameters


def read_dim(finding: Finding, weight: fx.Node, source: fx.Node) -> int:
    """The dimension of a weight on which the units of a value lie as its dual."""
    strands = finding.strands
    here = {strands.root(p.number) for x in carried_in(finding.carried[source]) for p in x.places}
    found: list[int] = []
    for run in finding.carried[weight].runs:
        roots = {strands.root(place.number) for place in run.places}
        if {(root, not dual) for root, dual in roots} & here and len(run.dims) == 1:
            found.append(run.dims[0])
    if len(found) != 1:
        raise Unsafe(f"{named(next(iter(weight.users)))} does not read it along one dimension")
    return found[0]


def strand_of(finding: Finding, node: fx.Node) -> tuple[int, bool]:
    """The one strand that a value carries.

    Raises:
        Unsafe: it carries none, or several.
    """
    carried = carried_in(finding.carried[node])
    roots = {finding.strands.root(place.number) for x in carried for place in x.places}
    if len(roots) != 1:
        raise Unsafe("what it reads is no stream of units that could be mixed")
    return next(iter(roots))


def writers_of(
    finding: Finding, graph: fx.Graph, strand: tuple[int, bool], norms: Sequence[fx.Node]
) -> list[tuple[str, int]]:
    """The tensors that write a stream, each with the dimension on which its units lie.

    Args:
        finding: what is known of places.
        graph: the network's.
        strand: of the stream.
        norms: the calls that may read it.

    Raises:
        Unsafe: something that is neither linear nor a norm reads or makes it.
    """
    strands = finding.strands
    for node in graph.nodes:
        if node.op != "call_function" or node in norms:
            continue
        touched = [finding.carried[node], *map(finding.carried.get, node.all_input_nodes)]
        on_it = any(
            strands.root(place.number)[0] == strand[0]
            for each in touched
            for x in carried_in(each)
            for place in x.places
        )
        if on_it and not is_linear(finding, node):
            raise Unsafe(f"the stream that it reads meets {where(node)}, which is not linear")
    found = []
    for name, carried in finding.tensors.items():
        for run in carried.runs:
            for place in run.places:
                root, dual = strands.root(place.number)
                if root != strand[0]:
                    continue
                if dual != strand[1]:
                    raise Unsafe(f"{name} reads the stream before any norm")
                if len(run.dims) != 1 or len(run.axis) != 1 or len(run.axis[0]) != 1:
                    raise Unsafe(f"the units of the stream do not lie alone on {name}")
                found.append((name, run.dims[0]))
    return found


def is_linear(finding: Finding, node: fx.Node) -> bool:
    """Whether a call is linear in the stream: it adds, moves, looks up or contracts."""
    name = operator_name(node)
    relation = BY_OPERATOR.get(name)
    if name in MOVING or name == "getitem" or KIND_OF.get(name) == "invertible":
        return True
    numbers = [value for value in node.args[:2] if isinstance(value, int | float) and value]
    if relation is relating.added:
        return name in ("add", "sub", "copy") and not numbers
    if relation is relating.multiplied:  # by what is the same for all units
        factors = [each for n in node.all_input_nodes for each in carried_in(finding.carried[n])]
        return len([each for each in factors if each.families]) == 1
    return relation in LINEAR
