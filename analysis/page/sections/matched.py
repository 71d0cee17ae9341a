"""What matching takes off the barrier, and what of a transformer permutations cannot reach."""

import pandas as pd

from analysis.answers.matched import taken_off
from analysis.answers.tables import estimates, filled_columns
from analysis.figures.statistics import forest_figure
from analysis.page.sections.part import SEEDS, Findings, PageTable, Part, basis
from analysis.runs.columns import phrase, three_digits, units
from analysis.runs.grid import name, show
from analysis.runs.schema import BARRIER
from llfc.names import divided

TRANSFORMERS = {"gpt", "vit"}
MIXING = {"orthogonal", "orthogonal-activations", "learned"}
BEYOND = (
    "Every matching here is a permutation: of the channels of the residual stream, of the units of"
    " each MLP, of heads, and of the channels inside each head. Of what leaves a transformer's"
    " function as it is, that is a part: any invertible matrix between query and key, or between"
    " value and output, of a head, and, once the norms' gains are folded into the layers that"
    " follow, any rotation of the stream. What is left of the barrier may be due to these; a"
    " permutation cannot undo them, and they were not tried."
)


def matched_section(findings: Findings) -> Part | None:
    """The barrier of matched pairs beside that of the same pairs unmatched."""
    trials, plan = findings.runs.trials, findings.plan
    found = taken_off(trials, plan)
    if not len(found):
        return None
    keys = [axis for axis in plan.keys if axis != "matching"]
    cells = [
        ", ".join(f"{name(axis)} {show(axis, row[axis])}" for axis in keys)
        for _, row in found.iterrows()
    ]
    unit = units(trials)["loss"]
    rows = found.assign(panel="", label=cells, series=found["matching"], value=found["change"])
    matchers = {divided(matching)[0] for matching in trials["matching"]}
    beyond = set(trials["architecture"]) & TRANSFORMERS and not MIXING & matchers
    return Part(
        key="matched",
        title="What matching takes off the barrier",
        figure=forest_figure(rows, f"change of the barrier ({unit})", series="matching"),
        caption=(
            f"{phrase(BARRIER)[0].upper() + phrase(BARRIER)[1:]} of a pair that is matched, less"
            f" that of the same pair unmatched: below 0 matching helps. {SEEDS} {basis(trials)}"
            + (f" {BEYOND}" if beyond else "")
        ),
        tables=[_matched_table(found, keys, unit)],
    )


def _matched_table(found: pd.DataFrame, keys: list[str], unit: str) -> PageTable:
    shown = {
        **{name(axis): [show(axis, value) for value in found[axis]] for axis in keys},
        "matching": found["matching"],
        "unmatched": [three_digits(value) for value in found["unmatched"]],
        "matched": [three_digits(value) for value in found["matched"]],
        "change (95 % interval)": estimates(found, "change"),
        "left": ["–" if share != share else f"{100 * share:.0f} %" for share in found["left"]],
        "seeds": found["seeds"],
        "note": found["note"],
    }
    caption = (
        f"Means over seeds of the barrier ({unit}), the change paired by seed, and how much of the"
        " mean barrier is left."
    )
    return PageTable(key="matched", frame=filled_columns(shown), caption=caption, numbers=found)
