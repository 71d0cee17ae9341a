"""Tables, figures and the page: right numbers, any size of sweep, nothing from outside."""

import dataclasses
import functools
import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.answers.answer import trends
from analysis.answers.tables import across, cell_table, layer_means, to_text
from analysis.figures.style import to_png
from analysis.figures.sweep import barrier_figure, profile_figure, scatter_figure
from analysis.figures.trial import curve_figure, layers_figure
from analysis.page.report import page_of, render, write_report
from analysis.page.summary import summary_text
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER, LLFC
from tests.helpers.fabricated_runs import connection, grid, recipe, runs_of, trial, width_grid

SWEEPS = {
    "width": width_grid(),
    "spawn_epoch": grid(spawn_epoch=[0, 4, 16, None], seed=[0, 1, 2], matching=["none", "weights"]),
    "architecture": grid(
        architecture=["mlp", "vgg11"], spawn_epoch=[2, None], seed=[0, 1], matching=["none"]
    ),
    "matching": grid(
        architecture=["mlp", "resnet20"],
        seed=[0, 1, 2],
        matching=["none", "weights"],
        correction=["none", "reset"],
    ),
    # Grids that were run apart: a series that some panels lack.
    "grids": [
        *grid(architecture=["mlp", "vgg11"], spawn_epoch=[2, None], seed=[0, 1, 2]),
        *grid(architecture=["mlp", "vgg11"], seed=[0, 1, 2], matching=["weights"]),
    ],
    "one trial": [trial()],
    "one seed": grid(width=[0.5, 1.0], matching=["none", "weights"]),
    "one width": grid(seed=[0, 1, 2], matching=["none", "weights"]),
    "one matching": grid(width=[0.5, 1.0], seed=[0, 1, 2]),
    "recipes": grid(recipe=[recipe(), recipe(lr=0.1)], seed=[0, 1, 2]),
    "none finished": [],
}


def sweep(name):
    known = name in ("width", "spawn_epoch", "architecture", "matching")
    return runs_of(SWEEPS[name], {"grids": "architecture"}.get(name, name if known else "width"))


@functools.cache  # a page takes seconds; what is done with it leaves it as it is
def page_about(name):
    return page_of(sweep(name))


@functools.cache
def summary_about(name):
    return summary_text(sweep(name))


# A page takes seconds: the quick tests have those of least and of most kinds.
QUICK = ("width", "spawn_epoch", "one seed", "one trial", "none finished")
every_sweep = pytest.mark.parametrize("name", SWEEPS)
every_page = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in SWEEPS]
)


@pytest.mark.parametrize(
    ("name", "x", "series", "panels"),
    [
        ("width", "width", "matching", ()),
        ("spawn_epoch", "spawn_epoch", "matching", ()),
        ("architecture", "architecture", "matching", ("spawn_epoch",)),
        ("matching", "matching", "correction", ("architecture",)),
        ("recipes", "width", "matching", ("recipe.lr",)),
    ],
)
def test_axes_that_vary_are_found(name, x, series, panels):
    plan = layout(sweep(name).trials, sweep(name).sweep)
    assert (plan.x, plan.series, plan.panels) == (x, series, panels)


def test_an_axis_that_another_decides_is_no_axis():
    trials = [trial(architecture=a, norm=n) for a, n in (("mlp", "none"), ("vgg11", "batch"))]
    assert layout(runs_of(trials).trials, "width").panels == ("architecture",)


def test_an_unknown_x_is_refused():
    with pytest.raises(ValueError, match=r"^x must be an axis of the trials .* got 'wdith'$"):
        layout(sweep("width").trials, "width", "wdith")


def test_means_and_sds_are_over_seeds():
    trials = sweep("spawn_epoch").trials
    cells = across(trials, BARRIER, layout(trials, "spawn_epoch"))
    assert len(cells) == 8
    assert set(cells["trials"]) == {3}
    independent = trials[trials["spawn_epoch"].isna() & (trials["matching"] == "weights")][BARRIER]
    cell = cells[cells["spawn_epoch"].isna() & (cells["matching"] == "weights")]
    assert cell["mean"].item() == pytest.approx(independent.mean())
    assert cell["sd"].item() == pytest.approx(independent.std())


