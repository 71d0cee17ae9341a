"""Trained networks and results under the fingerprint of what made them.

A file is written beside its place and renamed into it, so a reader never sees half of one, and
carries a checksum, so a reader never takes a damaged one for a whole. Two workers that make the
same thing lose time, never truth.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from llfc.specs import Network, fingerprint, to_plain

NETWORKS, STATES = "networks", "states"
ABANDONED = 24 * 3600  # seconds after which a temporary file is a killed process's


class StoreWarning(UserWarning):
    """A file of the store was damaged; it was set aside, and counts as absent."""


class Store:
    """A folder of trained networks, training states and results.

    Attributes:
        root: the folder; made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._checked: set[tuple[Path, int, int]] = set()

    def check_writable(self) -> None:
        """Say now, rather than when something is finished, that nothing can be written here.

        Raises:
            ValueError: if a file cannot be made in the folder.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"store: {self.root} cannot be written: {reason}") from None

    def has(self, network: Network) -> bool:
        """Whether `network` is here, trained to the end and whole."""
        return self.has_tensors(NETWORKS, fingerprint(network))

    def save_network(self, network: Network, weights: Mapping[str, Tensor]) -> None:
        """Keep the final state dict of `network`."""
        self.put_tensors(NETWORKS, fingerprint(network), weights, to_plain(network))

    def load_weights(self, network: Network) -> dict[str, Tensor] | None:
        """The final state dict of `network`, on the CPU; None if it is not here."""
        return self.get_tensors(NETWORKS, fingerprint(network))

    def has_tensors(self, kind: str, name: str) -> bool:
        """Whether `kind/name` is here and whole; a whole file is read once, not every time."""
        path = self._path(kind, name, "safetensors")
        mark = _mark(path)
        if mark is not None and mark in self._checked:
            return True
        return self.get_tensors(kind, name) is not None

    def put_tensors(
        self, kind: str, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
    ) -> None:
        """Keep named tensors, and what made them.

        Raises:
            ValueError: if the folder cannot be written, or its disk is full.
        """
        whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        text = json.dumps(record, sort_keys=True)
        # One entry: safetensors writes several in an order that differs from process to process.
        metadata = {"llfc": json.dumps([_checksum(whole, text), text])}
        self._write(self._path(kind, name, "safetensors"), tensors_to_bytes(whole, metadata))

    def get_tensors(self, kind: str, name: str) -> dict[str, Tensor] | None:
        """The tensors kept as `kind/name`; None if they are not here, or damaged."""
        path = self._path(kind, name, "safetensors")
        mark = _mark(path)
        raw = self._read(path)
        if raw is None:
            return None
        try:
            size = int.from_bytes(raw[:8], "little")
            checksum, text = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["llfc"])
            tensors = tensors_from_bytes(raw)
            whole = checksum == _checksum(tensors, text)
        except Exception:  # whatever a damaged file makes of the reader, it is damaged
            whole = False
        if not whole:
            self.set_aside(path, "its checksum does not match its content")
            return None
        if mark is not None:
            self._checked.add(mark)
        return tensors

    def put_text(self, kind: str, name: str, text: str) -> None:
        """Keep `text`.

        Raises:
            ValueError: if the folder cannot be written, or its disk is full.
        """
        content = text.encode()
        self._write(self._path(kind, name, "txt"), _digest(content).encode() + b"\n" + content)

    def get_text(self, kind: str, name: str) -> str | None:
        """The text kept as `kind/name`; None if it is not here, or damaged."""
        path = self._path(kind, name, "txt")
        raw = self._read(path)
        if raw is None:
            return None
        digest, _, content = raw.partition(b"\n")
        if digest != _digest(content).encode():
            self.set_aside(path, "its checksum does not match its content")
            return None
        return content.decode()

    def names(self, kind: str) -> list[str]:
        """What is kept under `kind`, sorted; not checked."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        kept = (path for path in folder.iterdir() if path.suffix in (".safetensors", ".txt"))
        return sorted(path.stem for path in kept)

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename a damaged file to `*.damaged-N`, and warn."""
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        try:
            path.rename(aside)
        except FileNotFoundError:  # another worker was first
            return
        except OSError as error:
            raise ValueError(f"store: {path} is damaged and cannot be set aside: {error}") from None
        warnings.warn(f"store: {path} set aside as {aside.name}: {reason}", StoreWarning, 2)

    def _path(self, kind: str, name: str, suffix: str) -> Path:
        return self.root / kind / f"{name}.{suffix}"

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.set_aside(path, error.strerror or str(error))
            return None

    def _write(self, path: Path, content: bytes) -> None:
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            try:
                with beside.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                if path.is_dir():
                    self.set_aside(path, "it is a folder")
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(f"store: {path} cannot be written: {reason}") from None


def _mark(path: Path) -> tuple[Path, int, int] | None:
    """What changes whenever the file at `path` does; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return path, found.st_mtime_ns, found.st_size


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # its writer has renamed it meanwhile
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink(missing_ok=True)


def _checksum(tensors: Mapping[str, Tensor], record: str) -> str:
    """A digest of the record and of every tensor's name, type, shape and bytes."""
    digest = hashlib.blake2b(record.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
