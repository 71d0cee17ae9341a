"""The searches of a sweep: what they ask for, and that they go on from whatever is measured."""

import json
import math
import random

import pytest

from analysis.runs.schema import STABLE
from llfc.specs import Network
from sweeps.grid.lattice import Lattice
from sweeps.grid.sweep import Search
from sweeps.run.plan import Stage
from sweeps.search.bisection import fewest_places
from tests.helpers.searches import asked, brackets, jobs_of, run, step_of

ONSETS = {0: 13, 1: 58, 2: 90}  # of each seed, in steps; training ends at 100


def response(trial):
    return (0.3 if step_of(trial) < ONSETS[trial.pair.seed] else 0.0), 0.001


def ends(search, seed):
    """Where the search of a seed has bracketed its onset."""
    (bracket,) = (b for b in search.brackets if next(iter(b.asked.values())).pair.seed == seed)
    low, high = bracket.line().partition("spawn step ")[2].partition(":")[0].split(" to ")
    return (math.nan if low == "?" else float(low)), (math.nan if high == "?" else float(high))


def test_each_seed_is_bracketed_by_itself_to_the_resolution():
    search = brackets("--resolution", "3")
    known = run(search, response)
    assert set(search.trials) == set(known)
    for seed, onset in ONSETS.items():
        low, high = ends(search, seed)
        assert low < onset <= high
        assert high - low <= 3
    assert len(known) <= 3 * fewest_places(34)
    assert (search.most, search.lines()) == (0, [])
    # Both ends, each as the epoch that it is: the second end is the end of training.
    assert {t.pair.spawn_epoch for t in known if t.pair.spawn_step is None} >= {0, 20}


def test_a_search_resumed_anywhere_asks_for_the_same_and_for_nothing_twice():
    known = run(brackets("--resolution", "3"), response)
    again = brackets("--resolution", "3", known=known)
    assert (again.wanted, set(again.trials)) == ([], set(known))
    order, rng = list(known), random.Random(0)
    for count in range(0, len(order), 4):
        # Workers may end in another order, and a result may be lost.
        there = {trial: known[trial] for trial in rng.sample(order, count)}
        rest = run(brackets("--resolution", "3", known=there), response, rng)
        assert set(rest) == set(known) - set(there)