def test_the_table_has_a_row_an_x_and_none_last():
    trials = sweep("spawn_epoch").trials
    table = cell_table(trials, BARRIER, layout(trials, "spawn_epoch"))
    assert table["spawn epoch"].tolist() == ["0", "4", "16", "independent"]
    assert table.columns.tolist() == ["spawn epoch", "none", "weights"]


def test_layers_are_averaged_at_the_middle():
    runs = sweep("one width")
    means = layer_means(runs.trials, runs.layers, layout(runs.trials, "width"))
    errors = [
        connection(one).layers[3].cos_error[12]
        for one in SWEEPS["one width"]
        if one.matching == "weights"
    ]
    row = means[(means["matching"] == "weights") & (means["index"] == 3)]
    assert row["cos_error"].item() == pytest.approx(np.mean(errors))
    assert row["cos_error_sd"].item() == pytest.approx(np.std(errors, ddof=1))


@every_sweep
def test_the_summary_fits_a_terminal(name):
    text = summary_about(name)
    assert text
    assert max(map(len, text.splitlines())) <= 100


@every_page
def test_the_summary_opens_as_the_page_does(name):
    page = page_about(name)
    first = summary_about(name).split("\n\n")[0]
    assert " ".join(first.split()) == (page.opening or page.answer)


def test_wide_tables_are_broken_with_their_keys():
    trials = sweep("width").trials
    table = cell_table(trials, BARRIER, layout(trials, "width"))
    blocks = to_text(table, keys=1, width=40).split("\n\n")
    assert len(blocks) == 2
    assert all(block.startswith("width") for block in blocks)


def test_the_answer_says_what_it_rests_on():
    text = " ".join(summary_text(sweep("width")).split())
    assert "over all 45 trials of 15 pairs (30 networks, 3 seeds)" in text
    assert "95 % interval over 3 seeds" in text


def test_a_sweep_without_a_finished_trial_says_so():
    runs = runs_of([], failed=[trial()])
    assert summary_text(runs).splitlines() == [
        "Sweep width has no finished trial in memory.",
        "1 trial FAILED, not in these numbers.",
    ]
    assert "loss is nan at alpha 0.5" in render(page_of(runs))


