"""The answer of a search: the bracket of each seed, on places of its own, and the estimate."""

import html

import numpy as np
import pandas as pd
import pytest

from analysis.answers.exports import EXPORTS, TableOptions
from analysis.answers.onset import onsets
from analysis.answers.searched import asked_of, search_answer, seed_brackets
from analysis.figures.style import to_svg
from analysis.page import report
from analysis.page.report import page_of, render
from analysis.page.sections.connected import onset_section
from analysis.page.sections.part import Findings
from analysis.page.sections.registry import SECTIONS, sections_of
from analysis.page.sections.searched import bracket_section
from analysis.page.summary import summary_text
from analysis.runs.frames import Runs
from analysis.runs.grid import layout
from tests.helpers.fabricated_runs import runs_of
from tests.helpers.quick_cases import slow_unless
from tests.helpers.searches import brackets, run, step_of

ONSETS = {0: 13, 1: 17, 2: 58}


def searched(response, *words, drop=()):
    """The runs of a search in which each trial found `response(seed, step)`."""
    search = brackets(*(words or ("--resolution", "4")))
    known = run(search, lambda trial: response(trial.pair.seed, step_of(trial)))
    found = {trial: value for trial, value in known.items() if value is not None}
    runs = runs_of(found, sweep="onset", failed=[t for t in known if t not in found])
    trials = runs.trials.assign(
        search=search.tag,
        steps_per_epoch="5",
        test_error_mean=[value[0] for value in found.values()],
        test_error_mean_se=[value[1] for value in found.values()],
    )
    return Runs(
        sweep="onset", source="here", trials=trials, unfinished=runs.unfinished, read=runs.read
    )


def step(seed, place):
    """Stable from ONSETS on, with little noise."""
    return (0.3 if place < ONSETS[seed] else 0.001), 0.002


def test_the_bracket_of_a_seed_rests_on_its_own_places():
    """On the places of all seeds together, what a seed has not measured would be uncertain."""
    runs = searched(step)
    asked = asked_of(runs.trials)
    assert (asked.axis, asked.resolution, asked.threshold) == ("spawn_step", 4, 0.02)
    found = seed_brackets(runs.trials, asked).set_index("seed")
    for seed, onset in ONSETS.items():
        low, value, high = found.loc[seed, ["low", "value", "high"]]
        assert low < onset <= high
        assert low < value < high
        assert high - low <= 4
        own = runs.trials[runs.trials["seed"] == seed]
        assert found.loc[seed, "trials"] == len(own)
        assert {low, high} <= set(own["spawn_step"])
    assert not found["wide"].any()
    assert found["monotone"].all()


@pytest.mark.slow
def test_the_estimate_is_that_of_onsets_over_these_brackets():
    runs = searched(step)
    found = seed_brackets(runs.trials, asked_of(runs.trials))
    row = onsets(runs.trials, "spawn_step", searched=True).iloc[0]
    assert row["onset"] == pytest.approx(np.expm1(np.log1p(found["value"]).mean()))
    assert row["low"] < row["onset"] < row["high"]
    said = search_answer(runs.trials, asked_of(runs.trials))
    assert row["high"] > 100  # of three seeds; training ends before
    ends = f"{row['low']:.4g} to 100"
    assert said.startswith(
        f"Pairs (matching none) are stable from spawn step {row['onset']:.4g} (95 % interval over"
        f" seeds {ends}) of 100 on: 3 seeds, 0 censored. Stable means: "
    )


@pytest.mark.slow
def test_censored_seeds_are_counted_and_leave_what_is_known():
    always = searched(lambda seed, place: (0.0, 0.0))
    said = search_answer(always.trials, asked_of(always.trials))
    assert "from spawn step 0, where the search begins, of 100 on: 3 seeds, 3 censored." in said
    one = searched(
        lambda seed, place: step(seed, place) if seed else (0.3, 0.0),
        "--spawn-step",
        *"0 60".split(),
    )
    said = search_answer(one.trials, asked_of(one.trials))
    assert "3 seeds, 1 censored" in said
    assert "or beyond the end" in said or "above" in said
    never = searched(lambda seed, place: (0.3, 0.0), "--spawn-step", "0", "90")
    said = search_answer(never.trials, asked_of(never.trials))
    assert "from spawn step above 90 of 100 on: 3 seeds, 3 censored." in said


@pytest.mark.slow
def test_what_the_test_set_cannot_tell_widens_the_bracket_and_is_told():
    sure = searched(lambda seed, place: (0.0401 - 0.0004 * place, 1e-6), "--resolution", "2")
    unsure = searched(lambda seed, place: (0.0401 - 0.0004 * place, 0.003), "--resolution", "2")
    narrow, wide = (seed_brackets(r.trials, asked_of(r.trials)) for r in (sure, unsure))
    assert (wide["low"] < narrow["low"]).all()
    assert (wide["high"] > narrow["high"]).all()
    assert (wide["wide"].all(), narrow["wide"].any()) == (True, False)
    told = search_answer(unsure.trials, asked_of(unsure.trials))
    assert "3 bracketed less closely than 2" in told


@pytest.mark.slow
def test_a_trial_that_failed_widens_the_bracket_too():
    runs = searched(lambda seed, place: None if place == 52 else step(seed, place))
    assert len(runs.unfinished)
    asked = asked_of(runs.trials)
    found = seed_brackets(runs.trials, asked, runs.unfinished)
    alone = seed_brackets(runs.trials, asked)
    assert (found["low"] <= alone["low"]).all()
    assert (found["high"] >= alone["high"]).all()
    said = search_answer(runs.trials, asked, runs.unfinished)
    assert "1 trial failed, on neither side either" in said
    assert "failed" not in search_answer(runs.trials, asked)


