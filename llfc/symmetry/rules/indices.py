"""What whole numbers point to: constants by what they hold, others by where they come from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, fx

from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.rules.operators import (
    VIEWS,
    arguments,
    operator_name,
    written,
)

ORDERLY = (  # views that keep the order of entries
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "select", "expand"),
    *("contiguous", "clone", "detach", "to", "_to_copy", "alias"),
)


def listed_positions(value: Tensor | None, size: int) -> list[int] | None:
    """The positions that a constant index asks for; None if it is no constant, or no list."""
    if value is None or value.dim() != 1 or value.is_floating_point():
        return None
    if value.dtype in (torch.bool, torch.uint8):  # a mask
        value = value.nonzero().flatten()
    return [int(n) % size for n in value.tolist()]


def joint_positions(values: Sequence[Tensor | None], sizes: Sequence[int]) -> Nodes | None:
    """Where constant indices point to in dimensions read as one; None if one is no constant."""
    found: Nodes = np.zeros((), dtype=np.int64)
    for value, size in zip(values, sizes, strict=True):
        if value is None or value.dtype in (torch.bool, torch.uint8) or not value.numel():
            return None
        found = found * size + value.cpu().numpy().astype(np.int64) % size
    return found


def counted(value: Tensor | None, rank: int) -> int | None:
    """The dimension of a result along which a constant counts 0, 1, 2 ... and nothing else."""
    if value is None or value.numel() < 2 or max(value.shape) != value.numel():
        return None
    if not torch.equal(value.flatten().cpu(), torch.arange(value.numel()).to(value.dtype)):
        return None
    return rank - value.dim() + list(value.shape).index(value.numel())


def index_node(node: fx.Node) -> fx.Node:
    """The node of the one index of a lookup."""
    given = arguments(node)
    index = given.get("indices", given.get("index"))
    indices = index if isinstance(index, list | tuple) else [index]
    (found,) = [each for each in indices if isinstance(each, fx.Node)]
    return found


def origin(node: fx.Node) -> str:
    """Equal for two nodes only if they hold the same numbers in the same order, ones aside.

    `index[:, 0]`, `index.squeeze(1)` and `index` are one, if its shape is [N, 1].
    """
    rearranged = operator_name(node) in (*VIEWS, "getitem") and not any(written(node))
    if node.op != "call_function" or not rearranged:
        return node.name
    (source, *_), name = node.all_input_nodes, operator_name(node)
    if name in ORDERLY and long_sizes(node) == long_sizes(source):
        return origin(source)
    return f"{node.target}{fx.node.map_arg((node.args, node.kwargs), origin)}"


def long_sizes(node: fx.Node) -> list[int]:
    """The sizes of a node's tensor that are not one."""
    return [int(n) for n in node.meta["val"].shape if n != 1]
