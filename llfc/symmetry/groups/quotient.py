"""From nodes and facts to classes of nodes: which nodes are one unit, which units are alike.

Example: two layers are added, so that their 4 units are the same 4, and a third reads the sum.

>>> import torch
>>> from torch import nn
>>> from llfc.symmetry.derive import Derivation
>>> from llfc.symmetry.graph.export import exported
>>> class Sum(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.a, self.b, self.last = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)
...
...     def forward(self, x):
...         return self.last(self.a(x) + self.b(x))
>>> derivation = Derivation(Sum(), strict=True)
>>> walk = derivation.walk(exported(derivation.model, [torch.zeros(1, 3)], training=False))

The walk made 10 nodes: 4 outputs of `a`, 4 of `b`, 2 of the network. The sum unites the first 8 in
pairs, and what the network returns is fixed.

>>> units = derivation.units
>>> [(one.tolist(), other.tolist()) for one, other in units.unions]
[([0, 1, 2, 3], [4, 5, 6, 7])]
>>> [nodes.tolist() for nodes in units.fixed]
[[8, 9]]

So there are 6 classes. The first 4 have one colour, which means that nothing tells them apart: they
may change places. Either output has a colour of its own, and stays.

>>> found = quotient(units, [])
>>> found.of.tolist()
[0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
>>> found.colour.tolist()
[1, 1, 1, 1, 0, 2]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from llfc.symmetry.layouts.units import Nodes, Units

Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]
ODD = np.uint64(0x9E3779B97F4A7C15)


def hashed(values: Hashes) -> Hashes:
    """A hash of each value (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    z = values + ODD
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed_numbers(nodes: Nodes) -> Hashes:
    """A hash of each number."""
    return hashed(nodes.astype(np.uint64))


@dataclass
class Quotient:
    """Classes of nodes, numbered in the order of their first nodes.

    Attributes:
        of: the class of each node.
        count: how many classes there are.
        relation, child, parent: a row for each child and parent in each relation.
        colour: equal for two classes only if nothing known tells them apart.
    """

    of: Nodes
    count: int
    relation: Nodes
    child: Nodes
    parent: Nodes
    colour: Nodes


def components(count: int, one: Nodes, other: Nodes) -> tuple[int, Nodes]:
    """Connected components, numbered in the order of their first members."""
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(count, count))
    total, found = connected_components(graph, directed=False)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(total, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(total)
    return int(total), rank[inverse.reshape(-1)]


def flat(arrays: list[Nodes]) -> Nodes:
    """All arrays, flattened and concatenated."""
    return np.concatenate([np.empty(0, dtype=np.int64), *(a.reshape(-1) for a in arrays)])


def quotient(units: Units, fixed: list[Nodes]) -> Quotient:
    """Identify the nodes that must be one unit, and colour the resulting classes.

    What is one with a fixed node is fixed as well, but stays a class of its own: two pixels that
    are added to one another do not move, and are nevertheless two.

    Args:
        units: the facts.
        fixed: nodes that are, beside those of `units`.
    """
    fixed_nodes = np.zeros(units.count, dtype=bool)
    fixed_nodes[flat(units.fixed + fixed)] = True
    count, of = components(
        units.count, flat([a for a, _ in units.unions]), flat([b for _, b in units.unions])
    )
    count, of, fixed_classes = dissolved(count, of, fixed_nodes)
    sizes = [children.size for children, _ in units.relations]
    relation = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    child_node = flat([children for children, _ in units.relations])
    parent_node = flat([parents for _, parents in units.relations])
    pairs, pair = np.unique(relation * units.count + parent_node, return_inverse=True)
    while True:
        occurrence = occurrences(pairs // units.count, of[pairs % units.count], count)[
            pair.reshape(-1)
        ]
        kind = relation + occurrence * len(sizes)
        rows = distinct(count, kind, of[child_node], of[parent_node])
        one, other = congruent(count, *rows)
        apart = ~(fixed_classes[one] & fixed_classes[other])
        if not apart.any():
            break
        count, step = components(count, one[apart], other[apart])
        count, of, fixed_classes = dissolved(count, step[of], fixed_nodes | fixed_classes[of])
    relation, child, parent = rows
    colour = coloured(units, of, fixed_classes, relation, child, parent)
    return Quotient(of, count, relation, child, parent, colour)


def occurrences(relation: Nodes, parent: Nodes, count: int) -> Nodes:
    """Of pairs sorted by relation: how many of the same relation and class come before each.

    Nodes of one class move together, but what belongs to one does not belong to the other.
    """
    keys = relation * count + parent
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    found = np.empty_like(keys)
    found[order] = np.arange(len(keys)) - np.repeat(starts, np.diff([*starts, len(keys)]))
    return found


def dissolved(
    count: int, of: Nodes, fixed_nodes: NDArray[np.bool_]
) -> tuple[int, Nodes, NDArray[np.bool_]]:
    """Classes with each member of a fixed one alone, and which of them are fixed."""
    fixed_classes = np.zeros(count, dtype=bool)
    fixed_classes[of[fixed_nodes]] = True
    alone = fixed_classes[of]
    marks = np.where(alone, count + np.arange(len(of)), of)
    _, first, inverse = np.unique(marks, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    new: Nodes = rank[inverse.reshape(-1)]
    fixed_classes = np.zeros(len(first), dtype=bool)
    fixed_classes[new[alone]] = True
    return len(first), new, fixed_classes


def distinct(
    count: int, relation: Nodes, child: Nodes, parent: Nodes
) -> tuple[Nodes, Nodes, Nodes]:
    """The distinct rows, sorted by relation, child and parent."""
    rows = int(relation.max(initial=-1)) + 1
    assert rows * count * count < 1 << 63  # a key in one number sorts ten times faster than three
    keys = (relation * count + child) * count + parent
    keys.sort()  # np.unique hashes first, which takes longer
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return keys // (count * count), keys // count % count, keys % count


def congruent(count: int, relation: Nodes, child: Nodes, parent: Nodes) -> tuple[Nodes, Nodes]:
    """Pairs of classes to identify: parents of one child, and parents of equal sets of children."""
    if not len(relation):
        return relation, relation
    same = (relation[1:] == relation[:-1]) & (child[1:] == child[:-1])
    one, other = parent[1:][same], parent[:-1][same]
    _, row = np.unique(relation * count + parent, return_inverse=True)
    pairs = np.empty(row.max() + 1, dtype=np.int64)
    pairs[row] = parent
    own = hashed_numbers(np.arange(count))
    children_hash: Hashes = np.zeros(len(pairs), dtype=np.uint64)
    np.add.at(children_hash, row, own[child])
    keys = np.concatenate([own, children_hash])
    nodes = np.concatenate([np.arange(count), pairs])
    order = np.argsort(keys, kind="stable")
    equal = (keys[order][1:] == keys[order][:-1]) & (nodes[order][1:] != nodes[order][:-1])
    return (
        np.concatenate([one, nodes[order][1:][equal]]),
        np.concatenate([other, nodes[order][:-1][equal]]),
    )


def coloured(
    units: Units, of: Nodes, fixed_classes: Flags, relation: Nodes, child: Nodes, parent: Nodes
) -> Nodes:
    """Colours of classes, refined until children and parents agree with them (1-WL)."""
    count = len(fixed_classes)
    colour: Hashes = np.zeros(count, dtype=np.uint64)
    marks = hashed_numbers(np.arange(len(units.sets)) + count)
    np.add.at(colour, of[flat(units.sets)], np.repeat(marks, [s.size for s in units.sets]))
    colour[fixed_classes] = hashed_numbers(np.flatnonzero(fixed_classes) + count + len(units.sets))
    kind = hashed_numbers(relation)
    seen = len(np.unique(colour))
    while True:
        new = hashed(colour)
        np.add.at(new, child, hashed(colour[parent] ^ kind))
        np.add.at(new, parent, hashed(hashed(colour[child]) ^ kind))
        colour = new
        distinct, index = np.unique(colour, return_inverse=True)
        if len(distinct) == seen:
            return index.reshape(-1)
        seen = len(distinct)
