"""Which code made a result: its commit, and a digest of the sources themselves."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from analysis.runs import schema

ROOT = Path(__file__).resolve().parents[2]


def _folder(package: str) -> str:
    """Where `package` is imported from; Ray unpacks each in a folder of its own."""
    spec = find_spec(package)
    return str(ROOT / package if spec is None or spec.origin is None else Path(spec.origin).parent)


# What decides numbers. The script of a sweep decides which trials there are; their fields say it.
PACKAGES = tuple(map(_folder, ("llfc", "sweeps", "analysis")))


def commit() -> str:
    """The commit of the code that runs, with `+changes` if it was edited since; or `unknown`.

    The sweep's script counts too: `ray submit` runs the file as it is on the disk, beside the
    packages as they were committed.
    """
    here = Path(__file__).parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        edited = bool(_git(here, "status", "--porcelain")) or _is_other(_script())
        return head + ("+changes" if edited else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@cache
def sources() -> str:
    """Sixteen hex digits of every Python file of the packages, as they are now."""
    digest = hashlib.blake2b(digest_size=8)
    for package in map(Path, PACKAGES):
        for path in sorted(package.rglob("*.py")):
            name = path.relative_to(package.parent).as_posix()
            digest.update(f"\0{name}\0".encode() + hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def other_code(provenance: Mapping[str, str]) -> dict[str, str]:
    """The tags of the code that runs here; empty if `provenance` names the same."""
    if sources() == provenance.get(schema.SOURCES, sources()):
        return {}
    return {schema.COMMIT: commit(), schema.SOURCES: sources()}


def _script() -> Path | None:
    """The file that Python was called with; None if it is none of a user's."""
    name = getattr(sys.modules["__main__"], "__file__", None)
    script = None if name is None else Path(name).resolve()
    return None if script is None or script.is_relative_to(sys.prefix) else script


def _is_other(script: Path | None) -> bool:
    """Whether `script` lies elsewhere than the packages and is not one of theirs."""
    if script is None or script.is_relative_to(ROOT):
        return False
    own = ROOT / "sweeps" / script.name
    return not (own.is_file() and own.read_bytes() == script.read_bytes())


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
