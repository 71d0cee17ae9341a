"""Plug-ins and checkpoints as people read them, in frames, on pages and in titles."""

from analysis.page.report import page_of
from analysis.runs.frames import with_readable_names
from analysis.runs.grid import show
from analysis.runs.params import RECIPE, params_of, trial_from_params
from llfc.specs import UNKNOWN, fingerprint
from sweeps.record.titles import title_of
from tests.helpers.fabricated_runs import grid, runs_of, trial

ONE, TWO = (f"mine:match@{digit * 16}" for digit in "12")


def test_a_plugin_has_its_short_name_and_two_versions_have_their_digits():
    alone = runs_of(grid(matching=["none", ONE], seed=[0, 1]))
    assert set(with_readable_names(alone).trials["matching"]) == {"none", "mine:match"}
    assert set(alone.trials["matching"]) == {"none", ONE}  # the frame itself has them in full
    both = runs_of(grid(matching=[ONE, TWO], seed=[0]))
    assert set(with_readable_names(both).trials["matching"]) == {ONE, TWO}


def test_the_page_shows_the_short_name(monkeypatch):
    monkeypatch.setattr("analysis.page.report.sections_of", lambda findings: [])
    page = page_of(runs_of(grid(matching=["none", ONE], seed=[0, 1])))
    assert set(page.runs.trials["matching"]) == {"none", "mine:match"}


def test_titles_are_without_digits():
    title = title_of(trial(architecture="mynet:build@" + "0" * 16, matching=ONE))
    assert "mynet:build × " in title
    assert "matching mine:match" in title
    assert "@" not in title


def test_a_trial_of_checkpoints_names_them_and_claims_no_recipe():
    names = ("one/last@" + "1" * 16, "two/last@" + "2" * 16)
    of_files = trial(checkpoints=names, recipe=UNKNOWN, spawn_epoch=None)
    assert show("checkpoints", names) == "one/last – two/last"
    assert "one/last and two/last" in title_of(of_files)
    params = {name: str(value) for name, value in params_of(of_files).items()}
    assert not [name for name in params if name.startswith(RECIPE)]
    assert fingerprint(trial_from_params(params)) == fingerprint(of_files)
