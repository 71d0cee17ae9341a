"""Parts of one axis that could be exchanged, though no rule says so: found by trying it.

Rules see one call, or a chain of one operator. That `a * b.sigmoid() + b * a.sigmoid()` stays as it
is if `a` and `b`, the halves of a hidden layer, are exchanged takes several. So each exchange of
parts that was not derived is tried on random numbers: the graph runs from the axis onwards, as it
is and exchanged, until both are equal, or until a weight, which could be permuted too, meets what
was only permuted. What is found is a line in `frozen` and nothing more: it was tried at one place
of the graph, and the units may have other uses.
"""

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from llfc.symmetry.groups.quotient import Quotient
from llfc.symmetry.layouts.constants import value_of
from llfc.symmetry.layouts.layout import Layout, Value, spread
from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.rules.operators import has_unknown_size, operator_name, where, written
from llfc.symmetry.rules.parts.constants import Constants
from llfc.symmetry.rules.parts.twins import step_of

CASTS = ("to", "_to_copy", "type_as")
MOST_EXCHANGES = 256  # tried for one axis: of two parts, then of two pairs, then of three
MOST_CALLS = 100  # run until exchanges end
MOST_WEIGHTS = 4  # of these calls with a weight that what was exchanged goes through
LARGEST_AXIS = 1 << 22  # entries of a tensor whose parts are exchanged
LINE = (
    "parts of one axis may be exchanged before it, which no rule derives: a symmetry may be missed"
)


