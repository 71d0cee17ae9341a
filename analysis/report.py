"""One sweep's answers as one self-contained HTML page."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from analysis import answer
from analysis.columns import DEFINITIONS
from analysis.frames import Runs
from analysis.grid import name
from analysis.marks import Mark, marks_of, resolve
from analysis.provenance import nothing, provenance, unfinished_table, warnings
from analysis.sections.part import Part, find
from analysis.sections.registry import parts
from analysis.style import to_svg


def write_report(runs: Runs, path: Path, x: str | None = None) -> Path:
    """Write the page to `path`, whole or not at all, and return it.

    Args:
        runs: the sweep's trials; any number, none included.
        path: the HTML file; its folder is made if it is not there.
        x: the axis that the question is about; by default the one the sweep is named after.
    """
    page = render(runs, x)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return path


def render(runs: Runs, x: str | None = None) -> str:
    """The page as text."""
    content: dict[str, Any] = {"answer": nothing(runs), "trends": [], "parts": []}
    if not runs.trials.empty:
        findings, marks = find(runs, x), marks_of(runs.trials)
        content = {
            "answer": answer.answer(runs.trials, findings.found),
            "trends": answer.trends(runs.trials, findings.plan),
            "parts": [(part, _drawn(part, marks)) for part in parts(findings)],
        }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((files("analysis") / "report.html").read_text("utf-8"))
    return template.render(
        **content,
        title=f"Sweep {name(runs.sweep)}: LMC barrier and LLFC error",
        subtitle=f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC from {runs.source}",
        warnings=warnings(runs),
        definitions=DEFINITIONS,
        unfinished=None if runs.unfinished.empty else unfinished_table(runs),
        provenance=provenance(runs),
    )


def _drawn(part: Part, marks: Mapping[str, Mark]) -> str:
    """The figure of `part` as an element of the page; empty without one."""
    if part.figure is None:
        return ""
    return resolve(to_svg(part.figure, part.key, part.alt or part.caption), marks)
