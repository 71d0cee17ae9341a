"""One page over several sweeps: every sweep and family has its row, every trial counts once."""

import html

import pytest

from analysis.__main__ import main
from analysis.page.across import page_across
from analysis.page.report import render
from analysis.page.sections.sweep import scatter_section
from analysis.runs.schema import BARRIER, BASELINE, LLFC
from analysis.statistics.comparators import comparisons
from analysis.statistics.correlations import correlations
from sweeps.record.measurement import Measurement
from sweeps.record.tracking import Tracker
from tests.helpers.fabricated_runs import connection, grid, runs_of

WIDTH = grid(width=[0.25, 0.5, 1.0], seed=[0, 1, 2], matching=["none", "weights"])
FAMILIES = grid(
    architecture=["mlp", "vgg11"], width=[0.5], seed=[0, 1, 2], matching=["none", "weights"]
)


@pytest.fixture(scope="module")
def sweeps():
    return [runs_of(WIDTH, "width"), runs_of(FAMILIES, "architecture"), runs_of([], "matching")]


@pytest.fixture(scope="module")
def page(sweeps):
    """With one of the sections that other pages have too, which take seconds each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.page.across.SECTIONS_ACROSS", (scatter_section,))
        return page_across(sweeps)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_every_section_can_be_over_several_sweeps(sweeps):
    page = page_across(sweeps)
    assert len(page.parts) > 6
    text = html.unescape(render(page))
    assert all(f"<h2>{part.title}</h2>" in text for part in page.parts)


@pytest.mark.slow
def test_every_trial_counts_once(page):
    assert len(page.runs.trials) == len({*WIDTH, *FAMILIES}) < len(WIDTH) + len(FAMILIES)
    assert f"over all {len(page.runs.trials)} trials" in page.answer
    assert page.answer.startswith("Over width, architecture, matching: Within a seed")


@pytest.mark.slow
def test_a_sweep_has_the_row_that_it_has_alone(page, sweeps):
    part = page.parts[0]
    (table,) = part.tables
    rows = table.numbers.set_index(["panel", "group"])
    for runs in sweeps[:2]:
        alone = correlations(runs.trials, LLFC, BARRIER, methods=["Spearman"]).iloc[0]
        row = rows.loc[("by sweep", runs.sweep)]
        for name in ("value", "within", "low", "high", "trials", "seeds"):
            assert row[name] == pytest.approx(alone[name], nan_ok=True)
    assert ("by architecture", "architecture vgg11") in rows.index
    assert ("by sweep", "matching") not in rows.index


@pytest.mark.slow
def test_the_scatter_tells_the_families_apart(page):
    scatter = next(part for part in page.parts if part.key == "scatter")
    (legend,) = scatter.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["mlp", "vgg11"]


def test_sweeps_without_a_finished_trial_say_so():
    nothing = page_across([runs_of([], "width"), runs_of([], "matching")])
    assert "no finished trial" in nothing.answer
    assert "<svg" not in render(nothing)


@pytest.mark.slow
def test_the_shell_writes_one_page_over_all_sweeps(empty_database, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("analysis.page.across.SECTIONS_ACROSS", ())
    uri = empty_database(tmp_path)
    for name, trials in {"width": WIDTH[:8], "architecture": FAMILIES[:2]}.items():
        tracker = Tracker(uri, name, tmp_path)
        for one in trials:
            tracker.log(one, Measurement.of(connection(one), {}))
    (tmp_path / "width.html").write_text("")
    out = tmp_path / "all.html"
    command = ["report", "--sweep", "all", "--tracking-uri", uri, "--out", str(out)]
    assert main(command) == 0
    assert "report: " in capsys.readouterr().out
    text = out.read_text()
    assert '<a class="beside" href="width.html">width</a>' in text
    assert "architecture.html" not in text
    assert (tmp_path / "all" / "sweeps.csv").is_file()
    assert main([*command, "--x", "width"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_the_baseline_stands_in_every_row(page, sweeps):
    rows = page.parts[0].tables[0].numbers.set_index(["panel", "group"])
    for runs, key in ((page.runs, ("all", "all")), (sweeps[1], ("by sweep", "architecture"))):
        found = comparisons(runs.trials, LLFC, BARRIER, methods=["Spearman"])
        expected = found[found["predictor"] == BASELINE].iloc[0]
        assert rows.loc[key, "baseline"] == pytest.approx(expected["within"])
        assert rows.loc[key, "difference"] == pytest.approx(expected["difference"])
