"""Frames and other content as files, whole or not there."""

import io
from pathlib import Path

import pandas as pd

from llfc.atomic import made_whole


def write_frame(frame: pd.DataFrame, path: Path) -> Path:
    """Write `frame` to `path` as CSV or Parquet, as its ending says.

    Raises:
        ValueError: if it ends otherwise.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"file must end in .csv or .parquet, got {str(path)!r}")
    buffer = io.BytesIO()
    if path.suffix == ".csv":
        frame.to_csv(buffer, index=False)
    else:
        frame.to_parquet(buffer, index=False)
    return write_bytes(buffer.getvalue(), path)


def write_bytes(content: bytes, path: Path) -> Path:
    """Write `content` to `path`; its folder is made if it is not there."""
    with made_whole(path) as beside:
        beside.write_bytes(content)
    return path
