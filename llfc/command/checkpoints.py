"""Checkpoints into networks, and networks into safetensors with where they come from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import llfc
from llfc.atomic import made_whole
from llfc.command.networks import Blueprint, in_float, is_hugging_face
from llfc.networks.weightfiles import Checkpoint, load_checkpoint

SUFFIX = ".safetensors"
PROVENANCE = "llfc"  # the key in a file's header


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network that was read from a file.

    Attributes:
        path: as given.
        model: with the file's numbers, in eval mode and at least single precision.
        types: of the tensors that the file has, by their names in the model.
        digest: of all that the file holds, see `Checkpoint.digest`.
        stripped: what was taken off the names in the file.
    """

    path: str
    model: nn.Module
    types: Mapping[str, torch.dtype]
    digest: str
    stripped: Sequence[str] = field(default=())


def load(path: str, blueprint: Blueprint) -> Loaded:
    """The network of `blueprint` with the tensors at `path`.

    Raises:
        ValueError: in one line, if they cannot be read, or are another network's.
    """
    folder = Path(path).expanduser()
    if blueprint.pretrained is not None and is_hugging_face(folder):
        model = blueprint.pretrained(folder)
        state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        once = {tensor.data_ptr(): name for name, tensor in reversed(state.items())}
        found = Checkpoint({n: t for n, t in state.items() if once[t.data_ptr()] == n})
        types = {name: tensor.dtype for name, tensor in found.tensors.items()}
        return Loaded(path, in_float(model), types, found.digest)
    model, read = blueprint.build(), load_checkpoint(folder)
    try:
        found = read.fitted(model, path)
    except ValueError as error:
        raise ValueError(f"{error}{_hint(blueprint, read, model)}") from None
    model.load_state_dict(found.tensors)
    prefix = "".join(found.stripped[len(read.stripped) :])
    types = {name.removeprefix(prefix): x.dtype for name, x in read.tensors.items()}
    return Loaded(path, in_float(model), types, read.digest, found.stripped)


def _hint(blueprint: Blueprint, read: Checkpoint, model: nn.Module) -> str:
    """What to do where the last layer alone is of another size."""
    library = blueprint.name.partition(":")[0]
    if library not in ("torchvision", "timm") or "num_classes" in blueprint.name:
        return ""
    own = model.state_dict()
    wrong = [n for n, x in read.tensors.items() if n in own and x.shape != own[n].shape]
    classes = {len(read.tensors[name]) for name in wrong}
    if not 1 <= len(wrong) <= 2 or len(classes) != 1:
        return ""
    return f"; for {min(classes)} classes: --model {blueprint.name}#num_classes={min(classes)}"


def check_output(path: Path, suffix: str, inputs: Sequence[str] = ()) -> None:
    """Refuse a file that could not be written in the end, before any work.

    Raises:
        ValueError: if its ending is another, its folder is not there, or it is one of `inputs`.
    """
    if path.suffix != suffix:
        raise ValueError(f"{path} must end in {suffix}")
    check_folder(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file")
    for given in map(Path, inputs):
        if path.exists() and given.exists() and path.samefile(given):
            raise ValueError(f"{path} is an input: name another file to be written")


def check_folder(path: Path) -> None:
    """Refuse a place whose folder is not there.

    Raises:
        ValueError: if so.
    """
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.absolute().parent}")


def as_written(state: Mapping[str, Tensor], types: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """Copies of the tensors of a state dict that `Loaded.types` names, in those types.

    Single precision becomes an input's half precision again; of permuted tensors that is exact.
    """
    return {
        name: state[name].detach().to("cpu", dtype, copy=True).contiguous()
        for name, dtype in types.items()
    }


def save(path: Path, tensors: Mapping[str, Tensor], provenance: Mapping[str, Any]) -> None:
    """Write the tensors, and into the header where they come from.

    Args:
        path: a safetensors file, which is replaced.
        tensors: as `as_written` has them.
        provenance: plain values, saved as JSON under the key `llfc`.
    """
    header = {"llfc": llfc.__version__, "torch": torch.__version__, **provenance}
    with made_whole(path) as beside:
        save_file(dict(tensors), beside, {"format": "pt", PROVENANCE: json.dumps(header)})


def origin_of(loaded: Loaded) -> dict[str, Any]:
    """What the header says of an input."""
    return {"file": Path(loaded.path).name, "digest": loaded.digest}
