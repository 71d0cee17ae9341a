"""The table of a dry run, a row per kind of network, and the lines below it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from llfc.names import counted

UNITS = ("kB", "MB", "GB", "TB")
HEADER = ("networks", "there", "trials", "there", "training h", "measuring h", "disk")


@dataclass
class Row:
    """What networks of one kind, and their trials, take.

    Attributes:
        kind: architecture, width, options, data set.
        networks: to be trained, those included that are trained again for a state.
        networks_there: that are trained already.
        trials: to be measured.
        trials_there: that are measured already.
        training: core seconds.
        measuring: core seconds.
        weights: bytes of networks to be trained.
        states: bytes of training states to be kept where branches fork.
        results: bytes of results to be measured, in the store and in MLflow.
    """

    kind: str
    networks: int = 0
    networks_there: int = 0
    trials: int = 0
    trials_there: int = 0
    training: float = 0.0
    measuring: float = 0.0
    weights: int = 0
    states: int = 0
    results: int = 0

    @property
    def disk(self) -> int:
        """Bytes."""
        return self.weights + self.states + self.results

    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        counts = self.networks, self.networks_there, self.trials, self.trials_there
        hours = _hours(self.training), _hours(self.measuring)
        return (self.kind, *map(str, counts), *hours, size(self.disk))


def table(name: str, rows: Sequence[Row], *, wall: float, workers: int, running: int) -> list[str]:
    """The lines of a dry run.

    Args:
        name: the sweep's.
        rows: one per kind.
        wall: seconds until all is done.
        workers: how many there are here.
        running: bytes of the states of networks in training, at most.
    """
    total = _total(rows)
    cells = [(f"{name}, dry run", *HEADER), *(row.cells() for row in (*rows, total))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in cells
    ]
    core = _hours(total.training + total.measuring)
    return [
        *lines,
        f"{core} core hours, {_clock(wall)} with the {counted(workers, 'worker')} of this machine"
        " when it does nothing else; Ray's start and the report come on top",
        f"disk: networks {size(total.weights)}, states where branches fork {size(total.states)},"
        f" results {size(total.results)}; while it trains up to {size(running)} more",
    ]


def sum_line(sweeps: Sequence[Sequence[Row]], *, wall: float) -> str:
    """The line of a study with several sweeps, whose rows these are: what all of them take.

    Args:
        sweeps: the rows of each.
        wall: seconds until all is done, one sweep after another.
    """
    total = _total([row for rows in sweeps for row in rows])
    core = _hours(total.training + total.measuring)
    return (
        f"all {counted(len(sweeps), 'sweep')}: {counted(total.networks, 'network')} to train,"
        f" {counted(total.trials, 'trial')} to measure, {core} core hours, {_clock(wall)},"
        f" {size(total.disk)}"
    )


def _total(rows: Sequence[Row]) -> Row:
    total = Row("total")
    for field in fields(Row)[1:]:
        setattr(total, field.name, sum(getattr(row, field.name) for row in rows))
    return total


def size(count: float) -> str:
    """Bytes for people.

    >>> size(0), size(1_500), size(23_400_000)
    ('0 kB', '1.5 kB', '23 MB')
    """
    count /= 1000
    for unit in UNITS:
        if count < 999.5 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.1f} {unit}" if 0 < count < 9.95 else f"{count:.0f} {unit}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2g}" if seconds < 36000 else f"{seconds / 3600:.0f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
