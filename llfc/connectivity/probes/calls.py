"""What every call of a module does in a forward pass, and where the images are in what it gives."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from llfc.connectivity.probes.kinds import RECURRENT_MODULES, Course, is_activation
from llfc.connectivity.probes.probe import HANDED, Probe
from llfc.devices import fused_attention_disabled
from llfc.modules.hooks import calls_followed, hooked
from llfc.modules.imageaxis import ImageAxis, Trio, image_axis
from llfc.modules.inputs import Inputs, count_of, run
from llfc.oneline import first_line

ADDITIONS = ("add", "add_", "__add__", "__iadd__", "__radd__")


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module that was seen in a forward pass.

    Attributes:
        probe: what would probe it.
        leaf: whether no other module runs inside it.
        added: whether the module's own code, not its children's, adds two features.
        kind: the module's class.
        began: how many calls had ended when this one began.
        ended: how many had ended when this one ended; its place in forward order.
        output: a number of the tensor that is read, as it is then: the same in all calls that give
            the same.
        unread: why its output cannot be read, as one line; None if it can.
        functions: the activation functions that its own code calls, by name.
        activates: whether the last thing computed, but for views and pools, is one of these.
        maps: whether it is a linear map that its own code runs.
        attends: whether its own code weighs features by a softmax, as attention does.
        own: a number of the call.
        caller: of what is handed to the call rather than given by it: the number of the call whose
            own code computed it, by an activation function; None of all else.
    """

    probe: Probe
    leaf: bool
    added: bool
    kind: type[nn.Module]
    began: int
    ended: int
    output: int
    unread: str | None
    functions: tuple[str, ...]
    activates: bool
    maps: bool
    attends: bool
    own: int
    caller: int | None = None


def calls_of(model: nn.Module, example: Inputs) -> list[ModuleCall]:
    """Every call of a module in a forward pass of `model`, in the order in which they end.

    Where the own code of a module calls an activation function and hands on what it computes from
    that, as an MLP does that calls `F.gelu` between two layers, what is handed on stands before the
    call that takes it, as a call of its own.

    Costs three forward passes on four images at most.

    Args:
        model: the network, in eval mode.
        example: one image or more.

    Raises:
        ValueError: if the network does not run on two images.
    """
    trio = Trio.of(example)
    batch, swapped = _watched(model, trio.batch), _watched(model, trio.swapped)
    try:
        twice: _Run | None = _watched(model, trio.twice)
    except ValueError:
        twice = None  # a network for batches of some sizes alone
    return [_call(end, batch.course.linear, swapped, twice) for end in batch.ends]


@dataclass(eq=False)
class _End:
    """A call that ended: what it gave, and what had run by then."""

    key: tuple[str, int]  # the module's name, and which call of it
    module: nn.Module
    begun: "_Begun"
    ended: int
    given: list[Any]  # the leaves of the output
    copies: list[Any]  # the same as they were, since a module that works in place may follow
    linear: int
    last: str
    caller: "_Begun | None" = None  # of what is handed on: whose own code computed it


@dataclass(eq=False)
class _Begun:
    """A call that is running."""

    began: int
    leaf: bool = True
    added: bool = False
    functions: tuple[str, ...] = ()
    activates: bool = False
    maps: bool = False
    attends: bool = False
    activated: bool = False  # an activation function was called since something was handed on


