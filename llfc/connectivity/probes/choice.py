"""Which calls of a network's modules are probed: by default, by name, by pattern."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from llfc.connectivity.probes.calls import ModuleCall, calls_of
from llfc.connectivity.probes.features import unread_probes
from llfc.connectivity.probes.kinds import RECURRENT_MODULES, is_layer
from llfc.connectivity.probes.probe import HANDED, Probe
from llfc.modules.inputs import Inputs
from llfc.names import lookup
from llfc.results import LeftOut


@dataclass(frozen=True)
class Selection:
    """What is probed, and what would have been.

    Attributes:
        probes: in forward order.
        left_out: the modules passed over, each with its reason.
    """

    probes: tuple[Probe, ...]
    left_out: tuple[LeftOut, ...] = ()


def choose_probes(
    model: nn.Module, example: Inputs, names: Sequence[str] | None = None
) -> tuple[Probe, ...]:
    """The probes that `select_probes` finds, without what it passes over."""
    return select_probes(model, example, names).probes


def select_probes(
    model: nn.Module, example: Inputs, names: Sequence[str] | None = None
) -> Selection:
    """The probes of `model` in forward order, and the modules that would be but cannot be read.

    By default they are found from the modules that run on `example`. A layer is a linear layer, a
    convolution, a recurrent layer, attention, or any module whose own code ends with a linear map.
    In a residual network, which is one where a module other than the network itself adds two
    features of one shape in its own forward code: the stem (the last layer or module without calls
    inside it to end before the first block begins), every block's output and the head (the last
    such layer or module). A block is an outermost module of a class that adds anywhere. Where
    modules between the blocks, or in them, run attention, which is a softmax in their own code, the
    output of each of these and of every module whose own code ends with an activation function is
    read too: a transformer's attention and MLPs, beside its residual stream; where a module's own
    code calls the function, what it computes from it and hands to the next module, which is named
    with `:input`. In every other network: the output of every layer, and of every module whose own
    code ends with an activation function, as an activation module's does. A function (`F.relu`)
    that is called elsewhere, as in the network's own code, is not read: who calls it is passed
    over. What a module hands on as it is is read once. A network that has none of these is read at
    its output.

    What is read is the first tensor in a module's output that has a dimension for the images, be it
    the output itself, or in a tuple, a list, a dictionary or what else PyTorch can take apart. The
    images may be along any dimension, or folded with others into one (see
    `llfc.modules.imageaxis`). A module with no such tensor is passed over, for the reason given.

    Args:
        model: the network, in eval mode.
        example: a batch of its inputs, of one image or more.
        names: names of modules (each call is a probe), of calls (`relu#2`), or patterns with
            `*` and `?`, which never find a container beside its last layer; in forward order
            whatever theirs.

    Raises:
        ValueError: if a name matches no module that runs, or one that cannot be read; if two names
            are of one and the same output; if nothing can be read.
    """
    calls = calls_of(model, example)
    if names is None:
        chosen, functions = _default(calls)
        chosen = _once(chosen)
    else:
        chosen, functions = _named(calls, [names] if isinstance(names, str) else names), []
    readable = [call for call in chosen if call.unread is None]
    left_out = [LeftOut("probe", c.probe.name, c.unread) for c in chosen if c.unread is not None]
    if not readable:
        named = "; ".join(f"{entry.name!r}: {entry.reason}" for entry in left_out)
        raise ValueError(f"no module that would be probed can be read: {named}")
    _refuse_twice(readable)
    whole = calls[-1].output  # of the call that ends last, the network's
    probes = (replace(call.probe, logits=call.output == whole) for call in readable)
    return Selection(tuple(probes), (*left_out, *functions))


def confirmed(
    selected: Selection,
    models: Iterable[nn.Module],
    images: Inputs,
    names: Sequence[str] | None = None,
) -> Selection:
    """What of a selection can be read in all of several networks, on a whole batch.

    An expert that is given as many images as the network decides, for example, cannot.

    Args:
        selected: what `select_probes` finds in one of them.
        models: the networks, in eval mode.
        images: a batch, as large as those to come.
        names: as they were given to `select_probes`.

    Raises:
        ValueError: if a probe that is named cannot be read, or none can.
    """
    reasons: dict[str, str] = {}
    for model in models:
        reasons |= unread_probes(model, selected.probes, images)
    probes = tuple(probe for probe in selected.probes if probe.name not in reasons)
    for name in [names] if isinstance(names, str) else names or ():
        if name in reasons:
            raise ValueError(f"probe {name!r} cannot be read: {reasons[name]}")
    if not probes:
        named = "; ".join(f"{name!r}: {reason}" for name, reason in reasons.items())
        raise ValueError(f"no module that would be probed can be read: {named}")
    left_out = (LeftOut("probe", name, reason) for name, reason in reasons.items())
    return Selection(probes, (*selected.left_out, *left_out))


def _default(calls: Sequence[ModuleCall]) -> tuple[list[ModuleCall], list[LeftOut]]:
    """The calls to probe; and the activation functions that no module gives."""
    kinds = {call.kind for call in calls if call.added and call.probe.module}
    blocks = _outermost([call for call in calls if call.kind in kinds])
    if not blocks:
        chosen = [
            call
            for call in calls
            if (call.leaf and is_layer(call.kind))
            or _maps(call)
            or (call.activates and call.probe.module)
        ] or [calls[-1]]
        return chosen, _functions(calls, chosen)
    leaves = [call for call in calls if call.leaf or _maps(call)]
    stem = _last([call for call in leaves if call.ended < blocks[0].began])
    head = _last([call for call in leaves if call.ended > blocks[-1].ended])
    within = [call for call in calls if blocks[0].began <= call.ended <= blocks[-1].ended]
    parts = _of_attention([call for call in within if call not in blocks])
    blocks = [_as_block(call) for call in blocks]
    chosen = sorted(stem + blocks + parts + head, key=lambda call: call.ended)
    return chosen, _functions(parts and within, parts) + _functions(calls[-1:], [])


def _of_attention(calls: Sequence[ModuleCall]) -> list[ModuleCall]:
    """Of calls in a transformer: attention, and the hidden layers of MLPs; otherwise none."""
    if not any(call.attends for call in calls):
        return []
    return [c for c in calls if c.attends or c.activates or c.caller is not None]


def _maps(call: ModuleCall) -> bool:
    """Whether its own code ends with a linear map, and not of a weight, as spectral norm's does."""
    return call.maps and "parametrizations" not in call.probe.module.split(".")


