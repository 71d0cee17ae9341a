"""Whether `ray up` would take a cluster file, before it tries: Ray itself ends in a traceback."""

import importlib.util
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

# What the files of this repository ask to be edited.
PLACEHOLDERS = {
    "tracking.example": "where your MLflow listens",
    "fs-0123456789abcdef0": "your file system",
    "ami-0123456789abcdef0": "an image of your region",
    "my-project": "your project",
}
SSH = 22
# Seconds in which a machine must answer.
PATIENCE = 3.0


def check_cluster_file(path: Path) -> list[str]:
    """What is to be changed before `ray up`, a line each.

    Looked at are Ray's own schema, what was left to edit, the files that are named (the ssh key,
    the token, what is copied), and of machines that are listed whether they answer on port 22.

    Raises:
        ValueError: It is no mapping in YAML.
        OSError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from None
    config = _parsed(path, text)
    provider = config.get("provider")
    return [
        *_left(text),
        *_against_schema(config),
        *_missing_files(config),
        *_silent(provider if isinstance(provider, dict) else {}),
    ]


def _parsed(path: Path, text: str) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must be a mapping of Ray's keys, not {type(config).__name__}")
    return config


def _left(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for mark, what in PLACEHOLDERS.items():
            if re.search(rf"(?<![\w-]){re.escape(mark)}(?![\w-])", line):
                yield f"line {number}: {mark} is to be replaced by {what}"


def _against_schema(config: Mapping[str, Any]) -> Iterator[str]:
    """What Ray's schema of cluster files refuses; read without importing Ray."""
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    schema = json.loads((Path(ray.origin).parent / "autoscaler/ray-schema.json").read_text())
    for error in Draft7Validator(schema).iter_errors(config):
        yield f"{'.'.join(map(str, error.path)) or 'its keys'}: {error.message}"


def _missing_files(config: Mapping[str, Any]) -> Iterator[str]:
    """Of `file_mounts` and the ssh key, what is not on this machine."""
    auth, mounts = config.get("auth"), config.get("file_mounts")
    named = dict(mounts) if isinstance(mounts, dict) else {}
    if isinstance(auth, dict):
        named["ssh_private_key"] = auth.get("ssh_private_key")
    for key, name in named.items():
        if isinstance(name, str) and not os.path.exists(os.path.expanduser(name)):
            yield f"{key}: {name} does not exist{_remedy(name)}"


def _remedy(name: str) -> str:
    if name.endswith("auth_token"):
        return "; `ray get-auth-token --generate` makes it"
    if name == ".git":
        return "; `ray up` is typed in the repository's folder"
    return ""


def _silent(provider: Mapping[str, Any]) -> Iterator[str]:
    """Of a provider's listed machines, those without an ssh server."""
    others = provider.get("worker_ips")
    for host in [provider.get("head_ip"), *(others if isinstance(others, list) else [])]:
        if not isinstance(host, str):
            continue
        try:
            with socket.create_connection((host, SSH), timeout=PATIENCE) as connection:
                if connection.recv(4) == b"SSH-":  # a server of ssh speaks first
                    continue
                why = "what answers is no ssh server"
        except OSError as error:
            why = error.strerror or str(error)
        yield f"{host} does not answer on port {SSH}: {why}"
