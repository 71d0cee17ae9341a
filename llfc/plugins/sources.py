"""The code of a plug-in: which files it is, their digest, and as text that travels.

The code is the file that was named and whatever it imports by statement, directly or through
others, at its top or within functions, as far as that lies beside it or elsewhere that is no place
of installed packages. Of an installed package that was named itself, its own modules count in the
same way. Of other installed packages the version counts; but neither that of llfc nor of what it
requires (REQUIRED), as for built-in networks.

What code reads from files, and modules that it imports in other ways, are not covered.
"""

import ast
import hashlib
import importlib.util
import json
import re
import sys
import tokenize
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path

from llfc.codec import from_plain
from llfc.oneline import in_one_line

OURS = frozenset({"llfc", "sweeps", "analysis"})
REQUIRED = frozenset(
    {"PIL", "filelock", "fsspec", "numpy", "rich", "safetensors", "scipy", "torch", "torchvision"}
)
INSTALLED = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code of a plug-in.

    Attributes:
        module: the module that was named.
        files: the text of each file, by its path relative to where imports begin.
        versions: `name==version` of installed packages that it imports.
        installed: whether the module is of an installed package, which has to be installed alike
            wherever it is used; otherwise the texts are all that is needed.
        paths: where the files lie on this machine; not part of what the code is.
    """

    module: str
    files: Mapping[str, str]
    versions: tuple[str, ...] = ()
    installed: bool = False
    paths: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def digest(self) -> str:
        """Sixteen hex digits of everything but the paths."""
        return hashlib.blake2b(self.to_text().encode(), digest_size=8).hexdigest()

    def to_text(self) -> str:
        """As text, without the paths; the same text for the same code."""
        content = {
            "module": self.module,
            "files": dict(self.files),
            "versions": list(self.versions),
            "installed": self.installed,
        }
        return json.dumps(content, sort_keys=True)

    @staticmethod
    def from_text(text: str) -> "Source":
        """What `to_text` wrote.

        Raises:
            ValueError: if it is no such text.
        """
        return from_plain(Source, json.loads(text))

    def file_of(self, module: str) -> str | None:
        """The file of `module`; empty for a package without a file, None if it is not here."""
        path = module.replace(".", "/")
        for name in (f"{path}.py", f"{path}/__init__.py"):
            if name in self.files:
                return name
        return "" if any(name.startswith(f"{path}/") for name in self.files) else None


def of_file(path: Path) -> Source:
    """The code of the file at `path`.

    Raises:
        ValueError: if it, or a file that it imports, cannot be read or has a syntax error.
    """
    module = re.sub(r"\W", "_", path.stem)
    return _Collection(module, path.parent, {module: path}).source()


def of_module(module: str) -> Source:
    """The code of an importable module, looked for in the current folder first.

    Raises:
        ValueError: if there is no such module, or one of its files cannot be read.
    """
    return _Collection(module, Path.cwd(), {}).source()


class _Collection:
    """The files that a module imports, found breadth first."""

    def __init__(self, module: str, folder: Path, known: Mapping[str, Path]) -> None:
        self.module, self.folder, self.known = module, folder, known
        self.top = module.partition(".")[0]
        self.files: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        self.foreign: set[str] = set()
        self._tops: dict[str, ModuleSpec | None] = {}
        found = None if module in known else self._top(self.top)
        self.installed = found is not None and _of_installed(found)

    def source(self) -> Source:
        """All of it."""
        self._collect(self.module)
        if not any(map(self._is_main, self.files)):
            raise ValueError(
                f"there is no module {self.module!r} in {self.folder} or among what Python finds"
            )
        return Source(
            module=self.module,
            files=dict(sorted(self.files.items())),
            versions=_versions(self.foreign),
            installed=self.installed,
            paths=self.paths,
        )

    def _is_main(self, name: str) -> bool:
        path = self.module.replace(".", "/")
        return name in (f"{path}.py", f"{path}/__init__.py")

    def _collect(self, module: str) -> None:
        waiting, seen = deque(_with_parents(module)), set()
        while waiting:
            name = waiting.popleft()
            if name in seen:
                continue
            seen.add(name)
            found = self._find(name)
            if found is None:
                continue
            path, is_package = found
            key = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
            self.files[key], self.paths[key] = _text(path), str(path)
            waiting.extend(_imported(self.files[key], path, name, is_package=is_package))

    def _find(self, name: str) -> tuple[Path, bool] | None:
        """The file of the module `name` and whether it is a package; None if it is not covered."""
        if name in self.known:
            return self.known[name], False
        top, *rest = name.split(".")
        if top in sys.stdlib_module_names or top in OURS:
            return None
        spec = self._top(top)
        if spec is None:
            return None
        if _of_installed(spec) and not (self.installed and top == self.top):
            self.foreign.add(top)
            return None
        full = top
        for part in rest:
            full = f"{full}.{part}"
            spec = PathFinder.find_spec(full, spec.submodule_search_locations or [])
            if spec is None:
                return None
        if spec.origin is None or not spec.origin.endswith(".py"):
            return None
        return Path(spec.origin), spec.submodule_search_locations is not None

    def _top(self, name: str) -> ModuleSpec | None:
        """Where the module or package `name` is: beside, or where Python finds it."""
        if name not in self._tops:
            importlib.invalidate_caches()  # a folder that was written just now looks unchanged
            beside = PathFinder.find_spec(name, [str(self.folder)])
            self._tops[name] = beside or _importable(name)
        return self._tops[name]


def _importable(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # of what was loaded without a spec
        return None


def is_installed(path: Path) -> bool:
    """Whether a file is of an installed package."""
    return bool(INSTALLED.intersection(path.parts))


def _of_installed(spec: ModuleSpec) -> bool:
    """Whether a module is of an installed package, or built into the interpreter."""
    places = [spec.origin or "", *(spec.submodule_search_locations or [])]
    return spec.origin in ("built-in", "frozen") or any(is_installed(Path(p)) for p in places)


def _text(path: Path) -> str:
    """The text of a file of Python, if it is one."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no text of Python: {in_one_line(error)}") from None


def _imported(text: str, path: Path, name: str, *, is_package: bool) -> Iterator[str]:
    """Every module that the file may import, parents first, by its full name."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} cannot be parsed: {in_one_line(error)}") from None
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _base(package, node.level, node.module)
            yield from _with_parents(base)
            for alias in node.names:
                yield ".".join(filter(None, (base, alias.name)))


def _base(package: str, level: int, module: str | None) -> str:
    """What `from ... import` names, as a full name."""
    parts = package.split(".") if level and package else []
    parts = parts[: len(parts) - max(level - 1, 0)]
    return ".".join(filter(None, (*parts, module)))


def _with_parents(name: str) -> Sequence[str]:
    parts = name.split(".") if name else []
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _versions(tops: set[str]) -> tuple[str, ...]:
    """`name==version` of what provides these top-level modules."""
    wanted = tops - REQUIRED
    if not wanted:
        return ()
    providers = packages_distributions()
    found = {provider for top in wanted for provider in providers.get(top, ())}
    return tuple(sorted(f"{name}=={version(name)}" for name in found))
