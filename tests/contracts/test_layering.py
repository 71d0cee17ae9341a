"""Imports point one way: a module may import modules of earlier layers, or of its own folder."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A package stands for all its modules. Modules in one layer do not import one another.
LAYERS = [
    [
        "llfc.devices",
        "llfc.modules.imageaxis",
        "llfc.names",
        "llfc.oneline",
        "llfc.reals",
        "llfc.seeds",
        "llfc.atomic",
        "llfc.codec",
    ],
    [
        "llfc.modules.copies",
        "llfc.modules.differences",
        "llfc.modules.hooks",
        "llfc.modules.inputs",
    ],
    ["llfc.modules.alike", "llfc.modules.checks", "llfc.modules.sites"],
    ["llfc.modules"],
    ["llfc.symmetry"],
    ["llfc.specs", "llfc.results"],
    ["llfc.data.imagelayout"],
    ["llfc.data.imagefolder", "llfc.data.batches", "llfc.data.downloads"],
    ["llfc.data.datasets"],
    ["llfc.data"],
    ["llfc.networks.families.layers", "llfc.networks.files", "llfc.networks.steps"],
    ["llfc.networks.families", "llfc.networks.store", "llfc.networks.training"],
    ["llfc.networks.architectures"],
    ["llfc.networks.recipes", "llfc.networks.spawning"],
    ["llfc.networks.several"],
    ["llfc.networks"],
    [
        "llfc.matching.identity",
        "llfc.matching.overlap.assignment",
        "llfc.matching.overlap.parameters",
        "llfc.matching.overlap.terms",
        "llfc.matching.taps",
    ],
    ["llfc.matching.overlap.basis", "llfc.matching.overlap.nested"],
    ["llfc.matching.overlap.bounds"],
    ["llfc.matching.overlap"],
    ["llfc.matching.ascent.swaps", "llfc.matching.record"],
    ["llfc.matching.ascent.ascent", "llfc.matching.ascent.relaxation"],
    ["llfc.matching.ascent"],
    [
        "llfc.matching.activations",
        "llfc.matching.frank_wolfe",
        "llfc.matching.many",
        "llfc.matching.sinkhorn",
        "llfc.matching.straight_through",
        "llfc.matching.weights",
    ],
    ["llfc.matching.matchers"],
    ["llfc.matching"],
    [
        "llfc.connectivity.barrier",
        "llfc.connectivity.distances",
        "llfc.connectivity.moments",
        "llfc.connectivity.probes",
        "llfc.connectivity.samples",
        "llfc.connectivity.shuffled",
    ],
    [
        "llfc.connectivity.blend",
        "llfc.connectivity.evaluation",
        "llfc.connectivity.layerwise",
        "llfc.connectivity.logits",
    ],
    [
        "llfc.connectivity.corrections",
        "llfc.connectivity.derived",
        "llfc.connectivity.path",
        "llfc.connectivity.subject",
    ],
    [
        "llfc.connectivity.measures.cka",
        "llfc.connectivity.measures.conditions",
        "llfc.connectivity.measures.layer_barriers",
        "llfc.connectivity.measures.per_image",
        "llfc.connectivity.measures.random_direction",
        "llfc.connectivity.measures.replay",
    ],
    ["llfc.connectivity.measures.similarity", "llfc.connectivity.measures.stitching"],
    ["llfc.connectivity.measures"],
    ["llfc.connectivity"],
    ["llfc.matched"],
    ["llfc.basis"],
    ["llfc.connection"],
    ["llfc.trial"],
    ["llfc"],
    [
        "analysis.runs.database",
        "analysis.runs.files",
        "analysis.runs.params",
        "analysis.runs.schema",
        "analysis.runs.server",
    ],
    ["analysis.runs.columns", "analysis.runs.frames", "analysis.runs.grid"],
    ["analysis.runs.newest", "analysis.runs.pairs", "analysis.runs.stored"],
    ["analysis.runs.mlflow"],
    ["analysis.runs"],
    ["analysis.statistics.over_seeds"],
    [
        "analysis.statistics.cells",
        "analysis.statistics.coefficients",
        "analysis.statistics.crossing",
        "analysis.statistics.held_out",
        "analysis.statistics.permutations",
        "analysis.statistics.summaries",
    ],
    ["analysis.statistics.correlations"],
    ["analysis.statistics.partial"],
    ["analysis.statistics.comparators"],
    ["analysis.statistics"],
    ["analysis.answers.onset", "analysis.answers.tables"],
    [
        "analysis.answers.agreement",
        "analysis.answers.answer",
        "analysis.answers.associations",
        "analysis.answers.by_layer",
        "analysis.answers.explanation",
        "analysis.answers.layer_correlations",
        "analysis.answers.layer_prediction",
    ],
    ["analysis.answers"],
    ["analysis.figures.style"],
    ["analysis.figures.marks", "analysis.figures.statistics", "analysis.figures.trial"],
    ["analysis.figures"],
    ["analysis.page.provenance", "analysis.page.sections.part"],
    [
        "analysis.page.copies",
        "analysis.page.sections.compared",
        "analysis.page.sections.connected",
        "analysis.page.sections.explained",
        "analysis.page.sections.measured",
        "analysis.page.sections.sweep",
        "analysis.page.sections.together",
        "analysis.page.summary",
    ],
    ["analysis.page.sections"],
    ["analysis.page.report"],
    ["analysis.page"],
    ["analysis"],
    ["sweeps"],
]
# A heavy or stateful dependency is imported in one place.
DOORS = {
    "ray": {"sweeps.run.engine", "sweeps.run.launch"},
    "grpc": {"sweeps.run.engine"},
    "mlflow": {"sweeps.record.tracking", "sweeps.record.tracking_store", "analysis.runs.mlflow"},
    "torchvision": {"llfc.data.downloads", "llfc.symmetry.coverage"},
    "pandas": {"analysis"},
}
FORBIDDEN = {"pickle", "dill", "joblib"}
# Calls and switches that run what a file or a word says.
RUNNING = {"eval", "exec", "torch.load", "os.system", "os.popen", "yaml.load"}
SWITCHES = {("shell", True), ("allow_pickle", True), ("weights_only", False)}


def modules():
    for package in ("llfc", "sweeps", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path):
    """Names that a file imports, with whether at the top of the file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = ROOT / node.module.replace(".", "/") / f"{alias.name}.py"
                name = f"{node.module}.{alias.name}" if inner.is_file() else node.module
                yield name, node in tree.body


