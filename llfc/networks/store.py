"""Trained networks, results and figures under the fingerprint of what made them.

A file is written whole or not at all, so a reader never sees half of one, and carries a checksum,
so a damaged file is detected when read. Two workers that compute the same thing waste time but do
no harm.
"""

import contextlib
import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from llfc.codec import to_plain
from llfc.networks.files import files_at
from llfc.specs import Network, fingerprint

NETWORKS, STATES = "networks", "states"
SUFFIXES = ("safetensors", "txt")


class StoreWarning(UserWarning):
    """A file of the store was damaged; it was quarantined, and counts as absent."""


class Store:
    """A place for trained networks, training states and results.

    Args:
        root: a folder, made when something is first written; or a URI that fsspec knows, such as
            `s3://bucket/folder`.

    Raises:
        ValueError: if the URI cannot be used here.
    """

    def __init__(self, root: Path | str) -> None:
        self._files = files_at(root)
        self._checked: set[tuple[str, Any]] = set()

    @property
    def root(self) -> Path | str:
        """The folder or URI under which everything is."""
        return self._files.root

    def check_writable(self) -> None:
        """Check that the store is writable, before hours are spent on results to write.

        Raises:
            ValueError: if a file cannot be made.
        """
        try:
            self._files.check_writable()
        except OSError as error:
            raise ValueError(f"store: {self.root} cannot be written: {_reason(error)}") from None

    def has(self, network: Network) -> bool:
        """Whether `network` is here, trained to the end and whole."""
        return self.has_tensors(NETWORKS, fingerprint(network))

    def save_network(self, network: Network, weights: Mapping[str, Tensor]) -> None:
        """Store the final state dict of `network`."""
        self.put_tensors(NETWORKS, fingerprint(network), weights, to_plain(network))

    def load_weights(self, network: Network) -> dict[str, Tensor] | None:
        """The final state dict of `network`, on the CPU; None if it is not here."""
        return self.get_tensors(NETWORKS, fingerprint(network))

    def has_tensors(self, kind: str, name: str) -> bool:
        """Whether `kind/name` is here and whole; a whole file is read once, not every time."""
        path = _path(kind, name, "safetensors")
        mark = self._files.mark(path)
        if mark is not None and (path, mark) in self._checked:
            return True
        return self.get_tensors(kind, name) is not None

    def put_tensors(
        self, kind: str, name: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
    ) -> None:
        """Store named tensors, and what made them.

        Raises:
            ValueError: if the folder cannot be written, or its disk is full.
        """
        whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        text = json.dumps(record, sort_keys=True)
        # One entry: safetensors writes several in an order that differs from process to process.
        metadata = {"llfc": json.dumps([_checksum(whole, text), text])}
        self._write(_path(kind, name, "safetensors"), tensors_to_bytes(whole, metadata))

    def get_tensors(self, kind: str, name: str) -> dict[str, Tensor] | None:
        """The tensors stored as `kind/name`; None if they are not here, or damaged."""
        path = _path(kind, name, "safetensors")
        mark = self._files.mark(path)
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
            self.quarantine(path, "its checksum does not match its content")
            return None
        if mark is not None:
            self._checked.add((path, mark))
        return tensors

    def put_text(self, kind: str, name: str, text: str) -> None:
        """Store `text`.

        Raises:
            ValueError: if the folder cannot be written, or its disk is full.
        """
        content = text.encode()
        self._write(_path(kind, name, "txt"), _digest(content).encode() + b"\n" + content)

    def get_text(self, kind: str, name: str) -> str | None:
        """The text stored as `kind/name`; None if it is not here, or damaged."""
        path = _path(kind, name, "txt")
        raw = self._read(path)
        if raw is None:
            return None
        digest, _, content = raw.partition(b"\n")
        if digest != _digest(content).encode():
            self.quarantine(path, "its checksum does not match its content")
            return None
        return content.decode()

    def has_text(self, kind: str, name: str) -> bool:
        """Whether `kind/name` is here, whatever it says: it is not read, nor quarantined.

        Raises:
            ValueError: if the place does not answer.
        """
        path = _path(kind, name, "txt")
        try:
            return self._files.exists(path)
        except OSError as error:
            raise ValueError(
                f"store: {self.root}/{path} cannot be accessed: {_reason(error)}"
            ) from None

    def put_files(self, kind: str, name: str, files: Mapping[str, bytes]) -> None:
        """Store the contents of small files, by their names, as one.

        Raises:
            ValueError: if the folder cannot be written, or its disk is full.
        """
        arrays = {file: np.frombuffer(content, np.uint8) for file, content in files.items()}
        tensors = {file: torch.from_numpy(array.copy()) for file, array in arrays.items()}
        self.put_tensors(kind, name, tensors, {})

    def get_files(self, kind: str, name: str) -> dict[str, bytes] | None:
        """The files stored as `kind/name`; None if they are not here, or damaged."""
        tensors = self.get_tensors(kind, name)
        if tensors is None or any(tensor.dtype != torch.uint8 for tensor in tensors.values()):
            return None
        return {file: tensor.numpy().tobytes() for file, tensor in tensors.items()}

    def quarantine_text(self, kind: str, name: str, reason: str) -> None:
        """Quarantine a text whose content is invalid: rename it and warn.

        Raises:
            ValueError: if it cannot be renamed.
        """
        self.quarantine(_path(kind, name, "txt"), reason)

    def remove(self, kind: str, name: str) -> None:
        """Remove `kind/name` if it exists and can be removed."""
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):
                self._files.remove(_path(kind, name, suffix))

    def remove_unfinished(self, kind: str, name: str) -> None:
        """Remove what processes that were killed while they wrote `kind/name` have left of it.

        A process that is writing it now finds that it cannot.
        """
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):
                self._files.remove_unfinished(_path(kind, name, suffix))

    def names(self, kind: str) -> list[str]:
        """What is stored under `kind`, sorted; not checked.

        Raises:
            ValueError: if the folder cannot be read.
        """
        try:
            found = self._files.names(kind)
        except OSError as error:
            raise ValueError(
                f"store: {self.root}/{kind} cannot be accessed: {_reason(error)}"
            ) from None
        stored = (name.rpartition(".") for name in found)
        return sorted(stem for stem, _, suffix in stored if suffix in SUFFIXES)

    def quarantine(self, path: str, reason: str) -> None:
        """Rename a damaged file to `*.damaged-N`, and warn.

        Raises:
            ValueError: if it cannot be renamed.
        """
        number = 1
        while self._files.exists(aside := f"{path}.damaged-{number}"):
            number += 1
        try:
            self._files.move(path, aside)
        except FileNotFoundError:  # another worker was first
            return
        except OSError as error:
            raise ValueError(
                f"store: {self.root}/{path} is damaged and cannot be quarantined: {_reason(error)}"
            ) from None
        name = aside.rpartition("/")[2]
        warnings.warn(f"store: {self.root}/{path} quarantined as {name}: {reason}", StoreWarning, 2)

    def _read(self, path: str) -> bytes | None:
        try:
            return self._files.read(path)
        except OSError as error:
            self.quarantine(path, _reason(error))
        except MemoryError:
            self.quarantine(path, "it is larger than the memory")
        return None

    def _write(self, path: str, content: bytes) -> None:
        try:
            if self._files.is_folder(path):
                self.quarantine(path, "it is a folder")
            self._files.write(path, content)
        except OSError as error:
            reason = _reason(error)
            raise ValueError(f"store: {self.root}/{path} cannot be written: {reason}") from None


def _path(kind: str, name: str, suffix: str) -> str:
    return f"{kind}/{name}.{suffix}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


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
