"""The page on plug-ins: its example is run as it stands."""

import shlex
from pathlib import Path

from llfc.data.datasets import load_dataset, resolve_dataset
from llfc.plugins.rehearsal import FEW, rehearse
from sweeps.grid.options import parse
from sweeps.width import WIDTH

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"


def block(language):
    return PAGE.read_text().split(f"```{language}\n")[1].split("```")[0]


def test_the_example_is_a_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(block("python"))
    command, script, *arguments = shlex.split(block("sh"))
    assert (command, script) == ("python", "sweeps/width.py")
    _, _, trials = parse(WIDTH, arguments)
    assert len(trials) == 3 * 3 * 3
    assert {trial.pair.architecture.partition("@")[0] for trial in trials} == {"mine:build"}
    name = resolve_dataset("mine.py:load", tmp_path / "cache")
    dataset = load_dataset(name, cache=tmp_path / "cache", limit_train=FEW)
    assert dataset.num_classes == 4
    trial = next(t for t in trials if t.matching.startswith("mine:match"))
    rehearse(trial, dataset)
