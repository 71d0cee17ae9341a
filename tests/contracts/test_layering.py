"""Imports point one way, between folders and between files, at the top of a file or within it."""

import functools
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers.source_files import ROOT, imports, modules

# Places, from the ground up: a folder, which stands for all in it that has no place of its own, or
# a file. A place may import those of earlier lines; within a place, files may have no circle.
LAYERS = """
llfc.names llfc.oneline llfc.seeds llfc.atomic llfc.codec llfc.devices llfc.progress
llfc.plugins llfc.specs llfc.results
llfc.modules.copies llfc.modules.inputs llfc.modules.hooks llfc.modules.modes llfc.modules.reals
llfc.modules.outputs
llfc.modules
llfc.tasks
llfc.data.batches llfc.data.downloads llfc.data.imagelayout llfc.data.assets
llfc.data.splits
llfc.data.imagefolder llfc.data.images llfc.data.sequences llfc.data.rows
llfc.data.text
llfc.data.tokens
llfc.data
llfc.networks.families llfc.networks.files
llfc.networks.architectures llfc.networks.store
llfc.networks
llfc.symmetry.spec
llfc.symmetry.transform llfc.symmetry.layouts
llfc.symmetry.rules
llfc.symmetry.graph
llfc.symmetry.groups
llfc.symmetry.kinds
llfc.symmetry
llfc.matching.taps
llfc.matching.overlap
llfc.matching.record llfc.matching.ascent
llfc.matching
llfc.connectivity.probes
llfc.connectivity
llfc.connectivity.corrections
llfc.connectivity.measures.shuffled
llfc.connectivity.measures.conditions llfc.connectivity.measures.replay
llfc.connectivity.measures
llfc.basis
llfc.connection
llfc.trial llfc.merging
llfc.plugins.rehearsal
llfc
llfc.command.inputs llfc.command.samples llfc.command.pair
llfc.command.networks
llfc.command.checkpoints
llfc.command.setting
llfc.command
llfc.__main__
analysis.runs.schema analysis.runs.params analysis.runs.files analysis.runs.database
analysis.runs.columns analysis.runs.frames analysis.runs.grid analysis.runs.server
analysis.runs
analysis.statistics
analysis.reference.numbers
analysis.answers
analysis.figures.style
analysis.figures
analysis.page.provenance
analysis.page.sections
analysis.page
analysis.reference.verification
analysis
sweeps.grid.sweep
sweeps.grid
sweeps.record
sweeps.run.plan sweeps.run.pool
sweeps.search
sweeps.run
sweeps.forecast
sweeps.cli
sweeps
"""
# Of the science, the answers know what was run and what was found, and nothing of how.
KNOWN_TO_ANALYSIS = {
    f"llfc.{name}" for name in "specs results names oneline seeds atomic codec".split()
}
# Imports within a function are for what takes long to import and is not always wanted.
HEAVY = {"ray", "mlflow", "numpy", "pandas", "matplotlib", "torchvision", "torch", "sqlalchemy"}
# A heavy or stateful dependency is imported in one place.
DOORS = {
    "ray": {"sweeps.run.engine", "sweeps.run.launch"},
    "grpc": {"sweeps.run.engine"},
    "mlflow": {
        "sweeps.record.one_run",
        "sweeps.record.network_runs",
        "sweeps.record.tracking",
        "sweeps.record.tracking_store",
        "analysis.runs.mlflow",
    },
    "torchvision": {"llfc.command.networks", "llfc.data.downloads", "llfc.symmetry.coverage"},
    "pandas": {"analysis"},
}
FORBIDDEN = {"pickle", "dill", "joblib"}


def ours(path: Path) -> list[tuple[str, bool]]:
    """The modules of ours that a file imports."""
    return [(name, at_top) for name, at_top in imports(path) if name in modules()]


