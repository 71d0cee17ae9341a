"""Products with constants of zeros and ones that only pick positions out: `h @ eye[:, [0, 2]]`."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from llfc.symmetry.rules.operators import arguments, operator_name

PRODUCTS = ("matmul", "mm", "mv", "linear", "einsum")
LARGEST_MASK = 1 << 16  # entries
ValueOf = Callable[[fx.Node], Tensor | None]  # of a constant


@dataclass(frozen=True)
class Listing:
    """The positions that a product picks out.

    Attributes:
        dim: the dimension, of the tensor that is no constant.
        positions: those picked out, in their order.
        keeps: whether the result has the dimension; if not, there is one position.
    """

    dim: int
    positions: list[int]
    keeps: bool


def listing_of(node: fx.Node, source: fx.Node, value_of: ValueOf) -> Listing | None:
    """What a call picks out of a tensor; None if it is no product with a constant that picks."""
    name, given = operator_name(node), arguments(node)
    others = [each for each in node.all_input_nodes if each is not source]
    if name not in PRODUCTS or len(others) != 1 or (value := value_of(others[0])) is None:
        return None
    rank = source.meta["val"].dim()
    dim = rank - 1
    if name == "einsum":
        spelled = spelled_of(node, source)
        if spelled is None:
            return None
        dim, turned = spelled
        value = value.T if turned else value
    elif node.all_input_nodes[0] is not source or (name == "mv" and rank != 2):
        return None
    elif name == "linear":
        value = value.T if given.get("bias") is None else value[:0]
    positions = ones_of(value)
    return positions and Listing(dim, positions, value.dim() == 2)  # type: ignore[return-value]


def spelled_of(node: fx.Node, source: fx.Node) -> tuple[int, bool] | None:
    """For an einsum of two, the dimension that is summed over, and whether it is the second's last.

    None: the result is not the tensor with that dimension replaced, or left out.
    """
    left, _, right = str(node.args[0]).replace(" ", "").partition("->")
    terms, operands = left.split(","), list(node.args[1])  # type: ignore[arg-type]
    if len(terms) != 2 or "." in left:
        return None
    own, other = terms if operands[0] is source else terms[::-1]
    summed = [letter for letter in other if letter in own]
    if len(summed) != 1 or len(other) > 2 or len({*own}) < len(own):
        return None
    new = other.replace(summed[0], "")
    if right != own.replace(summed[0], new):
        return None
    return own.index(summed[0]), len(other) == 2 and other[1] == summed[0]


def ones_of(value: Tensor) -> list[int] | None:
    """Where the one of each column is, if all else is zero."""
    columns = value.detach().cpu()
    columns = columns[:, None] if columns.dim() == 1 else columns
    if columns.dim() != 2 or not columns.numel() or columns.is_complex():
        return None
    plain = ((columns == 0) | (columns == 1)).all() and ((columns != 0).sum(0) == 1).all()
    return columns.to(torch.int64).argmax(0).tolist() if bool(plain) else None


def singles_out(value: Tensor) -> bool:
    """Whether a constant is a mask of one entry: of two numbers, zero or infinite one of them."""
    flat = value.detach().cpu().flatten()
    if flat.is_complex() or not 2 <= flat.numel() <= LARGEST_MASK:
        return False
    kinds = Counter(flat.tolist())
    masks = any(kind == 0 or math.isinf(kind) for kind in kinds)
    return masks and len(kinds) == 2 and 1 in kinds.values()
