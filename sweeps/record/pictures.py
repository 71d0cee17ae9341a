"""A trial's figures, drawn by the worker that measured it: drawing takes longer than logging."""

import base64
import json
import re
from collections.abc import Mapping

from analysis.figures.measures import trial_figures
from analysis.figures.style import to_png
from llfc.networks.store import Store
from llfc.results import Connection
from llfc.specs import Trial, fingerprint
from sweeps.record.titles import title_of

DRAWING = 1  # counts the changes of figures, so that what an older one drew is drawn anew
PICTURES = f"pictures-{DRAWING}"  # the store's room for them
NAME = re.compile(r"[\w-]+")


def draw(trial: Trial, found: Connection) -> dict[str, bytes]:
    """Every figure of `trial` as PNG, by name."""
    return {name: to_png(figure) for name, figure in trial_figures(found, title_of(trial)).items()}


def keep(store: Store, trial: Trial, pictures: Mapping[str, bytes]) -> None:
    """Leave `pictures` of `trial` in the store."""
    texts = {name: base64.b64encode(picture).decode() for name, picture in pictures.items()}
    store.put_text(PICTURES, fingerprint(trial), json.dumps(texts))


def kept(store: Store, trial: Trial) -> dict[str, bytes] | None:
    """The pictures of `trial` that `keep` left; None if they are not there, or are no such."""
    try:
        texts = json.loads(store.get_text(PICTURES, fingerprint(trial)) or "null")
        if not all(map(NAME.fullmatch, texts)):  # they become names of files
            return None
        return {name: base64.b64decode(picture) for name, picture in texts.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def forget(store: Store, trial: Trial) -> None:
    """Take away the pictures of `trial`, if they are there and can be; they can be drawn anew."""
    store.remove_text(PICTURES, fingerprint(trial))