def _as_block(call: ModuleCall) -> ModuleCall:
    """A block that adds nothing, as it changes the size, ends as the others of its class do."""
    kind = call.probe.kind
    kind = "post-activation" if kind == "pre-activation" else kind
    return replace(call, probe=replace(call.probe, kind=kind))


def _last(leaves: Sequence[ModuleCall]) -> list[ModuleCall]:
    """The last that can be read, and those after it that cannot."""
    places = [place for place, call in enumerate(leaves) if call.unread is None]
    return list(leaves[places[-1] :]) if places else []


def _once(calls: Sequence[ModuleCall]) -> list[ModuleCall]:
    """Without those that hand on what another gave, as a module that only looks at it does."""
    first: dict[int, ModuleCall] = {}
    for call in calls:
        first.setdefault(call.output, call)
    return list(first.values())


def _functions(calls: Sequence[ModuleCall], chosen: Sequence[ModuleCall]) -> list[LeftOut]:
    """The activation functions that the code of modules calls which are not chosen."""
    read = {call.caller for call in chosen}
    return [
        LeftOut("probe", call.probe.name, f"{function} is called as a function and not as a module")
        for call in calls
        if call.own not in read
        and (call.maps or call not in chosen)
        and not issubclass(call.kind, RECURRENT_MODULES)
        for function in dict.fromkeys(call.functions)
    ]


def _outermost(blocks: Sequence[ModuleCall]) -> list[ModuleCall]:
    """Those of `blocks` that run inside no other."""
    return [
        block
        for block in blocks
        if not any(other.began <= block.ended < other.ended for other in blocks)
    ]


def _named(calls: Sequence[ModuleCall], names: Sequence[str]) -> list[ModuleCall]:
    if not names:
        raise ValueError("probes must name at least one module, got none")
    known = {call.probe.name: call for call in calls if call.probe.module or call.leaf}
    given = [key for key, call in known.items() if call.caller is None]
    exact: set[str] = set()
    wanted: set[str] = set()
    for name in names:
        named = [key for key in given if name == known[key].probe.module]
        named += [name] if name in known and name not in named else []
        matched = named + fnmatch.filter(known if HANDED in name else given, name)
        if not matched:
            lookup("probe", name, {key: call for key, call in known.items() if not call.unread})
        if named and all(known[key].unread for key in named):
            raise ValueError(f"probe {name!r} cannot be read: {known[named[0]].unread}")
        exact.update(named)
        wanted.update(matched)
    chosen: dict[str, ModuleCall] = {}
    for name in (name for name in known if name in wanted):
        # A pattern that finds a container and its last layer means the layer, which ended first.
        read = {call.output for call in chosen.values()}
        if name in exact or known[name].output not in read:
            chosen[name] = known[name]
    return list(chosen.values())


def _refuse_twice(calls: Sequence[ModuleCall]) -> None:
    seen: dict[int, str] = {}
    for call in calls:
        if call.output in seen:
            raise ValueError(
                f"probes {seen[call.output]!r} and {call.probe.name!r} read the same output"
            )
        seen[call.output] = call.probe.name
