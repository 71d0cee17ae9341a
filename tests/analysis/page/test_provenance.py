"""What stands behind a page's numbers is said, and leads to the runs that they are from."""

import dataclasses
import html
import re

import pytest

from analysis.page.provenance import LEFT_OUT_WORDS, provenance, trial_table, warnings
from analysis.page.report import Page, render
from analysis.page.sections.connected import agreement_section
from analysis.page.sections.part import find
from analysis.page.summary import summary_text
from llfc.results import LEFT_OUT
from tests.helpers.fabricated_runs import grid, runs_of

ONE_WIDTH = grid(seed=[0, 1, 2], matching=["none", "weights"])


def rendered(runs):
    """A page of these runs, of which no section is drawn: what is told here is beside them."""
    return render(Page(title="title", answer="answer", runs=runs))


def test_numbers_of_several_or_uncommitted_codes_are_said_to_be():
    runs = runs_of(ONE_WIDTH)
    assert not any("code" in line for line in warnings(runs))
    commits = ["a" * 40, *["b" * 40 + "+changes"] * (len(runs.trials) - 1)]
    mixed = dataclasses.replace(runs, trials=runs.trials.assign(commit=commits))
    said = " ".join(warnings(mixed))
    assert f"2 versions of the code: {'a' * 12}, {'b' * 12}+changes" in said
    assert f"{len(commits) - 1} trials were run with uncommitted changes" in said


def test_ends_at_chance_are_said_to_be():
    runs = runs_of(ONE_WIDTH)
    assert not any("chance" in line for line in warnings(runs))
    errors = [0.89, *[0.2] * (len(runs.trials) - 1)]
    poor = dataclasses.replace(runs, trials=runs.trials.assign(test_error_b=errors))
    assert "1 trial has an end near chance level" in " ".join(warnings(poor))
    old = dataclasses.replace(poor, trials=poor.trials.drop(columns="test_error_chance"))
    assert not any("chance" in line for line in warnings(old))


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_results_do_not_rest_on_is_said(kind):
    """One line a kind, on the page and on the terminal; none where nothing was left out."""
    runs = runs_of(ONE_WIDTH[:3])
    assert not any("left_out" in line for line in warnings(runs))
    counts = [0.0, 3.0, 10.0, *[0.0] * (len(runs.trials) - 3)]
    some = dataclasses.replace(runs, trials=runs.trials.assign(**{f"left_out_{kind}": counts}))
    (line,) = [line for line in warnings(some) if "left_out" in line]
    assert line.startswith(f"2 of {len(counts)} trials {LEFT_OUT_WORDS[kind]} (at most 10 in one;")
    assert line in summary_text(some)
    assert line in html.unescape(rendered(some))


def test_every_number_leads_to_the_runs_that_it_is_from(monkeypatch):
    runs = runs_of(ONE_WIDTH)
    urls = [f"http://host/#/runs/{run_id}" for run_id in runs.trials["run_id"]]
    served = dataclasses.replace(runs, trials=runs.trials.assign(url=urls))
    text = rendered(served)
    (listed,) = re.findall(r"<details>.*?</details>", text, re.DOTALL)
    for run_id, url in zip(runs.trials["run_id"], urls, strict=True):
        assert f'<a href="{url}">{run_id}</a>' in listed
    said = provenance(runs)
    assert {"commit", "versions", "command", "device", "analysed with"} <= said.keys()
    assert said["reproduce with"] == (
        "python -m analysis report --sweep width --tracking-uri memory"
    )
    monkeypatch.setattr("analysis.page.provenance.MOST_POINTS", len(runs.trials) - 1)
    assert trial_table(runs) is None


def test_a_regression_has_neither_nats_nor_what_is_of_error_rates():
    runs = runs_of(ONE_WIDTH)
    own = dataclasses.replace(runs, trials=runs.trials.drop(columns="test_error_chance"))
    for each, unit in ((runs, "(nats)"), (own, "(in its own unit)")):
        assert unit in rendered(each)
    assert "nats" not in rendered(own)
    assert "rule for error rates" not in agreement_section(find(runs)).note
    assert "rule for error rates" in agreement_section(find(own)).note