def is_in(module, name):
    return module == name or module.startswith(name + ".")


def layer(module):
    """The index of the most specific entry that holds `module`, and the entry."""
    found = [
        (len(name), i, name)
        for i, names in enumerate(LAYERS)
        for name in names
        if is_in(module, name)
    ]
    assert found, f"{module} has no place in LAYERS"
    _, index, name = max(found)
    return index, name


every_module = pytest.mark.parametrize(
    ("module", "path"), list(modules()), ids=[module for module, _ in modules()]
)


@every_module
def test_imports_point_to_earlier_layers(module, path):
    index, place = layer(module)
    for name, _ in imports(path):
        if name.split(".")[0] in ("llfc", "sweeps", "analysis"):
            other_index, other_place = layer(name)
            assert other_index < index or other_place == place, f"{module} imports {name}"
    if is_in(place, "analysis"):
        ours = [name for name, _ in imports(path) if is_in(name, "llfc")]
        assert set(ours) <= {
            "llfc.specs",
            "llfc.results",
            "llfc.names",
            "llfc.atomic",
            "llfc.codec",
            "llfc.oneline",
            "llfc.seeds",
        }, ours


@every_module
def test_heavy_dependencies_have_one_door(module, path):
    for name, at_top in imports(path):
        top = name.split(".")[0]
        assert top not in FORBIDDEN, f"{module} imports {name}"
        if top in DOORS:
            assert any(is_in(module, door) for door in DOORS[top]), f"{module} imports {name}"
        if top == "torchvision":
            assert not at_top, f"{module} imports torchvision when it is itself imported"


def risks(path):
    """What in a file would run what it reads."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in RUNNING or name.split(".")[-1] == "read_pickle":
            yield name
        for word in node.keywords:
            if isinstance(word.value, ast.Constant) and (word.arg, word.value.value) in SWITCHES:
                yield f"{name}({word.arg}={word.value.value})"


@every_module
def test_nothing_that_is_read_is_run(module, path):
    assert list(risks(path)) == [], module


def test_what_runs_what_it_reads_is_seen(tmp_path):
    lines = [
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(words, shell=True)",
        "exec(text)",
        "pd.read_pickle(path)",
    ]
    (tmp_path / "file.py").write_text("\n".join([*lines, "model.eval()", "np.load(path)"]))
    assert len(list(risks(tmp_path / "file.py"))) == len(lines)


def test_a_notebook_that_imports_llfc_waits_for_nothing_it_does_not_use():
    code = "import llfc, sys; print(*({*sys.argv[1:]} & sys.modules.keys()))"
    heavy = ["ray", "mlflow", "pandas", "torchvision", "matplotlib"]
    said = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ""
