"""Parts of one tensor that a graph treats alike, and the operators in which they come together.

Cutting an axis tells its parts apart: each may be used in its own way. Not so if all that is made
of them is alike and ends in one call that does not mind their order. Then units of one part may
change places with those of another: in `h[:, :3] * h[:, 3:]`, in a sum over `torch.stack(h.chunk(2,
1))` or, as the next layer's weights can follow, in `torch.cat([f(h[:, :3]), f(h[:, 3:])], 1)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx

from llfc.symmetry.rules.operators import (
    SPLITTING,
    VIEWS,
    arguments,
    is_pointwise,
    memory_of,
    operator_name,
    written,
)
from llfc.symmetry.rules.parts.constants import Constants
from llfc.symmetry.rules.parts.joins import (
    is_inside_chain,
    is_symmetric,
    manner,
    operands_of,
    shape_of,
    terms_of,
)
from llfc.symmetry.rules.parts.listing import listing_of

# Operators that return entries of their first argument, each at most once, at places they name.
MOVING = (*VIEWS, *SPLITTING, "unbind", "getitem")
COPYING = ("expand", "expand_as", "broadcast_to", "repeat", "repeat_interleave")
LISTING = ("index", "_unsafe_index", "index_select", "gather", "take_along_dim")
SAME = ("clone", "alias", "contiguous", "detach", "dropout", "positive", "lift_fresh")
NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1}  # numbers that change nothing


@dataclass(frozen=True)
class Trace:
    """How a call's operand was made of a tensor: which functions, outermost first, of its entries.

    Attributes:
        source: the tensor.
        functions: of one entry each; where an entry lies is of no account.
        path: the calls on the way.
        whole: whether one of the functions is of several entries, as a softmax: parts that meet may
            change places as a whole alone (`groups.exchanges`).
    """

    source: fx.Node
    functions: tuple[str, ...]
    path: tuple[fx.Node, ...]
    whole: bool = False


@dataclass
class Twins:
    """What a graph treats alike.

    Attributes:
        terms: for a call, its operands, of which those in one list are alike; a chain of one
            operator is one call of many operands.
        inner: the calls inside such a chain.
        parts: the calls that need not tell what they cut out apart.
    """

    terms: dict[fx.Node, list[list[fx.Node]]] = field(default_factory=dict)
    inner: set[fx.Node] = field(default_factory=set)
    parts: set[fx.Node] = field(default_factory=set)

    def add(self, graph: fx.Graph, given: Mapping[fx.Node, Tensor]) -> None:
        """Take in a graph, some of whose placeholders are constants."""
        constants = Constants(graph, given)
        known = constants.nodes
        changed = {memory_of(target) for node in graph.nodes for target in written(node)}
        for node in graph.nodes:
            if node.op != "call_function" or is_inside_chain(node):
                continue
            operands, inner = operands_of(node)
            varying = [each for each in operands if each not in known]
            if len({*varying}) < 2 or len({*operands}) < len(operands):
                continue
            traces = {each: self.traced(each, constants) for each in varying}
            if not any(memory_of(trace.source) in changed for trace in traces.values()):
                self.take(node, traces, [[each] for each in operands if each in known])
                self.inner |= {*inner} if node in self.terms else set()

    def take(
        self, node: fx.Node, traces: dict[fx.Node, Trace], others: list[list[fx.Node]]
    ) -> None:
        """Take in one call, whose operands were traced, those aside that are constants."""
        classes: dict[object, list[fx.Node]] = {}
        for each, trace in traces.items():
            key = (trace.source, trace.functions, trace.whole, manner(node, each))
            classes.setdefault(key, []).append(each)
        alike = [nodes for nodes in classes.values() if len(nodes) > 1]
        if not alike or is_outer(node, traces) or any(traces[nodes[0]].whole for nodes in alike):
            return
        self.terms[node] = [*classes.values(), *others]
        self.parts |= {step for nodes in alike for each in nodes for step in traces[each].path}

    def traced(self, node: fx.Node, known: Constants) -> Trace:
        """How an operand was made, back to what has other uses or is no function of one tensor."""
        functions: list[str] = []
        path: list[fx.Node] = []
        whole = False
        while node.op == "call_function" and not any(written(node)):
            splits = isinstance(node.meta.get("val"), list | tuple)
            if len(node.users) > 1 and not splits:
                break
            path.append(node)
            if len(nested := self.terms.get(node, [])) == 1:
                traces = [self.traced(each, known) for each in nested[0]]
                functions.append(f"{node.target} of {len(traces)} {traces[0].functions}")
                path += [step for trace in traces for step in trace.path]
                node, whole = traces[0].source, True
                continue
            varying = [each for each in node.all_input_nodes if each not in known.nodes]
            step = step_of(node, varying[0], known) if len(varying) == 1 else None
            if step is None:
                path.pop()
                break
            functions += [step[0]] if step[0] else []
            node, whole = varying[0], whole or not step[1]
        return Trace(node, tuple(functions), tuple(path), whole)


def is_outer(node: fx.Node, traces: dict[fx.Node, Trace]) -> bool:
    """Whether a call takes each entry of an operand with each of another that is made alike."""
    kinds = [(trace.source, trace.functions) for trace in traces.values()]
    if len({*kinds}) == len(kinds):
        return False
    if is_symmetric(node):
        return any(shape_of(each) != shape_of(node) for each in traces)
    kept = str(node.args[0]).partition("->")[2]
    terms = terms_of(node) if operator_name(node) == "einsum" else []
    return len({*terms}) > 1 and {*"".join(terms)} <= {*kept}


def step_of(node: fx.Node, source: fx.Node, known: Constants) -> tuple[str, bool] | None:
    """The function that a call is, empty if it only moves entries, and whether it is of one entry.

    None: it is neither of one tensor alone, nor moves entries.
    """
    name = operator_name(node)
    if name == "getitem" and operator_name(source) not in (*SPLITTING, "unbind"):
        return f"{node.args[1]} of", False
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        return ("", True) if name in SAME and not arguments(node).get("train") else None
    if name in SAME or (name in MOVING and name not in COPYING):
        return "", True
    others = [each for each in node.all_input_nodes if each is not source]
    if name in LISTING and node.args and node.args[0] is source:
        return "", True
    if listing_of(node, source, known.value) is not None:
        return "", True
    if others or name in COPYING:
        return None
    args = fx.node.map_arg((node.args, node.kwargs), lambda _: "entry")
    if name in NEUTRAL and args == (("entry", NEUTRAL[name]), {}):
        return "", True
    return f"{node.target}{args}", is_pointwise(node)
