"""A point of a figure names its own trial, leads to its run, and to nothing else."""

import re

import numpy as np
import pytest

from analysis.figures import marks
from analysis.figures.marks import hint, marks_of, resolve
from analysis.figures.style import to_svg
from analysis.figures.sweep import barrier_figure, scatter_figure
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER, LLFC
from tests.helpers.fabricated_runs import runs_of, width_grid

# A marker of few corners is drawn out, from its first; one of many is used again at a place.
POINT = re.compile(
    r'<title>([^<]*)</title><(?:use [^>]*x=|path d=)"(?:M )?([\d.]+)"?(?: y=")? ?([\d.]+)'
)


@pytest.fixture(scope="module")
def trials():
    return runs_of(width_grid()).trials


def drawn(figure, trials):
    return resolve(to_svg(figure, "figure", "a figure"), marks_of(trials))


def test_a_point_names_the_trial_that_lies_there(trials):
    """Pixels are a straight line of the numbers, one for each marker, or names are mixed up."""
    points = POINT.findall(drawn(scatter_figure(trials, LLFC, BARRIER, "matching"), trials))
    assert len(points) == len(trials)
    rows = trials.set_index("run_id").loc[[title.rpartition(" ")[2] for title, _, _ in points]]
    places = np.array([point[1:] for point in points], dtype=float)
    for matching in rows["matching"].unique():
        part = (rows["matching"] == matching).to_numpy()
        x, y = places[part].T
        assert np.corrcoef(x, rows[LLFC][part])[0, 1] == pytest.approx(1)
        assert np.corrcoef(y, rows[BARRIER][part])[0, 1] == pytest.approx(-1)
    for title, row in zip([point[0] for point in points], rows.to_dict("records"), strict=True):
        for word in (f"width {row['width']:g}", f"matching {row['matching']}", f"{row[LLFC]:.3g}"):
            assert word in title


def test_every_trial_is_named_once_in_a_figure_of_means(trials):
    found = POINT.findall(drawn(barrier_figure(trials, BARRIER, layout(trials, "width")), trials))
    assert sorted(title.rpartition(" ")[2] for title, _, _ in found) == sorted(trials["run_id"])


def test_a_point_leads_to_its_run_where_there_is_a_server(trials):
    figure = scatter_figure(trials, LLFC, BARRIER, "matching")
    assert "<a " not in drawn(figure, trials)
    served = trials.assign(url=[f"http://host/#/runs/{run_id}" for run_id in trials["run_id"]])
    links = re.findall(r'<a href="([^"]*)"[^>]*tabindex="-1"[^>]*>', drawn(figure, served))
    assert sorted(links) == sorted(served["url"])
    assert "a click opens its run" in hint(served)
    assert "click" not in hint(trials)


def test_too_many_points_say_nothing_and_the_caption_says_so(trials, monkeypatch):
    monkeypatch.setattr(marks, "MOST_POINTS", len(trials) - 1)
    svg = drawn(scatter_figure(trials, LLFC, BARRIER, "matching"), trials)
    assert "<title>" not in svg
    assert "trial:" not in svg
    assert svg.count("<use") > len(trials)
    assert f"more than {len(trials) - 1} trials, so points do not show" in hint(trials)


def test_what_a_run_says_cannot_become_markup(trials):
    bad = '"><script>alert(1)</script>'
    run_ids = [bad, *trials["run_id"][1:]]
    odd = trials.assign(run_id=run_ids, url=[f"http://host/{bad}", *trials["url"][1:]])
    svg = drawn(scatter_figure(odd, LLFC, BARRIER, "matching"), odd)
    assert "<script" not in svg
    assert svg.count("&lt;script&gt;") == 2
