"""The first thing in which two networks differ that is no parameter and no buffer, in words."""

import functools
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# What torch keeps in every module: its tensors and parts, which are compared by themselves.
OWN = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
# Settings without a part in a forward pass in eval mode, and modules that have no other ones.
IDLE = ("dropout", "inplace", "momentum", "p")
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, type)
NUMBERS = (bool, int, float, type(None))
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
UNREGISTERED = (
    "numbers that are no float parameter or buffer, so that they stay A's (nn.ModuleList,"
    " nn.Parameter and register_buffer make them so)"
)
LONGEST = 60  # characters of a value that is shown
NOWHERE = object()


def first_difference(a: nn.Module, b: nn.Module) -> str:
    """Where A and B, which hold equal numbers, differ; empty if nowhere that can be seen.

    Seen are attributes and what they hold, hooks, and what functions close over.

    >>> first_difference(nn.ELU(1.0), nn.ELU(2.0))
    'alpha: 1.0 against 2.0'
    """
    comparison = _Comparison()
    found = (line for pair in _attributes(a, b) for line in comparison.of(*pair))
    return next(found, "")


def first_setting(a: nn.Module, b: nn.Module) -> str:
    """As `first_difference`, of settings alone, whatever the numbers that A and B hold.

    Settings are attributes that are numbers, switches or functions; in torch's modules words too.
    """
    modules = dict(a.named_modules())
    for where, x, y in _attributes(a, b):
        owner = modules.get(where.rpartition(".")[0])
        words = (str,) if type(owner).__module__.startswith("torch.") else ()
        if isinstance(x, NUMBERS + words) and isinstance(y, NUMBERS + words) and x != y:
            return f"{where}: {_shown(x)} against {_shown(y)}"
        if isinstance(x, FUNCTIONS) and isinstance(y, FUNCTIONS) and _shown(x) != _shown(y):
            return f"{where}: {_shown(x)} against {_shown(y)}"
    return ""


def _attributes(a: nn.Module, b: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """Name, A's and B's value of every attribute that may matter, in the order of A's modules."""
    others = dict(b.named_modules())
    for name, module in a.named_modules():
        if name not in others or type(module).__name__.startswith("Dropout"):
            continue
        other, prefix = others[name], f"{name}." if name else ""
        yield f"{prefix}forward", type(module).forward, type(other).forward
        for key, x, y in _paired(_kept(module), _kept(other)):
            yield f"{prefix}{key}", x, y


def _kept(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module, its hooks, and its buffers of whole numbers."""
    own = {
        name: value
        for name, value in vars(module).items()
        if name not in OWN and name not in IDLE and "_hooks" not in name
    }
    hooks = {name.strip("_"): list(vars(module)[name].values()) for name in HOOKS}
    whole = {
        name: buffer
        for name, buffer in module.named_buffers(recurse=False)
        if not (buffer.is_floating_point() or buffer.is_complex()) and name != "num_batches_tracked"
    }
    return own | hooks | whole


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in (*a, *(key for key in b if key not in a)):
        yield key, a.get(key, NOWHERE), b.get(key, NOWHERE)


class _Comparison:
    """Compares two values and all that they hold, each pair once."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()

    def of(self, where: str, a: Any, b: Any) -> Iterator[str]:
        """A line for each difference."""
        if a is b or (id(a), id(b)) in self.seen:
            return
        self.seen.add((id(a), id(b)))
        if a is NOWHERE or b is NOWHERE:
            yield f"{where}: only in {'B' if a is NOWHERE else 'A'}"
        elif type(a) is not type(b) or (isinstance(a, FUNCTIONS) and _shown(a) != _shown(b)):
            yield f"{where}: {_shown(a)} against {_shown(b)}"
        elif isinstance(a, Tensor | np.ndarray):
            if not _equal(a, b):
                yield f"{where}: {UNREGISTERED}"
        elif isinstance(a, PLAIN):
            if a != b and not (a != a and b != b):
                yield f"{where}: {_shown(a)} against {_shown(b)}"
        else:
            for key, x, y in _paired(_parts(a), _parts(b)):
                yield from self.of(f"{where}{key}", x, y)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return a.shape == b.shape and torch.equal(a.detach(), b.detach().to(a.device))


def _parts(value: Any) -> dict[str, Any]:
    """What a container, a function, a module or any other object consists of, by its name."""
    if isinstance(value, Mapping):
        return {f"[{key!r}]": part for key, part in value.items()}
    if isinstance(value, Sequence):
        return {f"[{at}]": part for at, part in enumerate(value)}
    if isinstance(value, Set):
        return {"": sorted(map(repr, value))}
    if isinstance(value, functools.partial):
        return {".func": value.func, ".args": value.args, ".keywords": value.keywords}
    if isinstance(value, types.FunctionType):
        return _parts_of_function(value)
    if isinstance(value, types.MethodType):
        return {"": value.__func__}
    if isinstance(value, nn.Module):
        held = {f".{name}": tensor for name, tensor in value.named_parameters()}
        return {f".{name}": part for name, part in _kept(value).items()} | held
    return _parts_of_object(value)


def _parts_of_function(function: types.FunctionType) -> dict[str, Any]:
    """A function's name and code, and what it closes over; a lambda's name says little."""
    code = function.__code__
    closed = zip_longest(code.co_freevars, function.__closure__ or ())
    return {
        ", its code": code.co_code,
        ", its constants": repr(code.co_consts),
        ", its names": code.co_names,
        ", its defaults": (function.__defaults__, function.__kwdefaults__),
    } | {f", closing over {name}": _content(cell) for name, cell in closed}


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty yet
        return None


def _parts_of_object(value: Any) -> dict[str, Any]:
    """The state that an object would be saved with; its name if that is all there is."""
    try:
        state = value.__getstate__()
    except Exception:  # whatever its class raises
        state = None
    if isinstance(state, Mapping):
        return {f".{name}": part for name, part in state.items()}
    return {"": _shown(value) if state is None else state}


def _shown(value: Any) -> str:
    """In a few words."""
    if isinstance(value, PLAIN) and not isinstance(value, type):
        text = repr(value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return str(getattr(value, "__qualname__", None) or f"a {type(value).__name__}")
