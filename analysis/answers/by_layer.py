"""What trials measured layer by layer, averaged over trials that have the same layers."""

import pandas as pd

from analysis.answers.tables import layer_keys
from analysis.runs.frames import Runs
from analysis.runs.grid import GridLayout


def measure_means(
    runs: Runs, table: str, column: str, plan: GridLayout, *, kind: str | None = None
) -> pd.DataFrame:
    """Mean and standard deviation over trials of `column`, layer by layer.

    Args:
        runs: what was found.
        table: a name in `llfc.results.TABLES`, with one row per layer, or per (layer, kind).
        column: of that table.
        plan: its series, and what makes the layers, keep trials apart.
        kind: the column of words that tells a layer's rows apart; None if there is none.

    Returns:
        One row per (series, kind, layer), layers in forward order: the axes of `layer_keys`,
        `kind`, `index` from 0, `layer`, `mean`, `sd` (NaN for a single trial), `trials`. Empty if
        no trial measured it.
    """
    keys = layer_keys(plan)
    rows = runs.table(table)
    columns = [*keys, "kind", "index", "layer", "mean", "sd", "trials"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    apart = ["run_id", *([kind] if kind else [])]
    rows = rows.assign(
        index=rows.groupby(apart, observed=True).cumcount(),
        kind=rows[kind].astype(str) if kind else "",
        value=rows[column].astype(float),
    ).astype({"run_id": str, "layer": str})
    joined = rows.merge(runs.trials[["run_id", *keys]], on="run_id")
    groups = joined.groupby([*keys, "kind", "index", "layer"], dropna=False, observed=True)["value"]
    means = groups.agg(mean="mean", sd="std", trials="count").reset_index()
    return means[columns]
