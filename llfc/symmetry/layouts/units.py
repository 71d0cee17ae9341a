"""The units of a network as nodes, and what a symmetry of it must respect.

Every position of every axis that could be permuted is a node. A symmetry is a permutation of the
nodes that respects three kinds of facts, all gathered while the graph is walked:
  - unions: two nodes are one unit (channel 3 of a convolution and of the norm after it);
  - relations: a function from nodes to nodes (unit 5 of a projection belongs to head 0), which a
    symmetry commutes with;
  - sets: the nodes of one axis stay among themselves.
A fixed node stays where it is. What the function itself shows to be told apart (its inputs and
outputs, the entries of a constant, the parts of a join) is fixed without a word; what a rule
fixes because it cannot say more has a reason, and `Units.shown` are the facts without those.
"""

import copy
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Nodes = NDArray[np.int64]


SHOWN = ""  # the reason of what the function itself shows to be told apart


@dataclass(frozen=True)
class Fixed:
    """Nodes that a rule fixed, or the positions they are fixed at, and why."""

    nodes: Nodes
    why: str


@dataclass(frozen=True)
class Origin:
    """Where a run of nodes was made: the module that names it, and the word for its parts."""

    start: int
    owner: str


class Units:
    """The nodes made so far and the facts about them."""

    def __init__(self) -> None:
        self.count = 0
        self.origins: list[Origin] = []
        self.fixed: list[Nodes] = []
        self.unions: list[tuple[Nodes, Nodes]] = []
        self.relations: list[tuple[Nodes, Nodes]] = []
        self.sets: list[Nodes] = []
        self.reasons: list[Fixed] = []
        self._fixed_by_rules: set[int] = set()
        self._relations_by_rules: set[int] = set()

    def fresh(self, shape: tuple[int, ...], owner: str) -> Nodes:
        """New nodes, and the set that they form."""
        size = int(np.prod(shape, dtype=np.int64))
        self.origins.append(Origin(self.count, owner))
        nodes = np.arange(self.count, self.count + size, dtype=np.int64).reshape(shape)
        self.count += size
        self.sets.append(nodes)
        return nodes

    def fixed_axis(self, size: int) -> Nodes:
        """New nodes that are fixed: the positions of an axis."""
        nodes = self.fresh((size,), "")
        self.sets.pop()
        self.fixed.append(nodes)
        return nodes

    def fix(self, nodes: Nodes, why: str) -> None:
        """These nodes are fixed.

        Args:
            nodes: any nodes.
            why: the reason in words, or SHOWN.
        """
        if why:
            self.reasons.append(Fixed(nodes, why))
            self._fixed_by_rules.add(len(self.fixed))
        self.fixed.append(nodes)

    def fix_places(self, nodes: Nodes, places: Nodes, why: str) -> None:
        """These nodes are fixed at their places; `places` broadcasts against `nodes`; as `fix`."""
        if why:
            self.reasons.append(Fixed(nodes, why))
            self._relations_by_rules.add(len(self.relations))
        self.relate(nodes, places)

    def shown(self) -> "Units":
        """The facts without what a rule fixed for a stated reason, to find what that costs."""
        found = copy.copy(self)
        found.fixed = [n for k, n in enumerate(self.fixed) if k not in self._fixed_by_rules]
        found.relations = [
            r for k, r in enumerate(self.relations) if k not in self._relations_by_rules
        ]
        return found

    def met(self) -> NDArray[np.bool_]:
        """Of each node, whether any fact but its set is known of it."""
        found = np.zeros(self.count, dtype=bool)
        for nodes in (*self.fixed, *itertools.chain(*self.unions, *self.relations)):
            found[nodes] = True
        return found

    def union(self, one: Nodes, other: Nodes) -> None:
        """Identify the nodes of two arrays, entry by entry: each pair is one unit."""
        if one is not other:
            self.unions.append((one, other))

    def relate(self, children: Nodes, parents: Nodes) -> None:
        """Each child belongs to its parent, as a unit to its head; `parents` is broadcast."""
        self.relations.append((children, np.broadcast_to(parents, children.shape)))

    def together(self, nodes: Nodes) -> Nodes:
        """The nodes are those of one axis, which every symmetry maps to itself."""
        self.sets.append(nodes)
        return nodes
