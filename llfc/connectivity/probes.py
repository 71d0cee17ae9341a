"""Which layers are probed, and reading their features through hooks that always come off.

A probe is one call of one module; its feature is the module's output. A module that runs twice in
a forward pass is two probes, `name` and `name#2`.
"""

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from llfc.names import lookup

LINEAR = (
    nn.Linear,
    nn.Bilinear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
ADDITIONS = ("add", "add_", "__add__", "__iadd__", "__radd__")


@dataclass(frozen=True)
class Probe:
    """One call of one module in a forward pass.

    Attributes:
        name: the module's name, with `#2` and so on from its second call.
        module: the module's name in the network.
        call: which call of the module, from 1.
    """

    name: str
    module: str
    call: int


@dataclass(frozen=True)
class Call:
    """A call of a module that was seen in a forward pass.

    Attributes:
        probe: what would probe it.
        leaf: whether the module has no children.
        added: whether the module's own code, not its children's, adds two features.
        kind: the module's class.
        began: how many calls had ended when this one began.
        ended: how many had ended when this one ended; its place in forward order.
        output: the identity and version of the output tensor, None if it is no tensor with a row
            for each sample.
    """

    probe: Probe
    leaf: bool
    added: bool
    kind: type[nn.Module]
    began: int
    ended: int
    output: tuple[int, int] | None


def choose_probes(
    model: nn.Module, example: Tensor, names: Sequence[str] | None = None
) -> tuple[Probe, ...]:
    """The probes of `model` in forward order.

    By default they are found from the modules that run on `example`. In a residual network, that
    is where a module other than the network itself adds two features of one shape in its own
    forward code: the stem (the last module without children to end before the first block begins),
    every block's output and the head (the last module without children). A block is an outermost
    module of a class that adds anywhere. In every other network: the output of every linear
    layer, every convolution and every activation module. Activation functions that are no modules
    (`F.relu`) are not seen.

    Args:
        model: the network, in eval mode.
        example: a batch of its inputs.
        names: names of modules (each call is a probe), of calls (`relu#2`), or patterns with
            `*` and `?`, which never find a container beside its last layer; in forward order
            whatever theirs.

    Raises:
        ValueError: if a name matches no module that runs and gives one tensor with a row for each
            sample; if two names are of one and the same output.
    """
    calls, keep = _trace(model, example)
    readable = [call for call in calls if call.output is not None]
    if names is None:
        chosen = _default(readable)
    else:
        chosen = _named(readable, [names] if isinstance(names, str) else names)
    _refuse_twice(chosen)
    del keep
    return tuple(call.probe for call in chosen)


@contextmanager
def tapped(
    model: nn.Module, probes: Sequence[Probe], receive: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Within the context, every forward pass of `model` hands each probe's feature to `receive`.

    Args:
        model: the network.
        probes: what to read.
        receive: takes a probe's index and its feature, as the module gave it; called at once, so
            before a module that works in place can overwrite the feature.
    """
    wanted = {(probe.module, probe.call): index for index, probe in enumerate(probes)}
    counts: Counter[str] = Counter()

    def reset(module: nn.Module, inputs: Any) -> None:
        del module, inputs
        counts.clear()

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hear(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            counts[name] += 1
            index = wanted.get((name, counts[name]))
            if index is not None:
                receive(index, output)

        return hear

    handles = []
    try:
        handles.append(model.register_forward_pre_hook(reset))
        for name in {probe.module for probe in probes}:
            handles.append(model.get_submodule(name).register_forward_hook(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def features_of(model: nn.Module, probes: Sequence[Probe], images: Tensor) -> list[Tensor]:
    """Each probe's feature of each image, flattened whole, [N, D]; at least in float32.

    Raises:
        ValueError: if a probe gives no tensor.
    """
    found: list[Tensor] = []

    def receive(index: int, output: Tensor) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"probe {probes[index].name!r} gives no tensor")
        feature = output.flatten(1)
        found.append((feature.float() if feature.element_size() < 4 else feature).clone())

    with tapped(model, probes, receive):
        model(images)
    return found


class _Additions(TorchFunctionMode):
    """Notes in which module two features are added."""

    def __init__(self, running: list[int]) -> None:
        super().__init__()
        self.running = running
        self.added: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if getattr(func, "__name__", "") in ADDITIONS and self.running and _are_features(args):
            self.added.add(self.running[-1])
        return func(*args, **kwargs or {})


def _are_features(args: Sequence[Any]) -> bool:
    both = len(args) >= 2 and all(isinstance(arg, Tensor) for arg in args[:2])
    return (
        both
        and args[0].shape == args[1].shape
        and args[0].ndim > 1
        and args[0].is_floating_point()
        and not any(isinstance(arg, nn.Parameter) for arg in args[:2])
    )


def _trace(model: nn.Module, example: Tensor) -> tuple[list[Call], list[Tensor]]:
    """Every call of a module in one forward pass, as they end; and their outputs.

    The outputs are to be kept while the calls' identities are compared.
    """
    calls: list[Call] = []
    outputs: list[Tensor] = []
    running: list[int] = []  # positions of the calls that have begun, innermost last
    began: list[int] = []
    counts: Counter[str] = Counter()
    additions = _Additions(running)

    def enter(module: nn.Module, inputs: Any) -> None:
        del module, inputs
        running.append(len(began))
        began.append(len(calls))

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hear(module: nn.Module, inputs: Any, output: Any) -> None:
            del inputs
            this = running.pop()
            counts[name] += 1
            number = counts[name]
            label = name or "model"
            probe = Probe(label if number == 1 else f"{label}#{number}", name, number)
            identity = None
            if isinstance(output, Tensor) and output.shape[:1] == example.shape[:1]:
                outputs.append(output)
                identity = (id(output), output._version)
            leaf = not list(module.children())
            added = this in additions.added
            place = began[this], len(calls)
            calls.append(Call(probe, leaf, added, type(module), *place, identity))

        return hear

    handles = []
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave(name)))
        with torch.no_grad(), additions:
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return calls, outputs


def _default(calls: Sequence[Call]) -> list[Call]:
    kinds = {call.kind for call in calls if call.added and call.probe.module}
    blocks = _outermost([call for call in calls if call.kind in kinds])
    if not blocks:
        chosen = [call for call in calls if call.leaf and _is_plain_layer(call.kind)]
        if not chosen:
            raise ValueError("the model runs no linear layer, convolution or activation module")
        return chosen
    leaves = [call for call in calls if call.leaf]
    stem = [call for call in leaves if call.ended < blocks[0].began]
    head = [call for call in leaves if call.ended > blocks[-1].ended]
    return stem[-1:] + blocks + head[-1:]


def _is_plain_layer(kind: type[nn.Module]) -> bool:
    activation = kind.__module__ == "torch.nn.modules.activation"
    return issubclass(kind, LINEAR) or activation


def _outermost(blocks: Sequence[Call]) -> list[Call]:
    """Those of `blocks` that run inside no other."""
    return [
        block
        for block in blocks
        if not any(other.began <= block.ended < other.ended for other in blocks)
    ]


def _named(calls: Sequence[Call], names: Sequence[str]) -> list[Call]:
    if not names:
        raise ValueError("probes must name at least one module, got none")
    known = {call.probe.name: call for call in calls if call.probe.module or call.leaf}
    exact: set[str] = set()
    wanted: set[str] = set()
    for name in names:
        named = [key for key, call in known.items() if name in (call.probe.module, key)]
        matched = named + fnmatch.filter(known, name)
        if not matched:
            lookup("probe", name, known)
        exact.update(named)
        wanted.update(matched)
    chosen: dict[str, Call] = {}
    for name in (name for name in known if name in wanted):
        # A pattern that finds a container and its last layer means the layer, which ended first.
        read = {call.output for call in chosen.values()}
        if name in exact or known[name].output not in read:
            chosen[name] = known[name]
    return list(chosen.values())


def _refuse_twice(calls: Sequence[Call]) -> None:
    seen: dict[tuple[int, int] | None, str] = {}
    for call in calls:
        if call.output in seen:
            raise ValueError(
                f"probes {seen[call.output]!r} and {call.probe.name!r} read one and the same output"
            )
        seen[call.output] = call.probe.name