@dataclass
class Exchanges:
    """The exchanges of parts that a graph allows and that were not derived.

    Attributes:
        values: the layout of each node.
        quotient: the classes of the layouts' nodes, and their colours.
        state: the names of the placeholders that are tensors of the state dict.
        weights: the graph's nodes that are computed from the state dict's tensors alone.
        given: numbers for nodes that no exchange reaches: weights and other inputs.
    """

    graph: fx.Graph
    values: Mapping[fx.Node, Value]
    quotient: Quotient
    state: set[str]
    given: dict[fx.Node, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes = [*self.graph.nodes]
        known = {node: value_of(self.values.get(node)) for node in self.nodes}
        shown = {n: v for n, v in known.items() if n.op == "placeholder" and v is not None}
        self.constants = Constants(self.graph, shown)
        self.weights: set[fx.Node] = set()
        for node in self.nodes:
            inputs = {*node.all_input_nodes} - self.constants.nodes
            if node.name in self.state or (inputs and inputs <= self.weights):
                self.weights.add(node)
        self.random = torch.Generator().manual_seed(0)

    def lines(self) -> list[str]:
        """For each axis of which some parts could be exchanged, the call where they meet."""
        found = [self.met(source) for source in self.nodes if source.op == "call_function"]
        return [f"{where(node)}: {LINE}" for node in found if node is not None]

    def met(self, source: fx.Node) -> fx.Node | None:
        """Where parts of one tensor's axes meet that could be exchanged; None: none could."""
        layout, fake = self.values.get(source), source.meta.get("val")
        if not isinstance(fake, Tensor) or not isinstance(layout, Layout) or layout.picks:
            return None
        if has_unknown_size(source) or not fake.is_floating_point():
            return None
        if fake.numel() > LARGEST_AXIS or not layout.space.labels:
            return None
        inputs = [each for each in source.all_input_nodes if each not in self.constants.nodes]
        if len(inputs) == 1 and self.moves(source, inputs[0]):
            return None  # a part itself, or a view
        parts = self.parts(source)
        if len(parts) < 2:
            return None
        kinds = self.kinds(layout, fake.numel())
        plain = {source: self.numbers(fake)}
        for order in itertools.islice(exchanges(parts, fake.numel(), kinds), MOST_EXCHANGES):
            if (found := self.tried(source, order, plain)) is not None:
                return found
        return None

    def moves(self, node: fx.Node, source: fx.Node) -> bool:
        """Whether a call only moves a tensor's entries."""
        return step_of(node, source, self.constants) == ("", True)

    def parts(self, source: fx.Node) -> list[Nodes]:
        """The entries of a tensor that each view and cut of it holds that is computed with."""
        used = self.views(source)
        shapes = Counter(tuple(n for n in node.meta["val"].shape if n != 1) for node in used)
        if max(shapes.values(), default=0) < 2:
            return []
        places = torch.arange(source.meta["val"].numel(), dtype=torch.float32)
        held: dict[fx.Node, object] = {source: places.view(source.meta["val"].shape)}
        found: dict[tuple[object, ...], Nodes] = {}
        for node in self.after(source):
            if self.is_view(node, held):
                casts = operator_name(node) in CASTS  # places would be rounded
                held[node] = held[node.all_input_nodes[0]] if casts else self.result(node, held)
        for node in used:
            if isinstance(value := held.get(node), Tensor):
                entries = value.reshape(-1).long().numpy()
                found[value.shape, entries.tobytes()] = entries
        return [*found.values()]

    def views(self, source: fx.Node) -> list[fx.Node]:
        """A tensor and its views and cuts, of which more is made than other views."""
        held: dict[fx.Node, object] = {source: None}
        for node in self.after(source):
            if self.is_view(node, held):
                held[node] = None
        used = [n for n in held if not held.keys() >= n.users.keys() and not has_unknown_size(n)]
        return [node for node in used if isinstance(node.meta.get("val"), Tensor)]

    def is_view(self, node: fx.Node, held: Mapping[fx.Node, object]) -> bool:
        """Whether a call only moves entries of one of some nodes."""
        varying = [each for each in node.all_input_nodes if each not in self.constants.nodes]
        return len(varying) == 1 and varying[0] in held and self.moves(node, varying[0])

    def after(self, source: fx.Node) -> list[fx.Node]:
        """The calls that depend on a node, in their order, at most MOST_CALLS and one."""
        reached = {source}
        found: list[fx.Node] = []
        for node in self.nodes[self.nodes.index(source) + 1 :]:
            if not reached.isdisjoint(node.all_input_nodes) and len(found) <= MOST_CALLS:
                reached.add(node)
                found.append(node)
        return found

    def kinds(self, layout: Layout, size: int) -> list[Nodes]:
        """Of each entry of a tensor: for each label its node, class and colour, [3, size]."""
        slots = layout.slots()
        sizes = [layout.space.sizes[slot] for slot in slots]
        found: list[Nodes] = []
        for label in layout.space.labels:
            if {*label.slots} <= {*slots} and math.prod(sizes) == size:
                nodes = np.broadcast_to(spread(label.nodes, label.slots, slots), sizes).reshape(-1)
                of = self.quotient.of[nodes]
                found.append(np.stack([nodes, of, self.quotient.colour[of]]))
        return found

    def tried(self, source: fx.Node, order: Nodes, plain: dict[fx.Node, Any]) -> fx.Node | None:
        """The last call that the exchange reaches; None if it goes on, or cannot be followed.

        `plain` has what calls return without it, and is added to.
        """
        whole = plain[source]
        entries = whole.reshape(-1)[torch.as_tensor(order)]
        moved: dict[fx.Node, object] = {source: entries.view(whole.shape)}
        last, met = None, 0
        for count, node in enumerate(self.after(source)):
            if not (touched := [each for each in node.all_input_nodes if each in moved]):
                continue
            if count >= MOST_CALLS or not is_repeatable(node):
                return None
            if not node.users:  # as an assertion
                continue
            if not self.weights.isdisjoint(node.all_input_nodes):
                if all(is_permuted(plain[each], moved[each]) for each in touched):
                    last = node
                    continue
                if (met := met + 1) > MOST_WEIGHTS:
                    return None
            plain[node] = plain[node] if node in plain else self.result(node, plain)
            other = self.result(node, plain | moved)
            if plain[node] is None or other is None:
                return None
            if is_equal(plain[node], other):
                last = node
            else:
                moved[node] = other
        return last

    def result(self, node: fx.Node, known: Mapping[fx.Node, object]) -> object:
        """What a call returns; None where it does not run on such numbers."""
        try:
            inputs = {n: known[n] if n in known else self.input(n) for n in node.all_input_nodes}
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), inputs.__getitem__)  # type: ignore[arg-type]
            return node.target(*args, **kwargs)  # type: ignore[operator]
        except Exception:  # of PyTorch's own
            return None

    def input(self, node: fx.Node) -> object:
        """Numbers for a node that no exchange reaches."""
        if node not in self.given:
            value: object = self.constants.value(node)
            if value is None and node in self.weights and node.op == "call_function":
                value = self.result(node, {}) if is_repeatable(node) else None
            self.given[node] = self.numbers(node.meta.get("val")) if value is None else value
        return self.given[node]

    def numbers(self, fake: object) -> object:
        """Random numbers, or zeros where they would be whole, for a tensor or a list of them."""
        if isinstance(fake, list | tuple):
            return [self.numbers(each) for each in fake]
        if not isinstance(fake, Tensor):
            return fake
        shape = [int(n) for n in fake.shape]
        if fake.is_floating_point():
            return torch.randn(shape, generator=self.random).to(fake.dtype)
        return torch.zeros(shape, dtype=fake.dtype)


