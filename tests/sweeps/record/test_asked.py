"""What was asked for is kept beside the report, and a report that loses trials is named."""

import dataclasses

import pytest

from sweeps import cli
from sweeps.grid.options import parse
from sweeps.record import asked
from sweeps.width import WIDTH


def parsed(folder, *words):
    settings, sweep, trials = parse(WIDTH, ["--storage", str(folder), *words])
    return sweep, trials, settings


FIRST = ("--width", "0.5", "1", "--seed", "0", "1", "--alphas", "5")


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (FIRST, []),
        ((*FIRST, "--node-timeout", "9"), []),
        ((*FIRST, "--dataset", "fashion-mnist-small"), []),
        ((*FIRST, "--epochs", "3"), ["epochs"]),
        ((*FIRST, "--norm", "batch"), ["norm"]),
        (("--width", "0.5", "1", "2", "--seed", "0", "1", "2", "--alphas", "5"), []),  # more
        (("--width", "1", "2", "--seed", "0", "1", "--alphas", "5"), ["width"]),
        (("--width", "0.5", "1", "--seed", "1", "--alphas", "7"), ["seed", "alphas"]),
        ((*FIRST, "--dataset", "mnist"), ["dataset"]),
    ],
)
def test_a_report_that_would_lose_values_of_an_axis_is_named(tmp_path, capsys, words, lost):
    assert asked.lost(*parsed(tmp_path, *words)) == []
    asked.keep(*parsed(tmp_path, *FIRST), changed=True)
    assert sorted(asked.lost(*parsed(tmp_path, *words))) == sorted(lost)
    asked.warn_of_lost(*parsed(tmp_path, *words))
    said = capsys.readouterr().err
    assert said.count("\n") == (1 if lost else 0)
    assert all(
        name in said for name in (*lost, *(["reports/width.html", "--name"] if lost else []))
    )


def test_what_stands_there_stays_unless_it_changed(tmp_path):
    asked.keep(*parsed(tmp_path, *FIRST), changed=False)
    path = tmp_path / "reports" / "width" / "config.toml"
    before = path.read_bytes()
    asked.keep(*parsed(tmp_path, "--width", "2"), changed=False)
    assert path.read_bytes() == before
    asked.keep(*parsed(tmp_path, "--width", "2"), changed=True)
    assert path.read_bytes() != before


def test_grids_of_one_name_share_a_report(tmp_path, monkeypatch):
    given = []

    def run_sweep(sweep, trials, settings, shown):
        given.append((settings.name or sweep.name, None if shown is None else len(shown)))
        if shown is not None:
            shown |= {f"{len(given)}"}
        return 0

    monkeypatch.setattr("sweeps.run.study.run_sweep", run_sweep)
    named = [dataclasses.replace(WIDTH, name=name) for name in ("one", "two", "one")]
    with pytest.raises(SystemExit) as ended:
        cli.run(named, ["--storage", str(tmp_path)])
    assert ended.value.code == 0
    assert given == [("one", 0), ("two", None), ("one", 1)]
