"""What a sweep was asked for, as a study file beside its report."""

import dataclasses
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.runs.files import write_bytes
from analysis.runs.server import without_password
from llfc.specs import Trial
from sweeps.grid.grid import DEFAULTS, EVERY_AXIS, MEASURING
from sweeps.grid.settings import Settings
from sweeps.grid.study_file import text_of
from sweeps.grid.sweep import Sweep


def keep(sweep: Sweep, trials: Sequence[Trial], settings: Settings, *, changed: bool) -> None:
    """Write what was asked for to where the report and its copies lie.

    Args:
        sweep: the question.
        trials: those of its grid, at least one.
        settings: how it was asked.
        changed: whether to replace what stands there.
    """
    path = _path(sweep, settings)
    if changed or not path.is_file():
        write_bytes(_text(sweep, trials, settings).encode(), path)


def lost(sweep: Sweep, trials: Sequence[Trial], settings: Settings) -> list[str]:
    """The axes of which the report so far has values that it will not have after this sweep."""
    path = _path(sweep, settings)
    if not path.is_file():
        return []
    usual = _table(text_of(dataclasses.replace(sweep, axes=dict(DEFAULTS)), {}), sweep)
    before, after = (
        {**usual, **_table(text, sweep)}
        for text in (path.read_text(), _text(sweep, trials, settings))
    )
    return [
        axis
        for axis in (*EVERY_AXIS, *MEASURING)
        if any(value not in _values(after.get(axis)) for value in _values(before.get(axis)))
    ]


def warn_of_lost(sweep: Sweep, trials: Sequence[Trial], settings: Settings) -> None:
    """Say which values the report so far will lose by being replaced, if any."""
    if axes := lost(sweep, trials, settings):
        print(
            f"warning: {settings.folder / 'reports' / sweep.name}.html has other values of"
            f" {', '.join(axes)} and will be replaced: --name NAME gives this sweep its own",
            file=sys.stderr,
        )


def _table(text: str, sweep: Sweep) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text).get(sweep.name, {})
    return found


def _values(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _path(sweep: Sweep, settings: Settings) -> Path:
    return settings.folder / "reports" / sweep.name / "config.toml"


def _text(sweep: Sweep, trials: Sequence[Trial], settings: Settings) -> str:
    fields = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    measuring = {name: getattr(trials[0], name) for name in MEASURING}
    apart = ("name", "dry_run")
    given = {name: v for name, v in fields.items() if v is not None and name not in apart}
    if settings.tracking_uri is not None:
        given["tracking_uri"] = without_password(settings.tracking_uri)
    return text_of(sweep, {**measuring, **given})