@pytest.mark.parametrize("recheck", ["0", "3"])
@pytest.mark.parametrize("seed", range(10))
def test_what_a_search_asks_for_depends_on_no_workers_order(seed, recheck):
    """Whatever it finds, be it monotone or not."""
    found = {step: random.Random(f"{seed}-{step}").uniform(0.01, 0.03) for step in range(101)}
    found |= {0: 0.1, 100: 0.0}

    def any_response(trial):
        return found[step_of(trial)], 0.003

    words = ("--resolution", "1", "--seed", "0", "--recheck", recheck)
    known = run(brackets(*words), any_response)
    rng = random.Random(seed)
    assert run(brackets(*words), any_response, rng) == known
    there = {trial: known[trial] for trial in rng.sample(list(known), len(known) // 2)}
    rest = run(brackets(*words, known=there), any_response, rng)
    assert set(rest) == set(known) - set(there)


def test_each_matching_has_a_search_of_its_own_off_the_same_trunks():
    search = brackets("--resolution", "10", "--matching", "none", "weights", "--seed", "0")

    def by_matching(trial):
        return (0.3 if step_of(trial) < (10 if trial.matching == "weights" else 90) else 0.0), 0.0

    known = run(search, by_matching)
    places = {m: {step_of(t) for t in known if t.matching == m} for m in ("none", "weights")}
    assert max(places["weights"] - {100, 50}) < 50 < min(places["none"] - {0, 50})
    assert len({trial.pair.a for trial in known}) == 1


def test_a_trial_that_fails_decides_nothing_and_is_tried_again_by_the_next():
    search = brackets("--resolution", "10", "--seed", "1")
    known = run(search, lambda trial: None if step_of(trial) == 50 else response(trial))
    assert ends(search, 1) == (40, 60)
    there = {trial: value for trial, value in known.items() if value is not None}
    again = brackets("--resolution", "10", "--seed", "1", known=there)
    assert [step_of(trial) for trial in again.wanted] == [50]
    run(again, response)
    assert ends(again, 1) == (50, 60)


def test_what_the_test_set_cannot_tell_is_on_neither_side():
    search = brackets("--resolution", "1", "--seed", "0")
    run(search, lambda trial: (0.04 - 0.0004 * step_of(trial), 0.002))
    low, high = ends(search, 0)
    assert 0.04 - 0.0004 * low - 1.96 * 0.002 >= 0.02 > 0.04 - 0.0004 * (low + 1) - 1.96 * 0.002
    assert 0.04 - 0.0004 * high + 1.96 * 0.002 < 0.02 <= 0.04 - 0.0004 * (high - 1) + 1.96 * 0.002


def test_an_onset_outside_the_ends_is_told_by_the_ends():
    always = brackets("--spawn-step", "0", "90", "--seed", "0")
    known = run(always, lambda trial: (0.0, 0.0))
    assert (sorted(map(step_of, known)), str(ends(always, 0))) == ([0, 90], "(nan, 0.0)")
    never = brackets("--spawn-step", "0", "90", "--seed", "0")
    known = run(never, lambda trial: (0.3, 0.0))
    assert (sorted(map(step_of, known)), str(ends(never, 0))) == ([0, 90], "(90.0, nan)")


@pytest.mark.parametrize("along", ["spawn_epoch", "width", "lr"])
def test_other_axes_are_searched_too(along):
    given = {"spawn_epoch": "0 16", "width": "1/4 4", "lr": "0.001 0.016"}[along]
    words = ["--along", along, f"--{along.replace('_', '-')}", *given.split(), "--seed", "0"]
    search = brackets(*words)

    def value(trial):
        of = trial.pair if along != "lr" else trial.pair.recipe
        return getattr(of, along)

    first, last = min(map(value, search.trials)), max(map(value, search.trials))
    middle = (first + last) / 2.1
    known = run(search, lambda trial: (float(value(trial) < middle), 0.0))
    below = max(value(trial) for trial in known if value(trial) < middle)
    above = min(value(trial) for trial in known if value(trial) >= middle)
    assert above - below <= max(json.loads(search.tag)["resolution"], 1e-9) * (1 + 1e-9)


def test_trunks_keep_states_on_the_way_to_an_early_onset():
    search = brackets("--resolution", "3", "--seed", "0", "1")
    jobs = search.with_states(jobs_of(search.wanted))
    for job in jobs:
        trunk = isinstance(job.record, Network) and not job.record.is_branch
        assert job.keep_steps == ((3, 6, 12, 24, 51) if trunk else ())
    first = {
        step_of(trial) for trial in run(search, lambda trial: (0.0 if step_of(trial) else 1, 0))
    }
    assert first == {0, 3, 6, 12, 24, 51, 100}


def again_unstable(trial):
    """Unstable once more above each onset."""
    return (0.3, 0.001) if step_of(trial) in range(70, 78) else response(trial)


def test_a_recheck_meets_an_unstable_pair_above_the_bracket():
    words = ("--resolution", "1", "--seed", "0", "--recheck")
    without, search = brackets(*words, "0"), brackets(*words, "3")
    known = run(search, again_unstable)
    assert set(run(without, again_unstable)) < set(known)
    assert (ends(without, 0), ends(search, 0)) == ((12, 13), (77, 78))
    again = brackets(*words, "3", known=known)
    assert (again.wanted, set(again.trials)) == ([], set(known))
    assert json.loads(search.tag)["recheck"] == 3


@pytest.mark.parametrize(("recheck", "found"), [("0", response), ("3", again_unstable)])
def test_jobs_are_bounded_and_asked_for_once(recheck, found):
    search = brackets("--resolution", "3", "--recheck", recheck)
    most, names = search.most, {job.name for job in jobs_of(search.wanted)}
    assert most > 0
    while trials := search.wanted:
        (job,) = (job for job in jobs_of(trials[:1]) if job.stage is Stage.TRIALS)
        search.read = found
        new = {other.name for other in search.ended(job, failed=False)} - names
        names |= new
        assert search.most + len(new) <= most
        most = search.most
    assert most == 0


@pytest.mark.parametrize("recheck", [0, 3])
def test_a_forecast_bounds_what_is_then_trained(recheck):
    """Epochs of branches, and of trunks from the last state kept before a branch, in each order."""
    words = ("--resolution", "6", "--seed", "0", "--recheck", str(recheck))
    trials, replayed, line = brackets(*words).forecast()
    bound = sum(20 - step_of(trial) / 5 for trial in trials) + replayed
    most = 11 + recheck
    assert f"{7 + recheck} trials where the test set decides each, {most} at most, and" in line
    end = "18; if a recheck finds an unstable pair, up to 4 trials more" if recheck else "18"
    assert line.endswith(f"a grid of its resolution {end}")
    for low in range(-3, 102, 13):
        for high in range(low, 102, 13):

            def any_monotone(trial, low=low, high=high):
                return (
                    0.3 if step_of(trial) <= low else 0.02 if step_of(trial) <= high else 0
                ), 0.001

            search, kept, epochs = brackets(*words), {0}, 0.0
            for job in search.with_states(jobs_of(search.wanted)):
                kept |= set(job.keep_steps)
            for step in map(step_of, run(search, any_monotone)):
                epochs += 20 - max(s for s in kept if s <= step) / 5
                kept.add(step)
            assert len(search.trials) <= most
            assert epochs <= bound + 1e-9


def test_a_lattice_ends_where_it_is_told():
    assert [Lattice(0, 10, 4).value(place) for place in range(4)] == [0, 4, 8, 10]
    assert Lattice(0, 100, 1).end == 100
    assert Lattice(0.1, 0.7, 0.1).end == 6  # not 7, by rounding
    assert Lattice(0.1, 0.7, 0.1).value(2) == 0.3


def test_bad_input_is_refused_in_a_line():
    for words, said in {
        "--resolution 0": "resolution must be a positive number, got 0.0",
        "--resolution 1.5": "resolution must be a whole number along spawn_step, got 1.5",
        "--recheck -1": "recheck must be at least 0, got -1",
        "--threshold 2": r"threshold must be in \(0, 1\), got 2.0",
        "--spawn-step 0 10 20": "spawn_step must be the two ends of the search, .* got 0 10 20",
        "--spawn-step 20 0": "lower one first .*, got 20 0",
        "--spawn-step none": "got none",
        "--along widht": "unknown axis of a search 'widht'.*did you mean 'width'",
        "--along width": "width must be the two ends of the search, the lower one first, got 1",
    }.items():
        with pytest.raises(ValueError, match=said):
            asked(*words.split())


def test_a_search_calls_stable_what_the_analysis_does():
    assert Search().threshold == STABLE
