"""The results of a trial flattened for MLflow: metrics with steps, tables as text."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from analysis.runs import schema
from llfc.results import CURVE, PROFILE, Connection, Table, midpoint

MetricRow = tuple[str, float, int]  # a metric's name, value and step


def metrics_of(found: Connection) -> list[MetricRow]:
    """Every finite number of `found` that is worth a chart, as (name, value, step).

    Scalars have step 0; `curve/*` has the position's index as step, `layer/*` (at the middle
    position) and the tables with one row per layer have the layer's.
    """
    rows: list[MetricRow] = [(key, value, 0) for key, value in found.scalars().items()]
    for column in CURVE[1:]:
        rows += [
            (schema.series(schema.CURVE_SERIES, column), v, i)
            for i, v in enumerate(found.curve[column])
        ]
    middle = midpoint(found.curve["alpha"])
    for step, layer in enumerate(found.layers):
        profile = {column: getattr(layer, column)[middle] for column in PROFILE}
        profile["baseline"] = layer.baseline
        rows += [(schema.series(schema.LAYER_SERIES, c), v, step) for c, v in profile.items()]
    for name, table in found.tables.items():
        rows += _by_layer(name, table)
    return [(name, float(value), step) for name, value, step in rows if math.isfinite(value)]


def tables_of(found: Connection) -> dict[str, str]:
    """Every table of `found` as CSV text, by name."""
    curve = zip(*(found.curve[column] for column in CURVE), strict=True)
    layers = (
        (layer.name, alpha, *(getattr(layer, column)[i] for column in PROFILE), layer.baseline)
        for layer in found.layers
        for i, alpha in enumerate(found.curve["alpha"])
    )
    return {
        schema.CURVE_TABLE: _csv(CURVE, curve),
        schema.LAYER_TABLE: _csv(("layer", "alpha", *PROFILE, "baseline"), layers),
        **{
            name: _csv(list(table), zip(*table.values(), strict=True))
            for name, table in found.tables.items()
        },
        schema.LEFT_OUT_TABLE: _csv(
            ("kind", "name", "reason"),
            ((entry.kind, entry.name, entry.reason) for entry in found.left_out),
        ),
    }


def _by_layer(name: str, table: Table) -> Iterator[MetricRow]:
    """A table with one row per layer: one series per column, its step the layer's place.

    Where further words tell rows apart, a series for each. Tables of other kinds, and those with
    several rows per layer that numbers tell apart, as one per image, stay tables.
    """
    words = [column for column in table if isinstance(table[column], list)]
    named = list(zip(*(table[word] for word in words), strict=True))
    if "layer" not in table or len(set(named)) < len(named):
        return
    steps: Counter[tuple[str, ...]] = Counter()
    for at in range(len(table["layer"])):
        kind = tuple(str(table[word][at]) for word in words if word != "layer")
        for column in table:
            if column not in words:
                yield schema.series(name, column, *kind), float(table[column][at]), steps[kind]
        steps[kind] += 1


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
