"""Checkpoints of one's own: the tensors in a file, whoever trained the network.

Read are safetensors, whole or sharded (by their `*.safetensors.index.json`), and what `torch.save`
wrote, `.pt`, `.pth` or `.bin`, as far as it holds nothing but tensors and plain values: no code in
a file is ever run.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from llfc.oneline import first_line

# What wrappers put before the names of all tensors: data parallelism, torch.compile.
PREFIXES = ("module.", "_orig_mod.")
# Under which names training scripts put the state dict among other things.
WITHIN = ("state_dict", "model_state_dict", "model", "weights")
SHARDS = ".index.json"
# What the files in a folder of one network are called.
IN_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.pt",
)
COUNTER = "num_batches_tracked"  # of a batch norm, which older files lack, and nothing depends on


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a network, as a file has them.

    Attributes:
        tensors: by name, on the CPU, without the prefixes of wrappers.
        stripped: the prefixes that all names had, in their order.
    """

    tensors: Mapping[str, Tensor]
    stripped: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Sixteen hex digits of all names, types, shapes and numbers; not of the file."""
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(self.tensors):
            tensor = self.tensors[name].contiguous()
            digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def fitted(self, model: nn.Module, called: str) -> "Checkpoint":
        """The same under the names of `model`, whose tensors they then are.

        Where all names begin with one more component than the model's, such as `model.`, it is
        taken off. A tied parameter that the file has once counts for all its names.

        Raises:
            ValueError: as `check_fits`.
        """
        own, found = model.state_dict(), self
        while (prefix := found._prefix()) and not any(name.startswith(prefix) for name in own):
            shorter = {name.removeprefix(prefix): x for name, x in found.tensors.items()}
            found = Checkpoint(shorter, (*found.stripped, prefix))
        places = {tensor.data_ptr(): n for n, tensor in own.items() if n in found.tensors}
        tensors = dict(found.tensors)
        for name, tensor in own.items():
            if name not in tensors and name.endswith(COUNTER):
                tensors[name] = tensor
            elif name not in tensors and tensor.numel() and tensor.data_ptr() in places:
                tensors[name] = tensors[places[tensor.data_ptr()]]
        found = Checkpoint(tensors, found.stripped)
        found.check_fits(model, called)
        return found

    def _prefix(self) -> str:
        """The first component of all names, if that is one and the same."""
        first = next(iter(self.tensors), "").partition(".")[0] + "."
        return first if all(name.startswith(first) for name in self.tensors) else ""

    def check_fits(self, model: nn.Module, called: str) -> None:
        """Refuse tensors that are not those of `model`, or not all finite.

        Raises:
            ValueError: with the first that is missing, unknown, of another shape or not finite;
                `called` names the file.
        """
        own = model.state_dict()
        for name, tensor in own.items():
            if name not in self.tensors:
                raise ValueError(f"checkpoint {called}: {name} of the architecture is missing")
            shape = tuple(self.tensors[name].shape)
            if shape != tuple(tensor.shape):
                wanted = tuple(tensor.shape)
                raise ValueError(
                    f"checkpoint {called}: {name} must be of shape {wanted}, got {shape}"
                )
        for name, tensor in self.tensors.items():
            if name not in own:
                raise ValueError(f"checkpoint {called}: the architecture has no {name}")
            if not tensor.isfinite().all():
                raise ValueError(f"checkpoint {called}: {name} must be finite, got nan or infinity")


# Where the checkpoints lie that this process has named, by digest.
_paths: dict[str, Path] = {}


def name_checkpoints(paths: Sequence[str]) -> tuple[str, ...]:
    """The names of the checkpoints at `paths`, `LABEL@DIGITS`: for people, and by content.

    Raises:
        ValueError: in one line, if there is only one, one cannot be read, or two are the same.
    """
    if len(paths) < 2:
        raise ValueError(f"checkpoints must be at least two files, got {len(paths)}")
    names: dict[str, str] = {}
    for path, label in zip(paths, _labels(paths), strict=True):
        digest = load_checkpoint(path).digest
        if digest in names:
            raise ValueError(
                f"checkpoints must differ, but {path} holds the same as {_paths[digest]}"
            )
        names[digest], _paths[digest] = f"{label}@{digest}", Path(path).expanduser().absolute()
    return tuple(names.values())


def named_checkpoint(name: str) -> Checkpoint:
    """The checkpoint that `name_checkpoints` called so in this process.

    Raises:
        ValueError: if it cannot be read, or has been changed since.
    """
    digest = name.rpartition("@")[2]
    if digest not in _paths:
        raise ValueError(f"checkpoint {name} is not in the store: name its file again")
    found = load_checkpoint(_paths[digest])
    if found.digest != digest:
        raise ValueError(f"checkpoint {_paths[digest]} was changed while it was used")
    return found


def _labels(paths: Sequence[str]) -> list[str]:
    """The end of each path, from the first folder on in which they differ, without its ending."""
    parts = [Path(path).expanduser().absolute().parts for path in paths]
    shared = 0
    while all(len(each) > shared + 1 and each[shared] == parts[0][shared] for each in parts):
        shared += 1
    ends = ["/".join(each[shared:]) for each in parts]
    return [re.sub(r"(\.safetensors)?(\.index\.json|\.\w+)$", "", end, count=1) for end in ends]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors in the file at `path`, or in the file of a network in the folder there.

    Raises:
        ValueError: in one line, if it cannot be read, holds code, or holds no named tensors.
    """
    path = Path(path).expanduser()
    try:
        found = _read(path)
    except OSError as error:
        raise ValueError(
            f"checkpoint {error.filename or path}: {error.strerror or first_line(error)}"
        ) from None
    except (SafetensorError, json.JSONDecodeError, EOFError) as error:
        raise ValueError(f"checkpoint {path} is damaged: {first_line(error)}") from None
    tensors = _state_dict(found)
    if tensors is None:
        raise ValueError(
            f"checkpoint {path} must hold tensors by name, alone or under"
            f" {', '.join(WITHIN)}, got {_described(found)}"
        )
    return _stripped(tensors)


