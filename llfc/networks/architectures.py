"""The architectures by name, and how a network of one is built."""

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from llfc.names import lookup, readable
from llfc.networks.families.gpt import gpt
from llfc.networks.families.layers import IMAGE_NORMS, initialise
from llfc.networks.families.mixer import mixer
from llfc.networks.families.mlp import mlp
from llfc.networks.families.resnet import ResidualBlock, cifar_resnet, resnet
from llfc.networks.families.transformer import STREAM_NORMS
from llfc.networks.families.vgg import vgg
from llfc.networks.families.vit import vit
from llfc.oneline import first_line
from llfc.plugins import call, function_of, is_own, resolve, taken
from llfc.seeds import drawn_alike
from llfc.specs import NORMS, OPTIONS

# Makes a network of one architecture, of no matter what weights. Its arguments, all keywords, are
# width, norm, input_shape and num_classes; and those of OPTIONS that it knows, with their defaults.
Builder = Callable[..., nn.Module]
# What data sets are of.
KINDS = ("images", "tokens", "rows")
# What a plug-in's function is offered by name, and need not take.
OFFERED = ("width", "norm", "input_shape", "num_classes")


@runtime_checkable
class DrawsItself(Protocol):
    """A module with first weights of its own."""

    def initialise(self, generator: torch.Generator) -> None:
        """Draw them from `generator` alone."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A family member that can be built at any width.

    Attributes:
        make: makes its module.
        norm: its usual norm, one of NORMS.
        norms: those it can be built with.
        inputs: what it takes, some of KINDS; a data set is of one.
        convolutional: whether it sees images rather than vectors; decides its usual recipe.
        own: whether it is a plug-in, whose networks keep the first weights that they are made with.
    """

    make: Builder
    norm: str
    norms: tuple[str, ...] = IMAGE_NORMS
    inputs: tuple[str, ...] = ("images",)
    convolutional: bool = True
    own: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Those of OPTIONS that it knows, with their usual values."""
        known = inspect.signature(self.make).parameters
        return {name: known[name].default for name in OPTIONS if name in known}


ARCHITECTURES: Mapping[str, Architecture] = {
    "mlp": Architecture(make=mlp, norm="none", inputs=("images", "rows"), convolutional=False),
    "vgg11": Architecture(make=partial(vgg, 11), norm="none"),
    "vgg13": Architecture(make=partial(vgg, 13), norm="none"),
    "vgg16": Architecture(make=partial(vgg, 16), norm="none"),
    "vgg19": Architecture(make=partial(vgg, 19), norm="none"),
    "resnet20": Architecture(make=partial(cifar_resnet, 20), norm="batch"),
    "resnet32": Architecture(make=partial(cifar_resnet, 32), norm="batch"),
    "resnet56": Architecture(make=partial(cifar_resnet, 56), norm="batch"),
    "resnet18": Architecture(make=partial(resnet, (2, 2, 2, 2), bottleneck=False), norm="batch"),
    "resnet50": Architecture(make=partial(resnet, (3, 4, 6, 3), bottleneck=True), norm="batch"),
    "vit": Architecture(make=vit, norm="layer", norms=STREAM_NORMS),
    "mixer": Architecture(make=mixer, norm="layer", norms=STREAM_NORMS),
    "gpt": Architecture(make=gpt, norm="layer", norms=STREAM_NORMS, inputs=("tokens",)),
}


def architecture_of(name: str) -> Architecture:
    """The architecture called `name`: one of ARCHITECTURES, or a plug-in (see `llfc.plugins`).

    Raises:
        ValueError: if there is none.
    """
    if is_own("architecture", name, ARCHITECTURES):
        return _own(resolve("architecture", name))
    return ARCHITECTURES[name]


@functools.cache
def _own(name: str) -> Architecture:
    """The plug-in with that full name; what it takes no argument for can only be usual."""
    what, function = f"architecture {readable(name)}", function_of("architecture", name)
    known = taken(what, function, OFFERED)
    default = inspect.signature(function).parameters.get("norm")
    usual = default.default if default is not None and default.default in NORMS else "none"

    def make(*, width: float, **others: Any) -> nn.Module:
        if width != 1 and "width" not in known:
            raise ValueError(f"width of {what} must be 1, as it takes none, got {width:g}")
        model = call(what, function, {"width": width, **others})
        if not isinstance(model, nn.Module):
            raise ValueError(f"{what} must return a torch.nn.Module, got a {type(model).__name__}")
        return model.cpu().train()

    make.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    norms = NORMS if "norm" in known else ("none",)
    return Architecture(make=make, norm=usual, norms=norms, inputs=KINDS, own=True)


def build_network(
    architecture: str,
    *,
    width: float = 1.0,
    norm: str | None = None,
    input_shape: tuple[int, ...],
    num_classes: int,
    generator: torch.Generator,
    **options: Any,
) -> nn.Module:
    """A network with its first weights, on the CPU and in training mode.

    Args:
        architecture: a name in ARCHITECTURES, or a plug-in's.
        width: multiple of the usual numbers of units and channels; fractions allowed.
        norm: one of NORMS; the architecture's usual one if None.
        input_shape: channels, height and width of an image; or (T,), tokens in a sequence; or
            (F,), numbers in a row.
        num_classes: number of outputs; of tokens, the size of the vocabulary; of rows,
            the number of targets.
        generator: all that the weights are drawn from; the global generator is left alone.
        options: those of OPTIONS that are not to be as usual.

    Raises:
        ValueError: if a name is unknown or a number is out of range.
    """
    make = partial(
        skeleton,
        architecture,
        width=width,
        norm=norm,
        input_shape=input_shape,
        num_classes=num_classes,
        **options,
    )
    if architecture_of(architecture).own:
        with drawn_alike(int(torch.randint(2**32, (), generator=generator))):
            return make()
    model = make()
    with _fitting(architecture, width):
        model.to_empty(device="cpu")
    if isinstance(model, DrawsItself):
        model.initialise(generator)
        return model
    initialise(model, generator)
    if (norm or architecture_of(architecture).norm) == "none":
        for module in model.modules():
            if isinstance(module, ResidualBlock):
                module.start_as_shortcut()
    return model


def skeleton(
    architecture: str,
    *,
    width: float = 1.0,
    norm: str | None = None,
    input_shape: tuple[int, ...],
    num_classes: int,
    **options: Any,
) -> nn.Module:
    """What `build_network` builds, without memory for its weights (on the meta device).

    A plug-in's network is made whole, and draws from the generators that all share.
    """
    entry = architecture_of(architecture)
    norm = norm or entry.norm
    check_fits(architecture, norm, KINDS[:1] if len(input_shape) == 3 else KINDS[1:], options)
    if not 0 < width < math.inf:
        raise ValueError(f"width must be a positive number, got {width}")
    if num_classes < 1 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape and num_classes must be at least 1, got {input_shape} and {num_classes}"
        )
    if entry.own:
        return entry.make(
            width=width, norm=norm, input_shape=input_shape, num_classes=num_classes, **options
        )
    # On the meta device torch's own first weights draw nothing from the global generator.
    with torch.device("meta"), _fitting(architecture, width):
        return entry.make(
            width=width, norm=norm, input_shape=input_shape, num_classes=num_classes, **options
        )


def check_fits(
    architecture: str,
    norm: str,
    inputs: Sequence[str],
    options: Mapping[str, Any] | None = None,
) -> None:
    """Refuse a norm, inputs (of one of these KINDS) or options that `architecture` does not take.

    Raises:
        ValueError: in one line that says what would do.
    """
    entry = architecture_of(architecture)
    lookup("norm", norm, dict.fromkeys(NORMS))
    if not set(inputs) & set(entry.inputs):
        others = [name for name, each in ARCHITECTURES.items() if set(inputs) & set(each.inputs)]
        raise ValueError(
            f"architecture {architecture} takes {' or '.join(entry.inputs)}, and the data set is of"
            f" {' or '.join(inputs)}: choose another data set, or one of {', '.join(others)}"
        )
    if norm not in entry.norms:
        choices = ", ".join(entry.norms)
        raise ValueError(f"norm of {readable(architecture)} must be one of {choices}, got {norm!r}")
    for name in (options or {}).keys() - entry.options.keys():
        having = ", ".join(each for each, of in ARCHITECTURES.items() if name in of.options)
        raise ValueError(
            f"{readable(architecture)} has no {name} to choose: take another architecture: {having}"
        )


@contextmanager
def _fitting(architecture: str, width: float) -> Iterator[None]:
    """Within the context, running out of memory is a ValueError that names the width."""
    try:
        yield
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # as the size overflows
        reason = first_line(error)
        raise ValueError(
            f"width must let {architecture} fit into memory, got {width:g}: {reason}"
        ) from error
