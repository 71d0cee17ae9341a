"""The searches of one sweep: a bracket per seed, matching and whatever else its grid has."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from analysis.runs.grid import name
from analysis.statistics.crossing import UNDECIDED, bracket_in, verdicts
from llfc.data.datasets import Data
from llfc.names import counted
from llfc.networks.steps import in_epochs, steps_per_epoch
from llfc.specs import Network, Trial
from sweeps.grid.inputs import DataKey, data_key
from sweeps.grid.lattice import Lattice, at, lattice_of
from sweeps.grid.sweep import SPAWN, Sweep
from sweeps.record.titles import kind_of
from sweeps.run.plan import Job
from sweeps.search.bisection import (
    fewest_places,
    halves,
    most_further,
    most_places,
    next_places,
    worst_places,
)

# The barrier of a trial and its standard error; None if it is not measured.
Read = Callable[[Trial], tuple[float, float] | None]
JOBS = 3  # at most for one place: two networks and a trial


class Bracket:
    """The search of one onset.

    Args:
        trial: any trial on its axis.
        axis: along which it searches.
        lattice: where it measures.
        recheck: how many places it measures above its bracket.
        inputs: training inputs of its data set.
    """

    def __init__(
        self, trial: Trial, axis: str, lattice: Lattice, recheck: int, inputs: int
    ) -> None:
        self.lattice, self.recheck = lattice, recheck
        self._trial, self._axis, self._inputs = trial, axis, inputs
        self.found: dict[int, int] = {}  # verdicts by place
        self.asked: dict[int, Trial] = {}  # all that was ever wanted, by place

    def next(self) -> dict[int, Trial]:
        """The trials that are wanted now and were not before, by place.

        None before all earlier ones are known, so that it does not matter which is known first.
        """
        places = () if self.open else next_places(self.found, self.lattice.end, self.recheck)
        new = {place: self._at(self.lattice.value(place)) for place in places}
        self.asked |= new
        return new

    def worst(self) -> tuple[list[Trial], float]:
        """The trials that cost most from here on, and how many epochs of their trunk are replayed.

        A branch begins at its trunk's last state that is there: on the way to an early onset, or
        where an earlier branch has left one.
        """
        end, value, replayed = self.lattice.end, self.lattice.value, 0.0
        places = worst_places(self.found, end, early=self._axis in SPAWN, recheck=self.recheck)
        if self._axis in SPAWN:
            kept = {0.0, *map(value, halves(end)), *map(value, self.found)}
            for place in places:
                replayed += value(place) - max(step for step in kept if step <= value(place))
                kept.add(value(place))
            if self._axis == "spawn_step":
                replayed /= steps_per_epoch(self._trial.pair.recipe, self._inputs)
        return [self._at(value(place)) for place in places], replayed

    @property
    def open(self) -> bool:
        """Whether something is still to be measured."""
        return self.asked.keys() != self.found.keys()

    @property
    def most(self) -> int:
        """How many places may still be asked for, at most."""
        if not self.open:
            return 0
        end = self.lattice.end
        most = most_places(end, self.recheck) + most_further(end, self.recheck)
        return max(0, most - len(self.asked))

    def line(self) -> str:
        """Where the onset lies by now, for a user."""
        places = sorted(self.found)
        low, high = bracket_in([self.found[place] for place in places])
        ends = [
            "?" if end is None else f"{self.lattice.value(places[end]):g}" for end in (low, high)
        ]
        pair = self._trial.pair
        return (
            f"{name(self._axis)} {' to '.join(ends)}: {kind_of(pair)}, seed {pair.seed},"
            f" matching {self._trial.matching}"
        )

    def _at(self, value: float) -> Trial:
        trial = at(self._trial, self._axis, value)
        return dataclasses.replace(trial, pair=in_epochs(trial.pair, self._inputs))


class Brackets:
    """Every search of a sweep, and what each asks for next; a `sweeps.run.plan.Growth`.

    Args:
        sweep: has a search.
        trials: its grid at the lower end, in which each trial begins one; others are left out.
        datasets: by what `data_key` says of a network.
        read: what a trial found.

    Attributes:
        plan: the jobs that some trials need; set before any job has ended.
        on_known: called with a trial that is wanted later on and is measured already.
    """

    def __init__(
        self, sweep: Sweep, trials: Sequence[Trial], datasets: Mapping[DataKey, Data], read: Read
    ) -> None:
        assert sweep.search is not None
        self.sweep, self.search = sweep, sweep.search
        self.read = read
        self.plan: Callable[[Iterable[Trial]], Sequence[Job]] = lambda trials: ()
        self.on_known: Callable[[Trial], object] = lambda trial: None
        first = sweep.axes[sweep.x][0]
        begins = dict.fromkeys(at(trial, sweep.x, first) for trial in trials)
        self.brackets = [_bracket(sweep, trial, datasets) for trial in begins]
        self._places: dict[Trial, tuple[Bracket, int]] = {}

    @property
    def trials(self) -> list[Trial]:
        """All trials that were asked for, in their order on the axis."""
        return [b.asked[place] for b in self.brackets for place in sorted(b.asked)]

    @property
    def wanted(self) -> list[Trial]:
        """Those of them that are not measured."""
        return [t for b in self.brackets for place, t in b.asked.items() if place not in b.found]

    @property
    def most(self) -> int:
        """The largest number of jobs that may still be asked for; 0 once there are no more."""
        return sum(JOBS * bracket.most + bracket.open for bracket in self.brackets)

    def bound(self) -> str:
        """How many trials the searches take at most, for a user."""
        steps = {f"{bracket.lattice.resolution:g}" for bracket in self.brackets}
        more = sum(bracket.most for bracket in self.brackets)
        searches = f"{len(self.brackets)} search{'es'[: 2 * (len(self.brackets) != 1)]}"
        return (
            f"{searches} along {name(self.sweep.x)} to a resolution of"
            f" {' and '.join(sorted(steps))}: at most {more} further trials as they go on"
        )

    @cached_property
    def tag(self) -> str:
        """What the run of a trial says of the search: its axis, resolution and threshold."""
        resolution = max(bracket.lattice.resolution for bracket in self.brackets)
        content = {
            "axis": self.sweep.x,
            "resolution": resolution,
            "threshold": self.search.threshold,
            "recheck": self.search.recheck,
        }
        return json.dumps(content)

    def forecast(self) -> tuple[list[Trial], float, str]:
        """The costliest end of the searches, for a dry run.

        Returns:
            All trials, those that are measured included; how many epochs of trunks are replayed
            beside what these need; and a line that says what bounds them.
        """
        trials, replayed = self.trials, 0.0
        for bracket in self.brackets:
            more, again = bracket.worst()
            trials, replayed = trials + more, replayed + again
        ends = [bracket.lattice.end for bracket in self.brackets]
        counts = (fewest_places, most_places, most_further)
        fewest, most, further = (sum(of(end, self.search.recheck) for end in ends) for of in counts)
        line = (
            "counted is the costliest way that the search may go if what is stable stays so: it"
            f" takes {counted(fewest, 'trial')} where the test set decides each, {most} at most,"
            f" and a grid of its resolution {sum(ends) + len(ends)}"
        )
        if further:
            line += f"; if a recheck finds an unstable pair, up to {counted(further, 'trial')} more"
        return list(dict.fromkeys(trials)), replayed, line

    def follow(self) -> None:
        """Ask for what is wanted, and on from each trial that is measured already."""
        for bracket in self.brackets:
            self._ask(bracket)
        self._unknown(self.wanted)

    def ended(self, job: Job, *, failed: bool) -> Sequence[Job]:
        """The jobs that are wanted now that `job` has ended; one that failed decides nothing."""
        if not isinstance(job.record, Trial) or job.record not in self._places:
            return ()
        trial = job.record
        return self.plan(self._unknown(self._learn(trial, None if failed else self.read(trial))))

    def lines(self) -> list[str]:
        """Where every open search stands."""
        return [bracket.line() for bracket in self.brackets if bracket.open]

    def with_states(self, jobs: Sequence[Job]) -> list[Job]:
        """`jobs`, where trunks keep states on the way to an early onset, for branches."""
        return [self._with_states(job) for job in jobs] if self.sweep.x in SPAWN else list(jobs)

    def _unknown(self, wanted: Sequence[Trial]) -> list[Trial]:
        """Those of `wanted`, and of what is wanted once they are known, that are not measured."""
        new, found = list(wanted), []
        while new:
            trial = new.pop()
            value = self.read(trial)
            if value is None:
                found.append(trial)
            else:
                self.on_known(trial)
                new += self._learn(trial, value)
        return found

    def _ask(self, bracket: Bracket) -> list[Trial]:
        new = bracket.next()
        self._places |= {trial: (bracket, place) for place, trial in new.items()}
        return list(new.values())

    def _learn(self, trial: Trial, value: tuple[float, float] | None) -> list[Trial]:
        """Note what `trial` found, None for nothing; the trials that are wanted then."""
        bracket, place = self._places.pop(trial)
        bracket.found[place] = UNDECIDED
        if value is not None:
            barrier, error = (np.array([number]) for number in value)
            bracket.found[place] = int(verdicts(barrier, error, self.search.threshold)[0])
        return self._ask(bracket)

    def _with_states(self, job: Job) -> Job:
        root = job.record
        if not isinstance(root, Network) or root.is_branch:
            return job
        own = [b for b in self.brackets if b.asked and next(iter(b.asked.values())).pair.a == root]
        states = {b.lattice.value(place) for b in own for place in halves(b.lattice.end)}
        kept = "keep_steps" if self.sweep.x == "spawn_step" else "keep_epochs"
        places = tuple(sorted({*getattr(job, kept), *map(int, states)}))
        changes: dict[str, Any] = {kept: places}
        return dataclasses.replace(job, **changes)


def _bracket(sweep: Sweep, trial: Trial, datasets: Mapping[DataKey, Data]) -> Bracket:
    inputs = datasets[data_key(trial.pair.a)].inputs_of(trial.pair.a)
    steps = steps_per_epoch(trial.pair.recipe, inputs)
    lattice = lattice_of(sweep, trial.pair.recipe, steps)
    return Bracket(trial, sweep.x, lattice, sweep.search.recheck if sweep.search else 0, inputs)
