"""Modules from the texts of a plug-in, under names of their own.

What is run is the text that the digest is of, in every process: not what has become of the file
meanwhile, nor another module that is called the same. Each plug-in's modules are in a package that
is named after the digest, so that several versions of one file can be loaded side by side.
"""

import builtins
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

from llfc.plugins.sources import Source

PREFIX = "llfc_plugin_"


def load(source: Source, *, in_place: bool = False) -> ModuleType:
    """The module that `source` names, run once per process.

    Args:
        source: its code.
        in_place: whether its modules are told where their files lie (`__file__`), and so find what
            lies beside them; otherwise they are told a place that does not exist, on no machine.
    """
    if source.installed:
        return importlib.import_module(source.module)
    package = f"{PREFIX}{source.digest}{'_in_place' if in_place else ''}"
    if package not in _FINDER.loaders:
        _FINDER.loaders[package] = _Loader(package, source, in_place)
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)
    return importlib.import_module(f"{package}.{source.module}")


class _Finder(MetaPathFinder):
    """Finds the modules of every plug-in that was loaded."""

    def __init__(self) -> None:
        self.loaders: dict[str, _Loader] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = self.loaders.get(fullname.partition(".")[0])
        if loader is None or not loader.has(fullname):
            return None
        return spec_from_loader(fullname, loader, is_package=loader.is_package(fullname))


_FINDER = _Finder()


class _Loader(ExecutionLoader):
    """Gives the modules of one plug-in their texts."""

    def __init__(self, package: str, source: Source, in_place: bool) -> None:
        self._package, self._source, self._in_place = package, source, in_place
        own = {name.partition("/")[0].removesuffix(".py") for name in source.files}
        self._builtins: Mapping[str, Any] = {
            **vars(builtins),
            "__import__": _importer(package, own),
        }

    def has(self, fullname: str) -> bool:
        """Whether the plug-in has such a module."""
        return self._file(fullname) is not None

    def is_package(self, fullname: str) -> bool:
        return not (self._file(fullname) or "").endswith(".py") or self.get_filename(
            fullname
        ).endswith("__init__.py")

    def get_source(self, fullname: str) -> str:
        return self._source.files.get(self._file(fullname) or "", "")

    def get_filename(self, fullname: str) -> str:
        file = self._file(fullname) or "__init__.py"
        place = f"{self._package}/{file}"
        return self._source.paths.get(file, place) if self._in_place else place

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._builtins
        super().exec_module(module)

    def _file(self, fullname: str) -> str | None:
        name = fullname.partition(".")[2]
        return self._source.file_of(name) if name else ""


def _importer(package: str, own: set[str]) -> Callable[..., Any]:
    """What `import` calls in a plug-in: names of its own modules are of those in its package."""

    def importer(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in own:
            return __import__(name, globals, locals, fromlist or (), level)
        found = __import__(f"{package}.{name}", globals, locals, fromlist or (), 0)
        return found if fromlist else sys.modules[f"{package}.{top}"]

    return importer
