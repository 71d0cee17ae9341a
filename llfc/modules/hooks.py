"""Hooks that always come off, and what is told of a forward pass by them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Within the context the hooks of `handles` are there, registered as they are taken."""
    with ExitStack() as stack:
        for handle in handles:
            stack.enter_context(handle)
        yield


@contextmanager
def calls_followed(
    model: nn.Module,
    enter: Callable[[str, nn.Module], None],
    leave: Callable[[str, nn.Module, Any], None],
    *,
    around_hooks: bool = False,
) -> Iterator[None]:
    """Within the context, every call of a module of `model` is told to `enter` and to `leave`.

    Args:
        model: the network.
        enter: takes the name of a module whose call begins, and the module.
        leave: takes the name of a module whose call ends, the module, and what it gives.
        around_hooks: whether the module's other hooks are a part of its call, and what it gives is
            its own code's; otherwise they are the caller's, and have had their say.
    """

    def handles() -> Iterator[RemovableHandle]:
        for name, module in model.named_modules():
            yield module.register_forward_pre_hook(begins(name), prepend=around_hooks)
            yield module.register_forward_hook(ends(name), prepend=around_hooks)

    def begins(name: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, inputs: enter(name, module)

    def ends(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: leave(name, module, output)

    with hooked(handles()):
        yield
