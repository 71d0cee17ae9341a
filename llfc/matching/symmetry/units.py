"""The units of a network as nodes, and what a symmetry of it must respect.

Every position of every axis that could be permuted is a node. A symmetry is a permutation of the
nodes that respects three kinds of facts, all gathered while the graph is walked:
  - unions: two nodes are one unit (channel 3 of a convolution and of the norm after it);
  - relations: a function from nodes to nodes (unit 5 of a projection belongs to head 0), which a
    symmetry commutes with;
  - sets: the nodes of one axis stay among themselves.
A frozen node stays where it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class Birth:
    """Where a run of nodes was made: the module that names it, and the word for its parts."""

    start: int
    owner: str


class Units:
    """The nodes made so far and the facts about them."""

    def __init__(self) -> None:
        self.count = 0
        self.births: list[Birth] = []
        self.frozen: list[Nodes] = []
        self.unions: list[tuple[Nodes, Nodes]] = []
        self.relations: list[tuple[Nodes, Nodes]] = []
        self.sets: list[Nodes] = []

    def fresh(self, shape: tuple[int, ...], owner: str) -> Nodes:
        """New nodes, and the set that they form."""
        size = int(np.prod(shape, dtype=np.int64))
        self.births.append(Birth(self.count, owner))
        nodes = np.arange(self.count, self.count + size, dtype=np.int64).reshape(shape)
        self.count += size
        self.sets.append(nodes)
        return nodes

    def still(self, size: int) -> Nodes:
        """New nodes that stay where they are: the positions of a fixed axis."""
        nodes = self.fresh((size,), "")
        self.sets.pop()
        self.frozen.append(nodes)
        return nodes

    def freeze(self, nodes: Nodes) -> None:
        """These nodes stay where they are."""
        self.frozen.append(nodes)

    def union(self, one: Nodes, other: Nodes) -> None:
        """Node for node, `one` and `other` are the same unit."""
        if one is not other:
            self.unions.append((one, other))

    def relate(self, children: Nodes, parents: Nodes) -> None:
        """Each child belongs to its parent; `parents` broadcasts against `children`."""
        self.relations.append((children, np.broadcast_to(parents, children.shape)))

    def together(self, nodes: Nodes) -> Nodes:
        """These nodes are an axis: they stay among themselves."""
        self.sets.append(nodes)
        return nodes
