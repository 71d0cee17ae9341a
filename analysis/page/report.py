"""The answers of a sweep, or of several, as one self-contained HTML page and copies beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from analysis.answers import answer
from analysis.answers.searched import sweep_answer
from analysis.figures.marks import Mark, marks_of, resolve
from analysis.figures.style import to_svg
from analysis.page.copies import to_latex, write_copies
from analysis.page.provenance import nothing, provenance, trial_table, unfinished_table, warnings
from analysis.page.sections.part import Part, find
from analysis.page.sections.registry import sections_of
from analysis.runs.columns import DEFINITIONS
from analysis.runs.files import write_bytes
from analysis.runs.frames import Runs, with_readable_names
from analysis.runs.grid import name


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """What a page says.

    Attributes:
        title: its heading.
        answer: the question's answer, in numbers.
        runs: what its numbers come from.
        lines: what is worth a line beside the answer.
        parts: its sections, in order.
        first: the sweep's own question and its answer in plain words, above all else.
        opening: what all sweeps are about, and the answer in plain words, above the numbers.
    """

    title: str
    answer: str
    runs: Runs
    lines: Sequence[str] = ()
    parts: Sequence[Part] = ()
    first: str = ""
    opening: str = ""


def page_of(runs: Runs, x: str | None = None) -> Page:
    """The page of one sweep.

    Args:
        runs: the sweep's trials; any number, none included.
        x: the axis that the question is about; by default the one the sweep is named after.
    """
    runs = with_readable_names(runs)
    title = f"Sweep {name(runs.sweep)}: LMC barrier and LLFC error"
    if runs.trials.empty:
        return Page(title=title, answer=nothing(runs), runs=runs)
    findings = find(runs, x)
    return Page(
        title=title,
        first=sweep_answer(runs, findings.plan),
        opening=answer.opening(runs.trials, findings.found),
        answer=answer.answer(runs.trials, findings.found),
        runs=runs,
        lines=answer.trends(runs.trials, findings.plan),
        parts=sections_of(findings),
    )


def write_report(page: Page, path: Path, links: Mapping[str, str] | None = None) -> Path:
    """Write `page` to `path`, whole or not at all, and return it.

    Its figures and tables are written into the folder beside it that is called as it is, without
    its ending; see `analysis.page.copies`.

    Args:
        page: what it says.
        path: the HTML file; its folder is made if it is not there.
        links: addresses of other pages, by what they are called.
    """
    folder = path.with_suffix("")
    write_copies(page.parts, folder, marks_of(page.runs.trials))
    content = render(page, copies=folder.name if page.parts else "", links=links)
    return write_bytes(content.encode(), path)


def render(page: Page, copies: str = "", links: Mapping[str, str] | None = None) -> str:
    """The page as text.

    Args:
        page: what it says.
        copies: the folder beside it with the figures and tables; empty if there is none.
        links: addresses of other pages, by what they are called.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"latex": to_latex}
    template = environment.from_string((files("analysis.page") / "report.html").read_text("utf-8"))
    runs, marks = page.runs, marks_of(page.runs.trials)
    about: dict[str, Any] = {
        "warnings": warnings(runs),
        "definitions": DEFINITIONS,
        "unfinished": None if runs.unfinished.empty else unfinished_table(runs),
        "provenance": provenance(runs),
        "trials": None if runs.trials.empty else trial_table(runs),
    }
    return template.render(
        page=page,
        parts=[(part, _drawn(part, marks)) for part in page.parts],
        copies=quote(copies),
        links=links or {},
        subtitle=f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {runs.source}",
        **about,
    )


def _drawn(part: Part, marks: Mapping[str, Mark]) -> str:
    """The figure of `part` as an element of the page; empty without one."""
    if part.figure is None:
        return ""
    return resolve(to_svg(part.figure, part.key, part.alt or part.caption), marks)
