"""One sweep's answers for people: a text for the terminal, and one self-contained HTML page."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from analysis import answer, sweep_figures, tables
from analysis.columns import BARRIER, DEFINITIONS, LLFC, heading, label
from analysis.correlations import correlations
from analysis.frames import Runs
from analysis.grid import Layout, layout, name, values
from analysis.style import to_svg
from analysis.tables import correlation_table

SPREAD = "mean ± standard deviation over seeds"
LAYERS = "LLFC error / baseline at α = 1/2 by layer, means over trials"
CHANCE = 0.9  # a network that errs as often as this share of chance is hardly trained
# More layers than this, and other measures of correlation, are left to the page.
SCREEN = 24
ON_SCREEN = ("Spearman", "Pearson")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of the page: a figure with its caption, a table with its caption, or both."""

    title: str
    figure: str = ""
    caption: str = ""
    table: pd.DataFrame | None = None
    table_caption: str = ""


def summary_text(runs: Runs, x: str | None = None) -> str:
    """What a sweep says, for a terminal of 100 columns.

    Args:
        runs: the sweep's trials; any number, none included.
        x: the axis that the question is about; by default the one the sweep is named after.
    """
    if runs.trials.empty:
        return "\n".join([nothing(runs), *warnings(runs)])
    trials, plan = runs.trials, layout(runs.trials, runs.sweep, x)
    found = correlations(trials, LLFC, BARRIER, by=groups(trials, plan))
    keys, families = len(plan.panels) + 1, len(tables.layer_keys(plan))
    layers = tables.layer_table(trials, runs.layers, plan)
    blocks = [
        fill(answer.answer(trials, found), tables.TERMINAL),
        _block(f"{heading(BARRIER)}, {SPREAD}", tables.cell_table(trials, BARRIER, plan), keys),
        _block(f"{heading(LLFC)}, {SPREAD}", tables.cell_table(trials, LLFC, plan), keys),
    ]
    if 0 < len(layers) <= SCREEN:
        blocks.append(_block(f"{LAYERS}, {name(plan.series)} by column", layers, families))
    shown = found[found["method"].isin(ON_SCREEN)]
    blocks.append(_block(f"{heading(BARRIER)} with {label(LLFC)}", correlation_table(shown), 2))
    return "\n\n".join([*blocks, *warnings(runs)])


