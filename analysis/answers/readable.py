"""Plug-ins under readable names: without the digits of their code, as long as one version is shown.

Parameters have the full name, `mynet:build@DIGITS`; people read `mynet:build`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from analysis.runs.frames import Runs
from llfc.names import readable

# The parameters that may be the name of a plug-in.
NAMED = ("architecture", "dataset", "matching", "correction", "task")


def with_readable_names(runs: Runs) -> Runs:
    """`runs` with plug-ins called by file and function; in full where several share that name."""
    trials, unfinished = runs.trials.copy(), runs.unfinished.copy()
    for column in NAMED:
        shown = _shown(v for frame in (trials, unfinished) for v in frame.get(column, ()))
        for frame in (trials, unfinished):
            if shown and column in frame:
                frame[column] = frame[column].map(lambda value, to=shown: to.get(value, value))
    return replace(runs, trials=trials, unfinished=unfinished)


def _shown(names: Iterable[object]) -> Mapping[object, str]:
    """The short name of each plug-in that no other one shares."""
    given = [name for name in dict.fromkeys(names) if isinstance(name, str)]
    counts = Counter(map(readable, given))
    return {n: readable(n) for n in given if readable(n) != n and counts[readable(n)] == 1}
