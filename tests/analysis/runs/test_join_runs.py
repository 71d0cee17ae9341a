"""The runs of several sweeps joined: each trial once, each table with its types."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.runs.newest import join_runs
from tests.helpers.fabricated_runs import grid, runs_of, trial


def test_a_trial_of_two_sweeps_counts_once_and_the_newer_run_is_used():
    first = runs_of(grid(seed=[0, 1]), "width")
    second = runs_of(grid(seed=[1, 2]), "matching", failed=[trial(seed=0), trial(seed=5)])
    late = second.trials.assign(start=second.trials["start"] + pd.Timedelta(days=1))
    second = dataclasses.replace(
        second, trials=late.assign(run_id="late-" + late["run_id"]), read=late_reader(second)
    )
    joined = join_runs([first, second])
    assert joined.trials.set_index("seed")["sweep"].to_dict() == {
        0: "width", 1: "matching", 2: "matching",
    }  # fmt: skip
    assert joined.superseded == 1
    assert joined.unfinished["seed"].tolist() == [5]  # the width sweep made seed 0 good
    layers = joined.layers
    assert len(layers) == 3 * len(first.layers) / 2
    assert set(layers["run_id"]) == set(joined.trials["run_id"])
    assert join_runs([first, first]).unfinished["status"].empty
    other = join_runs([second, first])
    assert set(other.trials["run_id"]) == set(joined.trials["run_id"])


def late_reader(runs):
    """The reader of `runs`, with a prefix to the names of its runs."""

    def read(run_ids):
        found = runs.read([run_id.removeprefix("late-") for run_id in run_ids])
        return {f"late-{run_id}": what for run_id, what in found.items()}

    return read


def test_a_table_that_some_trials_lack_keeps_its_types():
    runs = runs_of(grid(seed=[0, 1, 2]))
    columns = {"layer": ["a", "b"], "pair": ["matched"] * 2}
    columns |= {name: np.array([0.5, 0.25]) for name in ("dist_com", "dist_w", "dist_h")}

    def read(run_ids):
        found = dict(runs.read(run_ids))
        last = max(found)
        tables = {"commutativity": columns}
        return found | {last: dataclasses.replace(found[last], tables=tables)}

    some = dataclasses.replace(runs, read=read).table("commutativity")
    assert some["dist_com"].tolist() == [0.5, 0.25]
    assert some["dist_com"].dtype == some["dist_h"].dtype == float
    assert some["layer"].tolist() == ["a", "b"]
    none = runs.table("commutativity")
    assert list(none) == list(some)
    assert none.groupby("layer", observed=True)["dist_com"].mean().empty


def test_nothing_to_join_is_refused():
    with pytest.raises(ValueError, match=r"^runs to join must be at least one, got none$"):
        join_runs([])


def test_forks_in_steps_join_runs_that_do_not_say_how_many_an_epoch_has():
    first, second = runs_of(grid(spawn_epoch=[0, 2])), runs_of(grid(spawn_step=[5]), "onset")
    second = dataclasses.replace(second, trials=second.trials.assign(steps_per_epoch=10))
    first = dataclasses.replace(
        first, trials=first.trials.drop(columns="steps_per_epoch", errors="ignore")
    )
    joined = join_runs([first, second])
    assert sorted(joined.trials["spawn_step"]) == [0, 5, 20]