class Page(HTMLParser):
    """The ids, links and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]


@every_page
def test_the_page_is_whole_and_needs_nothing_else(name, tmp_path):
    path = write_report(page_about(name), tmp_path / "new" / "report.html")
    page = Page(path.read_text())
    assert len(page.ids) == len(set(page.ids))
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    beside = {link for link in page.links if not link.startswith("#")}
    copies = {str(file.relative_to(path.parent)) for file in path.parent.glob("report/*")}
    assert beside == copies
    assert {file.name for file in path.parent.iterdir()} <= {"report.html", "report"}
    assert set(re.findall(r"url\(#?([^)]*)\)", path.read_text())) <= set(page.ids)
    pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(pictures) >= 3 if SWEEPS[name] else not pictures
    assert all(picture["aria-label"] for picture in pictures)


def test_text_from_runs_cannot_become_markup():
    runs = runs_of([trial()], failed=[trial(seed=1)])
    bad = "<script>alert(1)</script>"
    trials = runs.trials.assign(command=bad)
    unfinished = runs.unfinished.assign(reason=bad)
    page = render(page_of(dataclasses.replace(runs, trials=trials, unfinished=unfinished)))
    assert bad not in page
    assert page.count("&lt;script&gt;") == 2


@pytest.mark.parametrize("least", [0.0, -0.01])
def test_a_barrier_that_is_not_positive_is_drawn(least):
    trials = sweep("width").trials
    trials.loc[0, BARRIER] = least
    axes = barrier_figure(trials, BARRIER, layout(trials, "width")).axes[0]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] <= least


def test_every_trial_is_a_point():
    trials = sweep("width").trials
    axes = scatter_figure(trials, LLFC, BARRIER, "matching").axes[0]
    points = np.concatenate([dots.get_offsets() for dots in axes.collections])
    assert sorted(map(tuple, points)) == sorted(zip(trials[LLFC], trials[BARRIER], strict=True))


def test_lines_go_through_the_means():
    trials = sweep("width").trials
    (axes,) = barrier_figure(trials, BARRIER, layout(trials, "width")).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    drawn = axes.lines[1::2]  # after each series' markers
    for line, matching in zip(drawn, ["none", "weights", "activations"], strict=True):
        means = trials[trials["matching"] == matching].groupby("width")[BARRIER].mean()
        assert line.get_ydata().tolist() == pytest.approx(means.tolist())
        assert line.get_xdata().tolist() == means.index.tolist()


def test_lines_stop_where_an_order_does():
    trials = sweep("spawn_epoch").trials
    (axes,) = barrier_figure(trials, BARRIER, layout(trials, "spawn_epoch")).axes
    markers, line = axes.lines[:2]
    assert len(markers.get_xdata()) == 4
    assert len(line.get_xdata()) == 3


def test_the_profile_shows_error_and_baseline():
    runs = sweep("width")
    (axes,) = profile_figure(runs.trials, runs.layers, layout(runs.trials, "width")).axes
    assert len(axes.lines) == 6


def test_a_panel_that_is_higher_than_the_first_is_whole():
    runs = sweep("architecture")
    plan = layout(runs.trials, "architecture")
    last = runs.trials["run_id"].iloc[-1]
    higher = runs.layers["run_id"] == last
    layers = runs.layers.assign(baseline=runs.layers["baseline"].where(~higher, 3.0))
    figure = profile_figure(runs.trials, layers, plan)
    drawn = [line.get_ydata().max() for axes in figure.axes for line in axes.lines]
    assert len(figure.axes) > 1
    assert max(drawn) > 2 * drawn[0]
    assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)
    assert all(axes.get_ylim()[1] > max(drawn) for axes in figure.axes)


def test_a_trials_curves_and_chords_are_drawn():
    found = connection(trial())
    loss, error = curve_figure(found, "title").axes
    assert loss.lines[2].get_ydata().tolist() == found.curve["test_loss"].tolist()
    assert loss.lines[3].get_ydata().tolist() == found.curve["test_loss"][[0, -1]].tolist()
    assert error.lines[0].get_ydata() == pytest.approx(100 * found.curve["train_error"])


@pytest.mark.parametrize("layers", [0, 1, 60])
def test_a_trials_layers_are_drawn_however_many(layers):
    found = connection(trial(), layers=[f"layer{i}" for i in range(layers)]) if layers else None
    found = found or dataclasses.replace(connection(trial()), layers=())
    picture = to_png(layers_figure(found, "title"))
    assert picture.startswith(b"\x89PNG")


def test_bad_input_is_one_line_and_exit_2(tmp_path, capsys):
    uri = f"sqlite:///{tmp_path}/none.db"
    assert main(["summary", "--sweep", "width", "--tracking-uri", uri]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "does not exist" in said.err


def test_trends_tell_the_ends_and_the_independent_pairs():
    trials = sweep("spawn_epoch").trials
    (line, _) = trends(trials, layout(trials, "spawn_epoch"))
    told = re.findall(r"at spawn epoch (\w+)", line)
    assert told == ["0", "16", "independent"]
    ends = trials[(trials["matching"] == "none") & (trials["spawn_epoch"] == 16)][BARRIER]
    assert f"{ends.mean():.3g} at spawn epoch 16" in line


def test_the_answer_says_what_holds_within_the_groups():
    """A pooled correlation may be all between groups; the first sentence must not hide that."""
    text = " ".join(summary_text(sweep("width")).split("\n\n")[1].split())
    assert re.search(
        r"Within groups: matching none -?\d\.\d\d \(.*\); matching weights \d\.\d\d", text
    )
    assert "Within groups" not in summary_text(sweep("one matching"))


def test_a_trend_names_the_barrier_by_its_definition():
    """`mean barrier` is another quantity, and no mean over seeds."""
    runs = sweep("width")
    lines = trends(runs.trials, layout(runs.trials, "width"))
    assert lines
    assert all("the chord barrier of the test loss, averaged over trials, is" in x for x in lines)


@pytest.mark.parametrize("name", ["width", "spawn_epoch"])
def test_a_page_is_read_aloud_in_order(name):
    """Headings go down by one; every figure, table and box that scrolls has a name."""
    page = Page(render(page_about(name)))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert levels.count(1) == 1
    for tag, attrs in page.tags:
        if tag == "svg" or attrs.get("role") == "region":
            assert attrs["aria-label"]
