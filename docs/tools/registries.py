"""A page for each entry of a registry, made from the docstring of its function.

Registries are literals, so they are read from their source, without importing PyTorch: what is in
the literal has a page, and nothing else has.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Entry:
    """A name in a registry, and the function that it stands for.

    Attributes:
        name: as it is typed.
        module: the module that defines the function.
        function: its name there.
        summary: the first line of its docstring.
    """

    name: str
    module: str
    function: str
    summary: str

    @property
    def path(self) -> str:
        """The identifier that mkdocstrings knows the function by."""
        return f"{self.module}.{self.function}"


@dataclass(frozen=True)
class Registry:
    """A literal that maps names to functions, and how its pages begin.

    Attributes:
        title: of the page that lists them; its folder on the site is its lower case.
        module: where the literal is.
        literal: its name there.
        option: what chooses an entry, in Python and in a sweep.
        introduction: what an entry is.
    """

    title: str
    module: str
    literal: str
    option: str
    introduction: str

    @property
    def folder(self) -> str:
        return self.title.lower()


REGISTRIES = (
    Registry(
        "Matchers",
        "llfc.matching.matchers",
        "MATCHERS",
        "matching",
        "A matcher finds the map of B's units that brings B closest to A without changing its"
        " function: `llfc.match(NAME, a, b, spec)`, `llfc.connect(..., matching=NAME)`,"
        " `--matching NAME`, where options may follow the name, as in `weights:effort=4`. Which one"
        " to take: [How to choose](../choosing.md). What a matching is:"
        " [Matching](../concepts/matching.md).",
    ),
    Registry(
        "Measures",
        "llfc.connectivity.measures.registry",
        "MEASURES",
        "measures",
        "Loss, error and the LLFC error of every layer are always measured. A measure adds to them:"
        " `llfc.connect(..., measures=[NAME, ...])`, `--measures NAME ...`. Each states its cost in"
        " forward passes over the test data, of which the walk itself takes as many as there are"
        " positions, and two more where a"
        " correction changes the ends.",
    ),
    Registry(
        "Corrections",
        "llfc.connectivity.corrections",
        "CORRECTIONS",
        "correction",
        "A correction gives each network on the line activation statistics of its own:"
        " `llfc.connect(..., correction=NAME)`, `--correction NAME`. What it is for, and what of"
        " the ends: [Corrections](../concepts/corrections.md).",
    ),
)


def entries(registry: Registry) -> list[Entry]:
    """What the registry's literal holds, in its order."""
    tree = _parsed(registry.module)
    imported = {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = []
    for key, value in _literal(tree, registry.literal).items():
        module, function = imported.get(value, (registry.module, value))
        module = _defining(module, function)
        found.append(Entry(key, module, function, _summary(module, function)))
    return found


def pages() -> dict[str, str]:
    """The Markdown of every page, by its path in the site's sources."""
    found = {}
    for registry in REGISTRIES:
        listed = entries(registry)
        found[f"{registry.folder}/index.md"] = _overview(registry, listed)
        for entry in listed:
            found[f"{registry.folder}/{entry.name}.md"] = _page(registry, entry)
    return found


def page_of_sources() -> Mapping[str, str]:
    """The page of each source file that has one; a registry's overview, or the first entry's."""
    found = {str(_file(registry.module)): f"{registry.folder}/index.md" for registry in REGISTRIES}
    for registry in REGISTRIES:
        for entry in entries(registry):
            found.setdefault(str(_file(entry.module)), f"{registry.folder}/{entry.name}.md")
    return found


def _overview(registry: Registry, listed: list[Entry]) -> str:
    rows = [f"| [`{entry.name}`]({entry.name}.md) | {entry.summary} |" for entry in listed]
    table = "\n".join(["| name | what it is |", "|---|---|", *rows])
    return f"# {registry.title}\n\n{registry.introduction}\n\n{table}\n"


def _page(registry: Registry, entry: Entry) -> str:
    options = "\n".join(
        f"      {line}" for line in ("show_root_heading: false", "show_root_toc_entry: false")
    )
    return (
        f"---\ntitle: {entry.name}\n---\n\n# `{entry.name}`\n\n"
        f'`{registry.option}="{entry.name}"` is `{entry.path}`.\n\n'
        f"::: {entry.path}\n    options:\n{options}\n"
    )


def _file(module: str) -> Path:
    """Where a module is, from the repository's root."""
    path = Path(*module.split("."))
    package = path / "__init__.py"
    return package if (ROOT / package).is_file() else path.with_suffix(".py")


def _parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / _file(module)).read_text())


def _literal(tree: ast.Module, name: str) -> dict[str, str]:
    """The names of functions by key in the dict literal that is assigned to `name`.

    Raises:
        ValueError: if there is none.
    """
    for node in tree.body:
        value = node.value if isinstance(node, ast.AnnAssign | ast.Assign) else None
        target = getattr(node, "target", None) or getattr(node, "targets", [None])[0]
        if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Dict):
            return {
                ast.literal_eval(key): function.id
                for key, function in zip(value.keys, value.values, strict=True)
                if key is not None and isinstance(function, ast.Name)
            }
    raise ValueError(f"no dict literal {name} in its module")


def _defining(module: str, function: str) -> str:
    """The module whose source defines what `module` gives as `function`."""
    for node in _parsed(module).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == function:
                    return _defining(node.module, alias.name)
    return module


def _summary(module: str, function: str) -> str:
    for node in _parsed(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
    raise ValueError(f"{module} defines no function {function}")
