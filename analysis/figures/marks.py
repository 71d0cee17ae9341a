"""Points that know their trial: what one says under the pointer, and the run that it leads to."""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.collections import PathCollection

from analysis.runs.columns import three_digits
from analysis.runs.grid import ORDER, name, show, values
from analysis.runs.schema import BARRIER, LLFC

# Points of more trials say nothing: a page would take more than a megabyte, and none be hit.
MOST_POINTS = 1000
_MARK = re.compile(r"""<a xlink:href=(["'])trial:(.*?)\1[^>]*>(.*?)</a>""", re.DOTALL)
# What every point says of its trial, whether or not it varies.
ALWAYS_NAMED = ("architecture", "width", "matching", "seed")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a point says.

    Attributes:
        title: of its trial, in a line.
        url: of its run's page; empty if it has none.
    """

    title: str
    url: str


def mark(dots: PathCollection, run_ids: Iterable[str]) -> None:
    """Write on each of `dots` which run it is; in a picture that is not resolved, nothing shows."""
    dots.set_urls([f"trial:{run_id}" for run_id in run_ids])
    dots.set_clip_on(False)  # axes fit their points, and clipping each would double its markup


def marks_of(trials: pd.DataFrame) -> Mapping[str, Mark]:
    """The mark of each trial by run id; none if there are more than MOST_POINTS."""
    if len(trials) > MOST_POINTS:
        return {}
    axes = [a for a in (*ORDER, "seed") if a in ALWAYS_NAMED or len(values(trials, a)) > 1]
    return {
        row["run_id"]: Mark(title=_title(row, axes), url=row["url"])
        for row in trials.to_dict("records")
    }


def hint(trials: pd.DataFrame) -> str:
    """What a caption says of the points of `trials`, after its last sentence."""
    if len(trials) > MOST_POINTS:
        return f" There are more than {MOST_POINTS} trials, so points do not show theirs."
    leads = ", and a click opens its run" if trials["url"].any() else ""
    return f" Hovering over a point shows its trial{leads}."


def resolve(svg: str, marks: Mapping[str, Mark]) -> str:
    """`svg` with what each marked point says; a point that `marks` lacks says nothing."""

    def one(found: re.Match[str]) -> str:
        run_id, dot = html.unescape(found[2]), found[3].strip()
        if run_id not in marks:
            return dot
        told = f"<title>{html.escape(marks[run_id].title)}</title>{dot}"
        if not marks[run_id].url:
            return f"<g>{told}</g>"
        # Not a stop of the tab key: there are hundreds, and the table of runs has them too.
        url = html.escape(marks[run_id].url)
        return f'<a href="{url}" target="_blank" rel="noopener" tabindex="-1">{told}</a>'

    return _MARK.sub(one, svg)


def _title(row: Mapping[Any, Any], axes: Iterable[str]) -> str:
    words = [
        show(a, row[a]) if a == "architecture" else f"{name(a)} {show(a, row[a])}" for a in axes
    ]
    numbers = f"barrier {three_digits(row[BARRIER])}, LLFC error {three_digits(row[LLFC])}"
    return f"{', '.join(words)}: {numbers}; run {row['run_id']}"
