"""Frames and other content as files, whole or not there."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from llfc.atomic import made_whole


def write_frame(frame: pd.DataFrame, path: Path) -> Path:
    """Write `frame` to `path` as CSV or Parquet, as its ending says.

    In CSV several words in a cell are parted by spaces, and of two checkpoints each has a column.

    Raises:
        ValueError: if it ends otherwise.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"file must end in .csv or .parquet, got {str(path)!r}")
    buffer = io.BytesIO()
    if path.suffix == ".csv":
        _plain(frame).to_csv(buffer, index=False)
    else:
        frame.to_parquet(buffer, index=False)
    return write_bytes(buffer.getvalue(), path)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` without tuples."""
    columns: dict[Any, Any] = {}
    for name, cells in frame.items():
        if not any(isinstance(cell, tuple) for cell in cells):
            columns[name] = cells
        elif name == "checkpoints":
            pairs = [cell if isinstance(cell, tuple) else ("", "") for cell in cells]
            for end, files in zip(("a", "b"), zip(*pairs, strict=True), strict=True):
                columns[f"checkpoint_{end}"] = [file.rpartition("@")[0] for file in files]
        else:
            columns[name] = [" ".join(map(str, c)) if isinstance(c, tuple) else c for c in cells]
    return pd.DataFrame(columns, index=frame.index)


def write_bytes(content: bytes, path: Path) -> Path:
    """Write `content` to `path`; its folder is made if it is not there."""
    with made_whole(path) as beside:
        beside.write_bytes(content)
    return path