class _Run(TorchFunctionMode):
    """One forward pass as it is watched; within the context, notes where two features are added."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[_End] = []
        self.course = Course(self._ran)
        self._by_key: dict[tuple[str, int], _End] = {}
        self._running: list[_Begun] = []  # innermost last
        self._by: _Begun | None = None  # whose own code ran the last linear map or activation
        self._counts: Counter[str] = Counter()
        self._copies: dict[tuple[int, int], Tensor] = {}
        self._met: dict[int, Any] = {}  # what was taken or given by a call, by id

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if getattr(func, "__name__", "") in ADDITIONS and self._running and _are_features(args):
            self._running[-1].added = True
        return func(*args, **kwargs or {})

    def _ran(self, kind: str, function: str) -> None:
        if kind == "attention":
            if self._running:
                self._running[-1].attends = True
            return
        self._by = self._running[-1] if self._running else None
        if self._by is not None and kind == "activation":
            self._by.functions += (function,)
            self._by.activated = True

    def ended(self, key: tuple[str, int]) -> _End | None:
        """The call of this name and number, if there was one."""
        return self._by_key.get(key)

    def handed(self, name: str, module: nn.Module, inputs: Any, named: Any) -> None:
        """A call is about to take these: note what its caller made by an activation function."""
        caller = self._running[-1] if self._running else None
        given = pytree.tree_leaves((inputs, named))
        new = [x for x in given if isinstance(x, Tensor) and id(x) not in self._met]
        self._met |= {id(x): x for x in given}
        if caller is None or not caller.activated or not new or given[0] is not new[0]:
            return
        caller.activated = False
        key = f"{name}{HANDED}", self._counts[name] + 1
        copies = [self._copy(part) for part in given]
        begun = _Begun(len(self.ends), leaf=False)
        place = len(self.ends), given, copies, self.course.linear, "activation"
        self._by_key[key] = _End(key, module, begun, *place, caller)
        self.ends.append(self._by_key[key])

    def enter(self, name: str, module: nn.Module) -> None:
        """A call begins."""
        del name, module
        if self._running:
            self._running[-1].leaf = False
        self._running.append(_Begun(len(self.ends)))

    def leave(self, name: str, module: nn.Module, output: Any) -> None:
        """A call ends."""
        begun = self._running.pop()
        self._counts[name] += 1
        last = self.course.last if self._by is begun else ""
        begun.activates, begun.maps = last == "activation", last == "linear"
        if begun.added:
            self.course.last = "block"
        given = pytree.tree_leaves(output)
        self._met |= {id(x): x for x in given}
        course = self.course.linear, self.course.last
        key = name, self._counts[name]
        copies = [self._copy(part) for part in given]
        end = _End(key, module, begun, len(self.ends), given, copies, *course)
        self.ends.append(end)
        self._by_key[key] = end

    def _copy(self, part: Any) -> Any:
        """As it is now; one copy of what several calls give."""
        if not isinstance(part, Tensor) or part.is_nested:
            return None
        key = id(part), part._version
        if key not in self._copies:
            self._copies[key] = part.detach().clone()
        return self._copies[key]


@torch.no_grad()
def _watched(model: nn.Module, images: Inputs) -> _Run:
    seen = _Run()
    try:
        # Fused attention runs a whole block as one operation.
        taken = (
            module.register_forward_pre_hook(partial(seen.handed, name), with_kwargs=True)
            for name, module in model.named_modules()
        )
        with hooked(taken), calls_followed(model, seen.enter, seen.leave):
            with fused_attention_disabled(), seen, seen.course:
                run(model, images)
    except Exception as error:  # whatever a model's own code raises
        size, reason = count_of(images), first_line(error)
        raise ValueError(
            f"the model must accept batches of any size, but fails on one of {size}: {reason}"
        ) from error
    return seen


def _are_features(args: Sequence[Any]) -> bool:
    both = len(args) >= 2 and all(isinstance(arg, Tensor) for arg in args[:2])
    return (
        both
        and args[0].shape == args[1].shape
        and args[0].ndim > 1
        and args[0].is_floating_point()
        and not any(isinstance(arg, nn.Parameter) for arg in args[:2])
    )


def _call(end: _End, total: int, swapped: _Run, twice: _Run | None) -> ModuleCall:
    """What all runs say of a call that ended in the first, of `total` linear maps in it."""
    name, number = end.key
    label = name or "model"
    others = [each.ended(end.key) for each in (swapped, twice) if each is not None]
    added = all(each is not None and each.begun.added for each in (end, *others))
    part, axis, unread = _read(end, others)
    probe = Probe(
        name=label if number == 1 else f"{label}#{number}",
        module=name.removesuffix(HANDED),
        call=number,
        handed=end.caller is not None,
        part=part,
        axis=axis,
        kind=_kind(end, total, added=added),
        depth=end.linear / total if total else 1.0,
    )
    return ModuleCall(
        probe=probe,
        leaf=end.begun.leaf,
        added=added,
        kind=type(end.module) if end.caller is None else nn.Identity,
        began=end.begun.began,
        ended=end.ended,
        output=id(end.copies[part]) if unread is None else id(end),
        unread=unread,
        functions=end.begun.functions,
        activates=end.begun.activates,
        maps=end.begun.maps,
        attends=end.begun.attends,
        own=id(end.begun),
        caller=None if end.caller is None else id(end.caller),
    )


def _read(end: _End, others: Sequence[_End | None]) -> tuple[int, ImageAxis, str | None]:
    """Which leaf of a call's output is read, where the images are in it; or why none is."""
    copies = [end.copies, *(each.copies for each in others if each is not None)]
    if len(copies) <= len(others) or len(set(map(len, copies))) > 1:
        return 0, ImageAxis(), "it does not run on every batch"
    reasons = []
    for part, (batch, swapped, *twice) in enumerate(zip(*copies, strict=True)):
        if all(isinstance(x, Tensor) and _is_feature(x) for x in (batch, swapped, *twice)):
            axis = image_axis(batch, swapped, twice[0].shape if twice else None)
            if isinstance(axis, ImageAxis):
                return part, axis, None
            reasons.append(f"its output {axis}")
    return 0, ImageAxis(), next(iter(reasons), "its output contains no tensor of real numbers")


def _is_feature(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _kind(end: _End, total: int, *, added: bool) -> str:
    """Which of `llfc.results.LAYER_KINDS` a call's output is."""
    if total and end.linear == total:
        return "logits"
    if added or end.last in ("activation", "block"):
        return "post-activation"
    if is_activation(type(end.module)) or isinstance(end.module, RECURRENT_MODULES):
        return "post-activation"
    return "pre-activation" if total else "other"
