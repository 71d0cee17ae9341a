"""The numbers of a pair as JSON and CSV, and as Parquet where pyarrow is installed."""

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llfc.results import PROFILE, Connection, connection_to_json

Columns = Mapping[str, Sequence[Any]]


def frames(found: Connection) -> dict[str, Columns]:
    """The tables of a connection by name, each of columns of equal length."""
    alpha, scalars = found.curve["alpha"], found.scalars()
    layers: dict[str, list[Any]] = {name: [] for name in ("layer", "kind", "depth", "baseline")}
    layers |= {name: [] for name in ("alpha", *PROFILE)}
    for layer in found.layers:
        count = len(alpha)
        for name, value in (
            ("layer", layer.name),
            ("kind", layer.kind),
            ("depth", layer.depth),
            ("baseline", layer.baseline),
        ):
            layers[name] += [value] * count
        layers["alpha"] += alpha.tolist()
        for name in PROFILE:
            layers[name] += np.asarray(getattr(layer, name)).tolist()
    left_out = {
        name: [getattr(entry, name) for entry in found.left_out]
        for name in ("kind", "name", "reason")
    }
    return {
        "scalars": {"name": list(scalars), "value": list(scalars.values())},
        "curve": {name: list(column) for name, column in found.curve.items()},
        "layers": layers,
        "left_out": left_out,
        **{name: {c: list(x) for c, x in table.items()} for name, table in found.tables.items()},
    }


def write_numbers(found: Connection, folder: Path) -> None:
    """Write all of a connection into `folder`, which is there."""
    (folder / "connection.json").write_text(connection_to_json(found), encoding="utf-8")
    for name, columns in frames(found).items():
        write_table(columns, folder / name)


def write_table(columns: Columns, path: Path) -> None:
    """Write a table as `path` with `.csv`, and with `.parquet` if pyarrow is there."""
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    if importlib.util.find_spec("pyarrow") is not None:
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table({name: list(column) for name, column in columns.items()})
        pyarrow.parquet.write_table(table, path.with_suffix(".parquet"))
