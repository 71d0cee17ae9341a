"""A matching that moves nothing makes a trial that is another's repeat: it counts once."""

import numpy as np
import pandas as pd
import pytest

from analysis.answers.agreement import agreements
from analysis.answers.answer import answer, counts
from analysis.answers.explanation import explanations
from analysis.answers.layer_prediction import layer_predictions
from analysis.answers.tables import correlation_table
from analysis.runs.pairs import counted_once, group_index, measured_once
from analysis.runs.schema import BARRIER, LLFC
from analysis.statistics.correlations import correlations
from analysis.statistics.partial import partial_correlations
from tests.helpers.fabricated_runs import MATCHINGS, grid, runs_of

WIDTHS = [0.125, 0.25, 0.5, 1.0, 2.0]


@pytest.fixture(scope="module")
def plain():
    """A sweep without matching."""
    return runs_of(grid(width=WIDTHS, seed=[0, 1, 2]))


@pytest.fixture(scope="module")
def repeated(plain):
    """The same, each trial under three names, the numbers of one a rounding apart."""
    frames = [
        plain.trials.assign(
            matching=matching,
            run_id=plain.trials["run_id"] + matching,
            fingerprint=plain.trials["fingerprint"] + matching,
            **{BARRIER: plain.trials[BARRIER] * (1 + 1e-9 * place)},
        )
        for place, matching in enumerate(MATCHINGS)
    ]
    return pd.concat(frames, ignore_index=True)


def test_a_trial_under_three_names_is_one_trial(plain, repeated):
    assert counted_once(repeated, BARRIER, LLFC)["run_id"].tolist() == [
        run_id + MATCHINGS[0] for run_id in plain.trials["run_id"]
    ]
    assert len(counted_once(plain.trials, BARRIER, LLFC)) == len(plain.trials)


def test_other_pairs_with_the_same_numbers_are_other_trials(plain):
    alike = plain.trials.assign(**{BARRIER: 0.0, LLFC: 0.1})
    assert len(counted_once(alike, BARRIER, LLFC)) == len(alike)


def test_what_differs_in_one_number_is_no_repeat(repeated):
    moved = repeated.assign(**{LLFC: np.arange(len(repeated))})
    assert len(counted_once(moved, BARRIER, LLFC)) == len(moved)


@pytest.mark.parametrize("coarser", [{"alphas": 5}, {"limit_test": 100}, {"measures": ()}])
def test_a_line_measured_again_more_coarsely_counts_once(plain, coarser):
    """Its numbers differ a little, as another grid of positions finds another maximum."""
    again = plain.trials.assign(run_id="again", **{BARRIER: plain.trials[BARRIER] * 0.99})
    for name, value in coarser.items():
        again[name] = [value] * len(again)
    for both in ([plain.trials, again], [again, plain.trials]):
        pooled = pd.concat(both, ignore_index=True)
        once = counted_once(pooled, BARRIER, LLFC)
        assert set(once["run_id"]) == set(plain.trials["run_id"])
        assert len(once) == len(plain.trials)


def test_correlations_are_those_without_repeats(plain, repeated):
    once = correlations(plain.trials, LLFC, BARRIER)
    many = correlations(repeated, LLFC, BARRIER, by=["matching"])
    columns = ["value", "within", "low", "high", "p", "trials"]
    both = many[many["group"] == "all"]
    pd.testing.assert_frame_equal(both[columns], once[columns])
    assert (both["repeats"] == 2 * len(plain.trials)).all()
    inside = many[many["group"] != "all"]
    assert (inside["repeats"] == 0).all()  # within one matching each is the only one
    assert (inside["trials"] == len(plain.trials)).all()
    assert set(correlation_table(many)["repeats"]) == {0, 2 * len(plain.trials)}
    assert "repeats" not in correlation_table(once)


@pytest.mark.parametrize(
    "statistic",
    [
        lambda trials: partial_correlations(trials, LLFC, BARRIER, given=["width"]),
        lambda trials: explanations(trials, {"all": (BARRIER, [], [LLFC])}),
        lambda trials: agreements(trials),
    ],
    ids=["partial", "explanations", "agreements"],
)
def test_other_statistics_are_those_without_repeats(plain, repeated, statistic):
    pd.testing.assert_frame_equal(statistic(repeated), statistic(plain.trials))


@pytest.mark.slow
def test_predictions_by_layer_count_once():
    trials = grid(width=WIDTHS, seed=[0, 1, 2], matching=MATCHINGS)
    runs = runs_of(trials)
    first = runs.only(runs.trials.loc[runs.trials["matching"] == "none", "fingerprint"])
    found = {}
    for name, some in (("three", runs), ("one", first)):
        # The numbers of no matching under every name.
        found[name] = layer_predictions(_flattened(some), hold_out="width")
    pd.testing.assert_frame_equal(found["three"], found["one"])


def _flattened(runs):
    """`runs` where every matching found what none did."""
    keys = ["width", "seed"]
    source = runs.trials[runs.trials["matching"] == "none"].set_index(keys)
    own = [source.loc[tuple(row)] for row in runs.trials[keys].to_numpy()]
    connections = runs.connections
    told = {
        mine: connections[other["run_id"]]
        for mine, other in zip(runs.trials["run_id"], own, strict=True)
    }
    trials = runs.trials.assign(**{BARRIER: [row[BARRIER] for row in own]})
    return type(runs)(
        sweep=runs.sweep,
        source=runs.source,
        trials=trials,
        unfinished=runs.unfinished,
        read=lambda run_ids: {run_id: told[run_id] for run_id in run_ids},
    )


def test_the_answer_says_how_many_are_distinct(plain, repeated):
    said = answer(repeated, correlations(repeated, LLFC, BARRIER))
    assert "45 trials, 15 of them distinct, of 15 pairs" in said
    assert "distinct" not in counts(plain.trials)


def test_frames_from_a_file_are_counted_alike(repeated, tmp_path):
    """A tuple, as the recipe's milestones, comes back as an array."""
    repeated.drop(columns="probes").to_parquet(tmp_path / "trials.parquet")
    back = pd.read_parquet(tmp_path / "trials.parquet")
    assert counts(back) == counts(repeated)
    found, expected = (correlations(trials, LLFC, BARRIER) for trials in (back, repeated))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("column", ["activation", "norm", "split_by"])
@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_text_that_came_later_parts_trials_from_those_without(plain, column, missing):
    older = plain.trials.assign(**{column: missing})
    newer = plain.trials.assign(**{column: "tanh"})
    texts = [plain.trials.assign(**{column: text}) for text in ("relu", "tanh")]
    mixed, named = (pd.concat(pair, ignore_index=True) for pair in ([older, newer], texts))
    assert group_index(mixed, [column]).tolist() == group_index(named, [column]).tolist()[::-1]
    assert len(measured_once(mixed)) == len(measured_once(named)) == 2 * len(plain.trials)
