"""From nodes and facts to classes of nodes: what is one unit, and which units are alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from llfc.matching.symmetry.units import Nodes, Units

Hashes = NDArray[np.uint64]
ODD = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: Hashes) -> Hashes:
    """A hash of each value (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    z = values + ODD
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def names(nodes: Nodes) -> Hashes:
    """A hash of each number."""
    return mixed(nodes.astype(np.uint64))


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
    """All arrays end to end."""
    return np.concatenate([np.empty(0, dtype=np.int64), *(a.reshape(-1) for a in arrays)])


def quotient(units: Units, frozen: list[Nodes]) -> Quotient:
    """Unite what must be one unit and colour what is left.

    Args:
        units: the facts.
        frozen: nodes that stay, beside those of `units`.
    """
    count, of = components(
        units.count, flat([a for a, _ in units.unions]), flat([b for _, b in units.unions])
    )
    sizes = [children.size for children, _ in units.relations]
    relation = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    child_node = flat([children for children, _ in units.relations])
    parent_node = flat([parents for _, parents in units.relations])
    while True:
        rows = np.unique(np.stack([relation, of[child_node], of[parent_node]]), axis=1)
        one, other = congruent(count, *rows)
        if not len(one):
            break
        count, step = components(count, one, other)
        of = step[of]
    still = np.zeros(count, dtype=bool)
    still[of[flat(units.frozen + frozen)]] = True
    relation, child, parent = rows
    colour = coloured(units, of, still, relation, child, parent)
    return Quotient(of, count, relation, child, parent, colour)


def congruent(count: int, relation: Nodes, child: Nodes, parent: Nodes) -> tuple[Nodes, Nodes]:
    """Pairs of classes that must be one: parents of one child, and of one set of children."""
    if not len(relation):
        return relation, relation
    same = (relation[1:] == relation[:-1]) & (child[1:] == child[:-1])
    if same.any():  # rows are sorted by relation, child, parent, without doubles
        return parent[1:][same], parent[:-1][same]
    pairs, row = np.unique(np.stack([relation, parent]), axis=1, return_inverse=True)
    own = names(np.arange(count))
    brood: Hashes = np.zeros(pairs.shape[1], dtype=np.uint64)
    np.add.at(brood, row.reshape(-1), own[child])
    keys = np.concatenate([own, brood])
    nodes = np.concatenate([np.arange(count), pairs[1]])
    order = np.argsort(keys, kind="stable")
    equal = (keys[order][1:] == keys[order][:-1]) & (nodes[order][1:] != nodes[order][:-1])
    return nodes[order][1:][equal], nodes[order][:-1][equal]


def coloured(
    units: Units, of: Nodes, still: NDArray[np.bool_], relation: Nodes, child: Nodes, parent: Nodes
) -> Nodes:
    """Colours of classes, refined until children and parents agree with them (1-WL)."""
    count = len(still)
    colour: Hashes = np.zeros(count, dtype=np.uint64)
    marks = names(np.arange(len(units.sets)) + count)
    np.add.at(colour, of[flat(units.sets)], np.repeat(marks, [s.size for s in units.sets]))
    colour[still] = names(np.flatnonzero(still) + count + len(units.sets))
    kind = names(relation)
    seen = len(np.unique(colour))
    while True:
        new = mixed(colour)
        np.add.at(new, child, mixed(colour[parent] ^ kind))
        np.add.at(new, parent, mixed(mixed(colour[child]) ^ kind))
        colour = new
        distinct, index = np.unique(colour, return_inverse=True)
        if len(distinct) == seen:
            return index.reshape(-1)
        seen = len(distinct)
