"""What `--model` names: how a network is built, and what it takes."""

import ast
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llfc.command.inputs import Drawn
from llfc.data.sequences import split_options
from llfc.names import lookup, readable
from llfc.oneline import in_one_line
from llfc.plugins import call, function_of, is_plugin, resolve, taken
from llfc.plugins.extras import of_extra
from llfc.seeds import drawn_alike

FORMS = "FILE.py:FUNCTION, MODULE:FUNCTION, torchvision:NAME, timm:NAME, or a Hugging Face folder"
TOKENS = 16  # in a sequence of random ids, where a model takes more


@dataclass(frozen=True)
class Blueprint:
    """A network as it is named on the command line.

    Attributes:
        name: as given.
        make: makes one, of no matter what weights.
        inputs: what it takes, where its library says so.
        pretrained: where `transformers` reads a folder's checkpoint, what does.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[Drawn, ...] = ()
    pretrained: Callable[[Path], nn.Module] | None = None

    def build(self) -> nn.Module:
        """A network in eval mode, the same whenever it is built.

        Raises:
            ValueError: in one line, if it cannot be built, or is none.
        """
        with drawn_alike(0):
            try:
                model = self.make()
            except (TypeError, RuntimeError, AttributeError, KeyError) as error:
                raise ValueError(
                    f"model {self.name} cannot be built: {in_one_line(error)}"
                ) from error
        if not isinstance(model, nn.Module):
            raise ValueError(
                f"model {self.name} must be a torch.nn.Module, got a {type(model).__name__}"
            )
        return model.eval()


def blueprint_of(name: str) -> Blueprint:
    """The network called `name`; options for its function follow as `#OPTION=VALUE,...`.

    Raises:
        ValueError: in one line, if there is none, or a package is needed that is not installed.
    """
    if is_hugging_face(Path(name)):
        return _hugging_face(name)
    base, texts = split_options(name)
    options = {option: _value(text) for option, text in texts.items()}
    library, _, called = base.partition(":")
    if library in LIBRARIES and called:
        return LIBRARIES[library](name, called, options)
    if not is_plugin("architecture", base):
        folder = f"{name} has no config.json; " if Path(name).is_dir() else ""
        raise ValueError(f"unknown model {name!r}: {folder}give {FORMS}")
    return _own(name, base, options)


def is_hugging_face(folder: Path) -> bool:
    """Whether this is a folder that `transformers` has saved a model to."""
    return (folder / "config.json").is_file()


def _value(text: str) -> Any:
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return text


def _own(name: str, base: str, options: Mapping[str, Any]) -> Blueprint:
    resolved = resolve("architecture", base)
    what = f"model {readable(resolved)}"
    function = function_of("architecture", resolved, in_place=True)
    known = taken(what, function, tuple(options))
    for option in options:
        if option not in known:
            raise ValueError(f"{what} takes no argument {option!r}")
    return Blueprint(name, lambda: call(what, function, options))


def _torchvision(name: str, called: str, options: Mapping[str, Any]) -> Blueprint:
    with of_extra("vision"):
        from torchvision import models
    lookup("model of torchvision", called, dict.fromkeys(models.list_models()))
    inputs: tuple[Drawn, ...] = ()
    with suppress(Exception):  # of models that are not for single images
        size = models.get_model_weights(called).DEFAULT.transforms().crop_size[0]
        inputs = (Drawn((2, 3, size, size)),)
    return Blueprint(name, lambda: models.get_model(called, weights=None, **options), inputs)


def _timm(name: str, called: str, options: Mapping[str, Any]) -> Blueprint:
    with of_extra("timm"):
        import timm
    lookup("model of timm", called, dict.fromkeys(timm.list_models()))
    known = timm.get_pretrained_cfg(called)
    channels, height, width = known.input_size if known is not None else (3, 224, 224)
    given = options.get("img_size", (height, width))
    sizes = (given, given) if isinstance(given, int) else tuple(given)
    inputs = (Drawn((2, options.get("in_chans", channels), *sizes)),)
    return Blueprint(name, lambda: timm.create_model(called, pretrained=False, **options), inputs)


LIBRARIES: Mapping[str, Callable[[str, str, Mapping[str, Any]], Blueprint]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}


def _hugging_face(name: str) -> Blueprint:
    """By the folder's `config.json`; no code in the folder is run."""
    with of_extra("transformers"):
        import transformers
    try:
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise ValueError(f"model {name}: {in_one_line(error)}") from None
    if hasattr(config, "use_cache"):
        config.use_cache = False  # what it keeps of a pass is no part of the function
    kind = next(iter(config.architectures or ()), "")
    architecture = getattr(transformers, kind, None)
    if architecture is None:
        raise ValueError(
            f"model {name}: config.json must name an architecture of transformers, got {kind!r}"
        )

    def pretrained(folder: Path) -> nn.Module:
        return _read(architecture, folder)

    return Blueprint(name, lambda: architecture(config), _inputs_of(config), pretrained)


def _read(architecture: Any, folder: Path) -> nn.Module:
    """The network in a folder, all of whose weights are there."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, found = architecture.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"checkpoint {folder}: {in_one_line(error)}") from None
    for key, said in (("missing_keys", "is missing"), ("unexpected_keys", "is not known")):
        if found[key]:
            raise ValueError(f"checkpoint {folder}: {min(found[key])} of {kind_of(model)} {said}")
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    return model.eval()  # type: ignore[no-any-return]


def kind_of(model: nn.Module) -> str:
    """The class of a model."""
    return type(model).__name__


def _inputs_of(config: Any) -> tuple[Drawn, ...]:
    """Token ids, or images, by what the configuration has a size for."""
    if vocabulary := getattr(config, "vocab_size", None):
        longest = getattr(config, "max_position_embeddings", None) or TOKENS
        return (Drawn((2, min(TOKENS, longest)), vocabulary),)
    size, channels = (getattr(config, name, None) for name in ("image_size", "num_channels"))
    if isinstance(size, int) and channels:
        return (Drawn((2, channels, size, size)),)
    return ()


def in_float(model: nn.Module) -> nn.Module:
    """The model in at least single precision, in which sums of half-precision weights are exact."""
    halves = any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())
    return model.float() if halves else model
