"""One operator's call as a rule sees it: its arguments, with layouts for tensors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves

from llfc.symmetry.layouts.combine import tied
from llfc.symmetry.layouts.joining import exchangeable
from llfc.symmetry.layouts.layout import (
    Layout,
    Refusal,
    Value,
    fix,
    layouts_in,
    new_layout,
    settle,
)
from llfc.symmetry.layouts.units import Units
from llfc.symmetry.rules.operators import SPLIT_BY_NAME, has_unknown_size, operator_name, where
from llfc.symmetry.rules.parts.twins import Twins

Rule = Callable[["Call"], Value]  # the layouts of an operator's results
UNKNOWN_SIZE = (
    "the size of its result depends on the data; compute all rows and choose from the results with"
    " torch.where, or by a factor of 0 or 1"
)
ALONE = "one of them is picked out by its position"


@dataclass
class Call:
    """One operator's call: its arguments, with layouts for tensors, and its result's shape.

    Attributes:
        units: where the facts are gathered.
        node: the call.
        values: the arguments by name.
        owner: the module, which new units are named after.
        training: whether the graph is that of train mode.
        twins: what the graph treats alike.
        seen: the values of all nodes so far.
        picks: whether it is a product that only picks positions out.
        lines: what it holds back without fixing a unit, as lines of `PermutationSpec.frozen`.
    """

    units: Units
    node: fx.Node
    values: dict[str, Value]
    owner: str
    training: bool = False
    twins: Twins = field(default_factory=Twins)
    seen: Mapping[fx.Node, Value] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    picks: bool = False

    @property
    def name(self) -> str:
        """The operator's name."""
        return operator_name(self.node)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def tensor(self, name: str) -> Layout:
        """An argument that must be a tensor."""
        value = self.values[name]
        if not isinstance(value, Layout):
            raise Refusal(f"its {name} is no tensor")
        return value

    def fix(self, layout: Layout, dims: Iterable[int], why: str) -> list[str]:
        """Make dimensions fixed because of this call; the reason of each, as `layout.fix` says."""
        return [fix(layout, layout.dims[dim], self.why(why)) for dim in dims if layout.raw]

    def apart(self, part: int | None = None) -> bool:
        """Whether what the call, or one part of what it returns, cuts out is told apart."""
        if part is None:
            return self.node not in self.twins.parts
        return not any(u in self.twins.parts and u.args[1] == part for u in self.node.users)

    def is_inner(self) -> bool:
        """Whether it is a call inside a chain, of which the last is the rule's."""
        return self.node in self.twins.inner

    @property
    def terms(self) -> list[list[fx.Node]]:
        """Its operands, of which those in one list may change places; empty if none may."""
        return self.twins.terms.get(self.node, [])

    def operands(self) -> list[tuple[Layout, fx.Node]]:
        """Each operand with its node, but of those that may change places one for all.

        A unit of it stands for one of each operand: what the call makes of these in any order.
        """
        found: list[tuple[Layout, fx.Node]] = []
        for nodes in self.terms:
            layouts = [tied(settle(self.seen[node])) for node in nodes]
            whole = exchangeable(self.units, layouts)
            if whole is None:
                why = "positions of one axis meet others of it, and no rule exchanges them"
                self.lines.append(self.why(why))
                found += zip(layouts, nodes, strict=True)
            else:
                found.append((whole, nodes[0]))
        return found

    def used_as_numbers(self) -> None:
        """Fix units whose indices are used as numbers (`index * 2`), not only for lookups."""
        for layout in self.tensors():
            if isinstance(layout.into, np.ndarray):
                why = "positions of units are used as numbers, not only to look up"
                self.units.fix(layout.into, self.why(why))

    def why(self, reason: str) -> str:
        """A reason, as a line of `PermutationSpec.frozen`."""
        return f"{where(self.node)}: {reason}"

    def part(self, word: str) -> str:
        """A name for a factor that an operator splits off, such as the heads of this module."""
        return f"{self.owner}.{word}".lstrip(".")

    @property
    def first(self) -> Layout:
        """The first tensor argument."""
        return self.tensors()[0]

    def tensors(self) -> list[Layout]:
        """All tensor arguments, those in lists too."""
        return layouts_in(list(self.values.values()))

    @property
    def result(self) -> Any:
        """The fake tensor, or tensors, that the operator returns."""
        return self.node.meta["val"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        if has_unknown_size(self.node):
            raise Refusal(UNKNOWN_SIZE)
        return tuple(int(n) for n in self.result.shape)

    def dim(self, dim: int, of: Layout | None = None) -> int:
        """A dimension counted from the front."""
        return dim % max(len((of or self.first).raw), 1)

    @property
    def split_dim(self) -> int:
        """The dimension that a call splits."""
        return self.dim(self.values.get("dim", SPLIT_BY_NAME.get(self.name, 0)))

    def dims(self, dims: int | Sequence[int] | None, of: Layout | None = None) -> list[int]:
        """Dimensions counted from the front; all, if none is named."""
        layout = of or self.first
        if dims is None or (not isinstance(dims, int) and not len(dims)):
            return list(range(len(layout.raw)))
        return [self.dim(d, layout) for d in ([dims] if isinstance(dims, int) else dims)]


def is_number(call: Call) -> bool:
    """Whether all tensors of a call, arguments and results, are scalars: nothing to permute."""
    fakes = [x for x in tree_leaves(call.node.meta.get("val")) if isinstance(x, Tensor)]
    alone = all(not x.slots() and x.into is None for x in call.tensors())
    return bool(call.tensors()) and alone and all(fake.numel() == 1 for fake in fakes)


def fixed_layouts(units: Units, value: Any, why: str) -> Value:
    """Fixed layouts in the place of a result's tensors; `why` as in `layout.fix`."""
    if isinstance(value, Tensor):
        return new_layout(units, [int(n) for n in value.shape], "fixed", why=why)
    if isinstance(value, list | tuple):
        return [fixed_layouts(units, part, why) for part in value]
    return value
