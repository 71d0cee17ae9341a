"""How a worker stores the measurement of a trial, and how the driver reads it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from analysis.runs import schema
from llfc.networks.store import Store
from llfc.results import Connection, connection_from_json, connection_to_json
from llfc.specs import Trial, fingerprint
from sweeps.record.titles import title_of

# The store's folders: what was found, what made it where, and its figures.
RESULTS, PROVENANCE = "connections", "provenance"
DRAWING = 1  # counts the changes of figures, so that what an older one drew is drawn anew
FIGURES = f"pictures-{DRAWING}"
FIGURE_NAME = re.compile(r"[\w-]+")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The result of a trial, with its figures and tags.

    Attributes:
        text: what was found as JSON, written once, by the worker; the run's artifact is this text.
        found: the same, parsed once.
        tags: of the run: which code, node and device it is from.
        figures: PNG files by name; None if they are not there and have to be drawn.
    """

    text: str
    found: Connection
    tags: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, bytes] | None = None

    @classmethod
    def of(
        cls,
        found: Connection,
        tags: Mapping[str, str],
        figures: Mapping[str, bytes] | None = None,
    ) -> Self:
        """The measurement that found `found`."""
        return cls(text=connection_to_json(found), found=found, tags=tags, figures=figures)


def draw(trial: Trial, found: Connection) -> dict[str, bytes]:
    """Every figure of `trial` as PNG, by name."""
    # Here, not above: matplotlib takes a second to load, and who only trains has no use for it.
    from analysis.figures.measures import trial_figures
    from analysis.figures.style import to_png

    return {name: to_png(figure) for name, figure in trial_figures(found, title_of(trial)).items()}


def save(store: Store, trial: Trial, measurement: Measurement) -> None:
    """Leave `measurement` of `trial` in the store; complete once what was found is there.

    Raises:
        ValueError: if the store cannot be written, or its disk is full.
    """
    name = fingerprint(trial)
    store.put_files(FIGURES, name, measurement.figures or {})
    store.put_text(PROVENANCE, name, json.dumps(dict(measurement.tags)))
    store.put_text(RESULTS, name, measurement.text)


def saved(store: Store) -> set[str]:
    """Fingerprints of the trials that `store` has a result of, in one look; none is read."""
    return set(store.names(RESULTS))


def is_whole(store: Store, trial: Trial) -> bool:
    """Whether the result of `trial` can be read; a damaged one is quarantined."""
    return store.get_text(RESULTS, fingerprint(trial)) is not None


def load(store: Store, trial: Trial) -> Measurement:
    """The measurement of `trial` that `save` left.

    Raises:
        LookupError: if it is not in the store; one that is not such is quarantined.
    """
    name = fingerprint(trial)
    text = store.get_text(RESULTS, name)
    try:
        if text is not None:
            return Measurement(
                text=text,
                found=connection_from_json(text),
                tags=_tags(store, name),
                figures=_figures(store, name),
            )
    except ValueError as error:
        store.quarantine_text(RESULTS, name, str(error))
    raise LookupError("its result is not in the store: run the sweep again")


def instability(store: Store, trial: Trial) -> tuple[float, float] | None:
    """The mean barrier of the test error of `trial` and its standard error; None if not known."""
    if not store.has_text(RESULTS, fingerprint(trial)):
        return None
    try:
        scalars = load(store, trial).found.scalars()
    except LookupError:
        return None
    return scalars[schema.INSTABILITY], scalars.get(schema.INSTABILITY_SE, 0.0)


def forget_figures(store: Store, trial: Trial) -> None:
    """Delete the figures of `trial`, if that is possible; they can be drawn again."""
    store.remove(FIGURES, fingerprint(trial))


def _tags(store: Store, name: str) -> dict[str, str]:
    try:
        tags = json.loads(store.get_text(PROVENANCE, name) or "{}")
        return {str(key): str(value) for key, value in tags.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}


def _figures(store: Store, name: str) -> dict[str, bytes] | None:
    figures = store.get_files(FIGURES, name)
    if figures is None or not all(map(FIGURE_NAME.fullmatch, figures)):  # they name files
        return None
    return figures