def test_a_response_that_is_not_monotone_is_told():
    runs = searched(
        lambda seed, place: (0.3 if place > 50 else 0.0, 0.0), "--spawn-step", "0", "90"
    )
    said = search_answer(runs.trials, asked_of(runs.trials))
    assert "3 censored, not stable throughout: unstable again at spawn step 90 in seed 0" in said


@pytest.mark.slow
def test_a_recheck_tells_where_which_seed_is_unstable_again():
    def response(seed, place):
        return (0.3, 0.002) if seed == 1 and 70 <= place < 80 else step(seed, place)

    words = ("--resolution", "4", "--recheck")
    before, runs = searched(response, *words, "0"), searched(response, *words, "3")
    assert "again" not in search_answer(before.trials, asked_of(before.trials))
    asked = asked_of(runs.trials)
    found = seed_brackets(runs.trials, asked).set_index("seed")
    low, high = found.loc[1, ["low", "high"]]
    assert low < 80 <= high <= low + 4
    places = set(runs.trials.query("seed == 1")["spawn_step"])
    again = {place for place in places if 70 <= place < 80}
    assert (set(found.loc[1, "again"]), max(again)) == (again, low)
    listed = ", ".join(f"{place:g}" for place in sorted(again))
    said = (
        f"not stable throughout: unstable again at spawn step {listed} in seed 1, and brackets are"
        " those of the last crossing."
    )
    assert said in search_answer(runs.trials, asked)
    part = bracket_section(Findings(runs=runs, plan=layout(runs.trials, "onset"), found=None))
    assert "3 further places above it were measured" in part.caption
    assert list(part.tables[0].frame["note"])[1] == f"unstable again at {listed}"


def test_what_the_test_set_cannot_tell_is_not_called_unstable_again():
    runs = searched(
        lambda seed, place: (0.021, 0.002) if place > 70 and place < 90 else step(seed, place),
        *("--resolution", "4", "--recheck", "3", "--seed", "0"),
    )
    said = search_answer(runs.trials, asked_of(runs.trials))
    assert "throughout" not in said
    assert "1 stable at a value and not at a larger one, within the error of the test set" in said


def test_a_search_from_before_there_was_a_recheck_is_read():
    runs = searched(step)
    old = runs.trials.assign(search='{"axis": "spawn_step", "resolution": 4, "threshold": 0.02}')
    assert asked_of(old) == asked_of(runs.trials)


@pytest.mark.slow
@pytest.mark.exhaustive  # it draws every section
def test_the_page_of_a_search_is_whole():
    page = page_of(searched(step, "--resolution", "32"), "spawn_step")
    keys = [part.key for part in page.parts]
    assert keys[0] == "brackets"
    assert {"barrier", "scatter"} < {*keys}
    assert "onset" not in keys
    text = html.unescape(render(page))
    assert all(f"<h2>{part.title}</h2>" in text for part in page.parts)


@pytest.mark.slow
def test_the_page_answers_first_where_pairs_become_stable(monkeypatch):
    two = (bracket_section, onset_section)
    assert SECTIONS[0] is two[0]
    monkeypatch.setattr(report, "sections_of", lambda findings: sections_of(findings, two))
    runs = searched(step)
    page = page_of(runs, "spawn_step")
    answer = search_answer(runs.trials, asked_of(runs.trials))
    assert page.first == answer
    (first,) = page.parts
    assert first.key == "brackets"
    labels = [label.get_text() for label in first.figure.axes[0].get_yticklabels()]
    assert labels == ["seed 0", "seed 1", "seed 2", "all seeds"]
    assert list(first.tables[0].frame["seed"]) == labels
    assert answer in html.unescape(render(page))
    assert answer.split(" on:")[0] in " ".join(summary_text(runs).split())


ODD = [
    lambda seed, place: (0.0, 0.0),
    lambda seed, place: (0.3, 0.0) if place < 100 else (0.0, 0.0),
    lambda seed, place: None if seed == 0 and place == 0 else step(seed, place),
    lambda seed, place: (0.02, 0.01),
]


@pytest.mark.parametrize("response", slow_unless(ODD[:1], ODD))
def test_a_section_can_be_made_of_any_search(response):
    runs = searched(response)
    asked = asked_of(runs.trials)
    assert "censored" in search_answer(runs.trials, asked, runs.unfinished)
    part = bracket_section(Findings(runs=runs, plan=layout(runs.trials, "onset"), found=None))
    assert len(part.tables[0].frame) == 4
    assert to_svg(part.figure, part.key, "alt")


def test_trials_of_a_grid_are_no_search():
    runs = searched(step)
    assert asked_of(runs.trials.drop(columns="search")) is None
    for other in ('{"axis": "width"}', None):  # several sweeps joined
        assert asked_of(pd.concat([runs.trials, runs.trials.assign(search=other)])) is None


def test_the_frame_of_onsets_rests_on_each_seeds_own_places():
    runs = searched(step)
    asked = asked_of(runs.trials)
    exported = EXPORTS["onsets"].make(runs, TableOptions())
    pd.testing.assert_frame_equal(exported, onsets(runs.trials, asked.axis, searched=True))


def test_places_are_counted_in_steps_even_where_all_are_whole_epochs():
    always = searched(lambda seed, place: (0.0, 0.0))
    assert set(always.trials["spawn_step"]) == {0, 100}
    assert set(always.trials["spawn_epoch"]) == {None}