def _block(title: str, frame: pd.DataFrame, keys: int) -> str:
    return f"{fill(title, tables.TERMINAL)}\n\n{tables.to_text(frame, keys)}"


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
        trials, plan = runs.trials, layout(runs.trials, runs.sweep, x)
        found = correlations(trials, LLFC, BARRIER, by=groups(trials, plan))
        content = {
            "answer": answer.answer(trials, found),
            "trends": answer.trends(trials, plan),
            "parts": parts(runs, plan, found),
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


def parts(runs: Runs, plan: Layout, found: pd.DataFrame) -> list[Part]:
    """The sections of the page, in order."""
    return [
        _barriers(runs.trials, plan),
        _scatter(runs.trials, plan, found),
        _layers(runs, plan),
    ]


def groups(trials: pd.DataFrame, plan: Layout) -> list[str]:
    """The axes within whose values correlations are given as well."""
    axes = dict.fromkeys([plan.series, "matching", "architecture"])
    return [axis for axis in axes if len(values(trials, axis)) > 1]


def nothing(runs: Runs) -> str:
    """The line that a sweep without a finished trial gets."""
    return f"Sweep {runs.sweep} has no finished trial in {runs.source}."


def warnings(runs: Runs) -> list[str]:
    """A line for each kind of run that is not in the numbers."""
    states = runs.unfinished["status"].value_counts().sort_index()
    lines = [
        f"{count} trial{'s' if count != 1 else ''} {state}, not in these numbers"
        + (" (in flight or abandoned)." if state == "RUNNING" else ".")
        for state, count in states.items()
    ]
    if runs.superseded:
        lines.append(f"{runs.superseded} runs left out: a newer run of the same trial is used.")
    if runs.outdated:
        lines.append(f"{runs.outdated} runs left out: made by another version of the method.")
    return [*lines, *_chance_warnings(runs.trials), *_code_warnings(runs.trials)]


def _chance_warnings(trials: pd.DataFrame) -> list[str]:
    """A line if networks were hardly trained: between two of them there is no barrier to find."""
    # Runs from before there was a chance column are not judged.
    ends = trials.reindex(columns=["test_error_a", "test_error_b", "test_error_chance"])
    count = int((ends.iloc[:, :2].max(axis=1) > CHANCE * ends["test_error_chance"]).sum())
    if not count:
        return []
    return [
        f"{count} trials have an end that is near chance (test error above {CHANCE:.0%} of that of"
        " always naming one class): a low barrier says nothing there."
    ]


def _code_warnings(trials: pd.DataFrame) -> list[str]:
    """A line if the numbers come from different code, or from code that no commit has."""
    commits = sorted(trials["commit"].unique())
    lines = []
    if len(commits) > 1:
        names = ", ".join(name[:12] + name[40:] for name in commits)
        lines.append(f"These numbers come from {len(commits)} versions of the code: {names}.")
    edited = int(trials["commit"].str.endswith("+changes").sum())
    if edited:
        lines.append(f"{edited} trials were run by code with changes that were not committed.")
    return lines


def unfinished_table(runs: Runs) -> pd.DataFrame:
    """The trials without a finished run, for people."""
    frame = runs.unfinished[["fingerprint", "status", "reason", "start", "attempts"]]
    return frame.assign(start=frame["start"].dt.strftime("%Y-%m-%d %H:%M"))


def provenance(runs: Runs) -> Mapping[str, str]:
    """Data, numbers of networks and seeds, commit, versions, device and command."""
    if runs.trials.empty:
        return {"tracking store": runs.source}
    trials = runs.trials
    lines = {
        "data": "; ".join(map(_data, values(trials, "dataset"))),
        "networks": answer.counts(trials),
        "seeds": ", ".join(map(str, values(trials, "seed"))),
        "logged": "{:%Y-%m-%d %H:%M} to {:%Y-%m-%d %H:%M} UTC".format(*_ends(trials["start"])),
        "tracking store": runs.source,
    }
    for column in ("commit", "device", "versions", "command"):
        lines[column] = "; ".join(map(_plain, sorted(trials[column].unique()))) or "not recorded"
    return lines


def _ends(column: "pd.Series[Any]") -> tuple[Any, Any]:
    return column.min(), column.max()


def _data(dataset: str) -> str:
    if not dataset.startswith("imagefolder:"):
        return dataset
    return (
        f"{dataset} (decoded image files: if they are JPEG, their pixels are not those of the"
        " original data set, and neither are these numbers)"
    )


def _plain(text: str) -> str:
    """A tag for people: a JSON object as a list of its entries."""
    if not text.startswith("{"):
        return text
    return ", ".join(f"{key} {value}" for key, value in json.loads(text).items())


def _barriers(trials: pd.DataFrame, plan: Layout) -> Part:
    figure = sweep_figures.barrier_figure(trials, BARRIER, plan)
    caption = (
        f"{heading(BARRIER)} against {name(plan.x)}, by {name(plan.series)}. Full markers are means"
        " over seeds; a faint point is one trial."
    )
    return Part(
        title=f"Barrier against {name(plan.x)}",
        figure=to_svg(figure, "barrier", caption),
        caption=caption,
        table=tables.cell_table(trials, BARRIER, plan),
        table_caption=f"{heading(BARRIER)}, {SPREAD}.",
    )


def _scatter(trials: pd.DataFrame, plan: Layout, found: pd.DataFrame) -> Part:
    row = answer.headline(found)
    title = f"Spearman's ρ {row['value']:.2f}, {row['trials']} trials, {row['seeds']} seeds"
    figure = sweep_figures.scatter_figure(trials, LLFC, BARRIER, plan.series, title)
    caption = f"A point is one trial: {label(BARRIER)} against {label(LLFC)}, at α = 1/2."
    return Part(
        title="Barrier against LLFC error",
        figure=to_svg(figure, "scatter", f"{caption} {title}."),
        caption=caption,
        table=correlation_table(found),
        table_caption="Correlation of the two, over all trials and within groups; 95 % intervals.",
    )


def _layers(runs: Runs, plan: Layout) -> Part:
    figure = sweep_figures.profile_figure(runs.trials, runs.layers, plan)
    caption = (
        "LLFC error at α = 1/2 by layer (solid), averaged over all trials of a series, with one"
        " standard deviation over trials, beside its baseline (dashed)."
    )
    return Part(
        title="LLFC error by layer",
        figure=to_svg(figure, "layers", caption),
        caption=caption,
        table=tables.layer_table(runs.trials, runs.layers, plan),
        table_caption=f"{LAYERS}.",
    )
