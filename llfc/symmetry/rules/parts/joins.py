"""Calls that take several operands in any order, and chains of them as one call."""

from collections.abc import Iterator

from torch import Tensor, fx

from llfc.symmetry.rules.operators import arguments, has_unknown_size, operator_name

# Functions of two entries in either order, and of three or more in any.
SYMMETRIC = ("add", "mul", "maximum", "minimum", "fmax", "fmin", "logaddexp", "hypot")
JOINS = ("stack", "cat", "concat", "concatenate")
PRODUCTS = ("einsum", "matmul", "bmm", "dot", "vdot")


def is_inside_chain(node: fx.Node) -> bool:
    """Whether a call's only use is as an operand of the same symmetric function."""
    users = [*node.users]
    return len(users) == 1 and is_symmetric(node) and is_link(node, users[0])


def is_symmetric(node: fx.Node) -> bool:
    """Whether a call is a function of two entries that minds no order."""
    given = operator_name(node) in SYMMETRIC and node.op == "call_function"
    return given and arguments(node).get("alpha", 1) == 1


def is_link(node: fx.Node, user: fx.Node) -> bool:
    """Whether a symmetric function's result is an operand of the same one, of the same shape."""
    same = is_symmetric(user) and operator_name(user) == operator_name(node)
    return same and shape_of(user) == shape_of(node)


def operands_of(node: fx.Node) -> tuple[list[fx.Node], list[fx.Node]]:
    """What a call takes in any order, and the calls inside it if it ends a chain."""
    name = operator_name(node)
    if name in JOINS:
        return [each for each in node.args[0] if isinstance(each, fx.Node)], []  # type: ignore[union-attr]
    if name in PRODUCTS:
        return list(leaves(node.args)), []
    if not is_symmetric(node):
        return [], []
    found: list[fx.Node] = []
    inner: list[fx.Node] = []
    for each in leaves(node.args):
        if len(each.users) == 1 and is_symmetric(each) and is_link(each, node):
            more = operands_of(each)
            found, inner = [*found, *more[0]], [*inner, each, *more[1]]
        else:
            found.append(each)
    return found, inner


def leaves(args: object) -> Iterator[fx.Node]:
    """The nodes among arguments, also in lists, as often as they stand there."""
    if isinstance(args, fx.Node):
        yield args
    elif isinstance(args, list | tuple):
        for each in args:
            yield from leaves(each)


def manner(node: fx.Node, operand: fx.Node) -> object:
    """How a call treats an operand, dimension by dimension: equal if it minds no order of them."""
    name, shape = operator_name(node), shape_of(operand)
    if name in JOINS:
        return None
    if name == "einsum":
        return terms_of(node)[[*leaves(node.args)].index(operand)]
    if is_symmetric(node):
        return None if shape == shape_of(node) else operand
    ends = [shape_of(each) for each in node.all_input_nodes]
    known = len(ends[0]) == len(ends[-1]) > 1
    even = len(shape) == 1 or (known and ends[0][-2] == ends[-1][-1] == 1)
    return None if even else operand


def terms_of(node: fx.Node) -> list[str]:
    """The letters of an einsum's operands."""
    return str(node.args[0]).replace(" ", "").partition("->")[0].split(",")


def shape_of(node: fx.Node) -> list[int]:
    """The sizes of a node's tensor."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or has_unknown_size(node):
        return []
    return [int(n) for n in value.shape]