def is_open(order: Nodes, kinds: list[Nodes]) -> bool:
    """Whether a permutation of entries takes some unit to one that is not known to be as free."""
    for node, of, colour in kinds:
        alone = (of[order] == of) | (colour[order] != colour)
        if ((node[order] != node) & alone).any():
            return True
    return False


def exchanges(parts: list[Nodes], size: int, kinds: list[Nodes]) -> Iterator[Nodes]:
    """Permutations of a tensor's entries that exchange parts and were not derived."""
    pairs = [
        order
        for one, other in itertools.combinations(parts, 2)
        if (order := exchange(one, other, size)) is not None
    ]
    plain = np.arange(size)
    for count in (1, 2, 3):
        for chosen in itertools.combinations(pairs, count):
            changed = [order != plain for order in chosen]
            if (np.sum(changed, axis=0) <= 1).all():
                both = plain.copy()
                for order, at in zip(chosen, changed, strict=True):
                    both[at] = order[at]
                if is_open(both, kinds):
                    yield both


def exchange(one: Nodes, other: Nodes, size: int) -> Nodes | None:
    """The permutation of entries that exchanges two parts; None: there is none.

    Where parts overlap, as `h[:, :-1]` and `h[:, 1:]`, entries follow one another in chains, which
    are reversed; or in rings, which are turned by one.
    """
    held = [np.bincount(part, minlength=size) for part in (one, other)]
    if len(one) != len(other) or np.max(held) > 1 or (one == other).all():
        return None
    order = np.arange(size)
    if not np.logical_and(*held).any():
        order[one], order[other] = other, one
        return order
    follower = dict(zip(one.tolist(), other.tolist(), strict=True))
    order[one] = other
    for start in {*follower} - {*follower.values()}:
        chain = [start]
        while chain[-1] in follower:
            chain.append(follower[chain[-1]])
        order[chain] = chain[::-1]
    return order if (np.sort(order) == np.arange(size)).all() else None


def is_repeatable(node: fx.Node) -> bool:
    """Whether a call can be run again and again: it draws nothing, writes to nothing."""
    known = isinstance(node.target, torch._ops.OpOverload) or node.target is operator.getitem
    drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return known and not drawn and not has_unknown_size(node) and not any(written(node))


def is_equal(one: object, other: object) -> bool:
    """Whether two results are the same up to rounding."""
    pairs = [*zip(tree_leaves(one), tree_leaves(other), strict=True)]
    return all(
        isinstance(a, Tensor) and a.shape == b.shape and a.dtype == b.dtype for a, b in pairs
    ) and all(
        torch.allclose(a, b, 1e-4, 1e-5, equal_nan=True)
        if a.is_floating_point() or a.is_complex()
        else torch.equal(a, b)
        for a, b in pairs
    )


def is_permuted(one: object, other: object) -> bool:
    """Whether a tensor is another whose positions along one dimension are in another order."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or not one.is_floating_point():
        return False
    for dim in range(one.dim()):
        rows, found = (x.movedim(dim, 0).reshape(x.shape[dim], -1) for x in (one, other))
        factors = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(1)).to(rows)
        if is_equal((rows @ factors).sort()[0], (found @ factors).sort()[0]):
            return True
    return False