def is_in(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")


@functools.cache
def ranks() -> dict[str, int]:
    """The line of LAYERS that each place is in."""
    lines = enumerate(LAYERS.strip().splitlines())
    return {place: rank for rank, line in lines for place in line.split()}


def place_of(module: str) -> str:
    """The place that holds `module`: the closest that has a line in LAYERS."""
    place = module
    while place and place not in ranks():
        place = place.rpartition(".")[0]
    assert place, f"{module} has no place in LAYERS"
    return place


def wrong_ways(edges: dict[str, list[str]]) -> list[str]:
    """Imports that do not point to an earlier line, and circles within a place."""
    rank = ranks()
    found, within = [], TopologicalSorter[str]()
    for module, names in edges.items():
        for name in names:
            here, there = place_of(module), place_of(name)
            if here == there:
                within.add(module, name)
            elif rank[there] >= rank[here]:
                found.append(f"{module} imports {name}")
    try:
        within.prepare()
    except CycleError as error:
        found.append("circle: " + " imports ".join(reversed(error.args[1])))
    return found


@functools.cache
def edges() -> dict[str, list[str]]:
    return {m: [name for name, _ in ours(path) if name != m] for m, path in modules().items()}


def test_imports_point_to_earlier_layers():
    assert wrong_ways(edges()) == []


def test_every_place_is_there():
    assert [place for place in ranks() if place not in modules()] == []


@pytest.mark.parametrize(
    "more",
    [
        {"llfc.names": ["llfc.trial"]},  # from the ground up
        {"llfc.specs": ["llfc.results"]},  # within a line
        {"llfc.modules.copies": ["llfc.modules.alike"]},  # a circle of two, within a folder
        {"llfc.matching.overlap.assignment": ["llfc.matching"]},  # out of a folder that it is in
        {"analysis.runs.stored": ["analysis.answers.exports"]},  # between folders
        {"sweeps.grid.settings": ["sweeps.run.study"]},
    ],
)
def test_an_import_the_wrong_way_is_seen(more):
    with_more = {m: [*names, *more.get(m, [])] for m, names in edges().items()}
    assert wrong_ways(with_more)


def test_at_least_two_thirds_of_all_imports_have_an_order():
    ordered = [place_of(m) != place_of(name) for m, names in edges().items() for name in names]
    assert sum(ordered) >= 2 / 3 * len(ordered), f"{sum(ordered)} of {len(ordered)}"


def test_rooms_have_at_most_a_dozen_files():
    counts: dict[str, int] = {}
    for path in modules().values():
        if not path.name.startswith("__"):
            counts[str(path.parent)] = counts.get(str(path.parent), 0) + 1
    assert {folder: count for folder, count in counts.items() if count > 12} == {}


@functools.cache
def needs(module: str) -> frozenset[str]:
    """Names of all that is imported when `module` is."""
    names = {name for name, at_top in imports(modules()[module]) if at_top}
    return frozenset(names).union(*(needs(name) for name in names if name in modules()))


def test_what_is_imported_within_a_function_is_heavy():
    for module, path in modules().items():
        for name, at_top in ours(path):
            tops = {needed.split(".")[0] for needed in needs(name)}
            assert at_top or tops & HEAVY, f"{module} imports {name} within a function"


def test_analysis_knows_records_alone():
    for module in filter(lambda module: is_in(module, "analysis"), modules()):
        science = {name for name in edges()[module] if is_in(name, "llfc")}
        # What is verified is trained and measured anew.
        assert science <= KNOWN_TO_ANALYSIS or module == "analysis.reference.verification", module


def test_heavy_dependencies_have_one_door():
    for module, path in modules().items():
        for name, at_top in imports(path):
            top = name.split(".")[0]
            assert top not in FORBIDDEN, f"{module} imports {name}"
            if top in DOORS:
                assert any(is_in(module, door) for door in DOORS[top]), f"{module} imports {name}"
            if top == "torchvision":
                assert not at_top, f"{module} imports torchvision when it is itself imported"


@pytest.mark.slow
def test_a_notebook_that_imports_llfc_waits_for_nothing_it_does_not_use():
    code = "import llfc, sys; print(*({*sys.argv[1:]} & sys.modules.keys()))"
    heavy = ["ray", "mlflow", "pandas", "torchvision", "matplotlib"]
    said = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ""


def test_the_architecture_page_has_every_room():
    """Folders of the tree in `docs/architecture.md`, by their indentation, and those there are."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    open_folders, found = [], set()
    for line in text.split("```")[1].splitlines():
        name = line.strip().partition(" ")[0]
        depth = (len(line) - len(line.lstrip())) // 2
        if name.endswith("/"):
            open_folders[depth:] = [name.rstrip("/")]
            found.add(".".join(open_folders))
    rooms = {module for module, path in modules().items() if path.name == "__init__.py"}
    assert {name for name in found if name.split(".")[0] in ("llfc", "analysis", "sweeps")} == {
        *rooms,
        "analysis.notebooks",
        "sweeps.cluster",
    }
    assert all((ROOT / name.replace(".", "/")).is_dir() for name in found)