def _read(path: Path) -> Any:
    if path.is_dir():
        there = next((name for name in IN_FOLDER if (path / name).is_file()), None)
        if there is None:
            raise ValueError(f"checkpoint {path}: the folder has none of {', '.join(IN_FOLDER)}")
        path = path / there
    if path.name.endswith(SHARDS):
        index = json.loads(path.read_text())
        shards = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(shards, dict) or not shards:
            raise ValueError(f"checkpoint {path} must have a weight_map, as an index of shards has")
        return _joined(path, shards)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in (".pt", ".pth", ".bin", ".ckpt"):
        raise ValueError(
            f"checkpoint {path} must end in .safetensors, {SHARDS}, .pt, .pth, .bin or .ckpt"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever a file that is none makes of the reader
        if "global" in str(error).lower():  # the name of a class or function
            raise ValueError(
                f"checkpoint {path} needs code to be read, which is not run: save"
                " model.state_dict(), best as safetensors"
            ) from None
        raise ValueError(f"checkpoint {path} is damaged: {first_line(error)}") from None


def _safetensors(path: Path) -> dict[str, Tensor]:
    path.open("rb").close()  # whatever is wrong with it, load_file would say that it is not there
    return load_file(path)


def _joined(path: Path, shards: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that an index maps to shards beside it."""
    for shard in shards.values():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise ValueError(f"checkpoint {path}: shards must lie beside the index, got {shard!r}")
    parts = {shard: _safetensors(path.with_name(shard)) for shard in dict.fromkeys(shards.values())}
    for name, shard in shards.items():
        if name not in parts[shard]:
            raise ValueError(f"checkpoint {path}: {name} is not in {shard}")
    return {name: parts[shard][name] for name, shard in shards.items()}


def _state_dict(found: Any) -> dict[str, Tensor] | None:
    """Tensors by name in what a file holds; None if there are none."""
    if not isinstance(found, Mapping) or not found:
        return None
    if all(isinstance(n, str) and isinstance(x, Tensor) for n, x in found.items()):
        return {name: tensor.detach() for name, tensor in found.items()}
    return next((_state_dict(found[key]) for key in WITHIN if key in found), None)


def _stripped(tensors: dict[str, Tensor]) -> Checkpoint:
    stripped: list[str] = []
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        stripped.append(prefix)
    return Checkpoint(tensors, tuple(stripped))


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"a mapping of {', '.join(map(str, list(found)[:5])) or 'nothing'}"
    return f"a {type(found).__name__}"
