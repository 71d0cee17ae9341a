"""The page and the terminal's summary: complete for any sweep, self-contained, answer first."""

import dataclasses
import functools
import itertools
import re
from html.parser import HTMLParser

import pytest

from analysis.__main__ import main
from analysis.answers.answer import trends
from analysis.answers.tables import cell_table, to_text
from analysis.page.report import page_of, render, write_report
from analysis.page.summary import summary_text
from analysis.runs.grid import layout
from analysis.runs.schema import BARRIER
from tests.helpers.fabricated_runs import runs_of, trial
from tests.helpers.fabricated_sweeps import SWEEPS, sweep
from tests.helpers.quick_cases import slow_unless


@functools.cache  # a page takes seconds; what is done with it leaves it as it is
def page_about(name):
    return page_of(sweep(name))


@functools.cache
def summary_about(name):
    return summary_text(sweep(name))


# A page takes seconds: the quick tests have the shortest, and the slow ones that of a whole grid.
QUICK, WHOLE = ("none finished",), ("width",)
OTHERS = SWEEPS.keys() - {*QUICK, *WHOLE}
every_page = pytest.mark.parametrize("name", slow_unless(QUICK, SWEEPS, OTHERS))


@pytest.mark.parametrize("name", slow_unless(QUICK, SWEEPS))
def test_the_summary_fits_a_terminal(name):
    text = summary_about(name)
    assert text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", slow_unless(("none finished",), SWEEPS, {*OTHERS, *WHOLE}))
def test_the_summary_opens_as_the_page_does(name):
    page = page_about(name)
    first = summary_about(name).split("\n\n")[0]
    assert " ".join(first.split()) == (page.first or page.opening or page.answer)


def test_wide_tables_are_broken_with_their_keys():
    trials = sweep("width").trials
    table = cell_table(trials, BARRIER, layout(trials, "width"))
    blocks = to_text(table, keys=1, width=40).split("\n\n")
    assert len(blocks) == 2
    assert all(block.startswith("width") for block in blocks)


@pytest.mark.slow
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


@pytest.mark.slow
def test_text_from_runs_cannot_become_markup():
    runs = runs_of([trial()], failed=[trial(seed=1)])
    bad = "<script>alert(1)</script>"
    trials = runs.trials.assign(command=bad)
    unfinished = runs.unfinished.assign(reason=bad)
    marked = dataclasses.replace(runs, trials=trials, unfinished=unfinished)
    page = render(dataclasses.replace(page_about("one trial"), runs=marked))
    assert bad not in page
    assert page.count("&lt;script&gt;") == 2


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


@pytest.mark.slow
def test_the_answer_says_what_holds_within_the_groups():
    """A pooled correlation may be all between groups; the first sentence must not hide that."""
    text = " ".join(summary_text(sweep("width")).split("\n\n")[2].split())
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


@pytest.mark.parametrize("name", slow_unless(QUICK, ["width", "spawn_epoch", "one trial"], OTHERS))
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
