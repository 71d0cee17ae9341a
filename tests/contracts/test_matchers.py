"""What every registered matcher owes, on networks whose symmetry is derived; each law can fail."""

import contextlib
import copy
import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llfc.matching import MATCHERS, match, matchers
from llfc.matching.record import FIELDS
from tests.helpers.bounds_by_hand import bound_by_hand, inner_product, listed, mixes, undoes
from tests.helpers.broken_matchers import (
    boasts,
    by_chance,
    by_hash,
    certifies,
    counts_wrong,
    differentiates,
    falls,
    forgets,
    leaves_a_hook,
    nudges,
    stays,
    tampers,
    trains,
    turns_round,
)
from tests.helpers.matchable_pairs import KINDS, inputs, moved_state, network, pair, permuted
from tests.helpers.quick_cases import slow_unless
from tests.helpers.unchanged import described

# Those that learn on a loss take as long as all others.
LEARNING = {"learned", "straight-through"}


# The laws


def matched(name, kind):
    """What the matcher of that name finds for the pair, and the spec as it left it."""
    return _matched(MATCHERS[name], matchers.recorded, name, kind)


@functools.cache  # by the functions too, in whose place some tests put others
def _matched(matcher, recorded, name, kind):
    a, b, spec = pair(kind)
    spec = copy.deepcopy(spec)
    return match(name, a, b, spec, inputs(1), seed=4), spec


def check_planted(name, kind):
    """A permuted A is brought back into place; that is what `none` is there not to do."""
    a, _, spec = pair(kind)
    planted = spec.random(3)
    found = match(name, a, permuted(a, spec, planted), spec, inputs(1))
    assert undoes(found, planted, spec) == (name != "none")
    assert name == "none" or found.record["certificate"] == pytest.approx(1.0, abs=1e-6)


def check_itself(name, kind):
    a, _, spec = pair(kind)
    for other in (a, copy.deepcopy(a)):
        found = match(name, a, other, spec, inputs(1))
        assert found.moved() == found.record["moved"] == 0


def check_never_lower(name, kind):
    """Nor the overlap lower, where that is what is climbed; other networks leave room above."""
    record = matched(name, kind)[0].record
    assert record["objective"] >= record["objective_before"]
    assert (record["objective"] == record["objective_before"]) == (name == "none")


def check_record(name, kind):
    """All fields, and those that can be had by other means are true."""
    (a, b, spec), (found, _) = pair(kind), matched(name, kind)
    assert tuple(found.record) == FIELDS
    assert all(type(value) is float for value in found.record.values())
    assert found.record["moved"] == found.moved()
    for field, perm in (("overlap_before", spec.identity()), ("overlap", found)):
        by_hand = inner_product(a, moved_state(b, spec, perm))
        assert found.record[field] == pytest.approx(by_hand, rel=1e-5, abs=1e-5)


def check_certificate(name, kind):
    """The overlap over a bound by other means; never above 1."""
    found, _ = matched(name, kind)
    record, bound = found.record, bound_by_hand(kind, found if mixes(found) else None)
    assert record["overlap"] <= bound
    assert record["certificate"] == pytest.approx(record["overlap"] / bound, rel=1e-5)


def check_function(name, kind):
    """All of the spec's groups and no others, and B computes what it computed."""
    b, (found, spec) = pair(kind)[1], matched(name, kind)
    assert found.keys() == spec.groups.keys()
    x = inputs(2)[0]
    with torch.no_grad():
        gap = (permuted(b, spec, found).eval()(x) - copy.deepcopy(b).eval()(x)).abs().max()
    assert gap < 1e-5


def check_repeats(name, kind):
    """Wherever the shared stream of random numbers stands, which stays there."""
    one, _ = matched(name, kind)
    torch.rand(1)
    stands = torch.get_rng_state()
    assert match(name, *pair(kind), inputs(1), seed=4) == one
    assert torch.equal(torch.get_rng_state(), stands)


def check_leaves_alone(name, kind):
    """Numbers, modes, hooks, gradients."""
    a, b, spec = pair(kind)
    models = [copy.deepcopy(model).train() for model in (a, b)]
    for model in models:
        list(model.children())[-1].eval()  # a mode of its own must survive
    before = [described(model) for model in models]
    match(name, *models, spec, inputs(1))
    for model, (state, attributes) in zip(models, before, strict=True):
        state_now, attributes_now = described(model)
        assert attributes_now == attributes
        assert all(torch.equal(tensor, state[key]) for key, tensor in state_now.items())


def check_cleans_up(name, kind):
    """As above, when the second batch does not fit."""
    a, b, spec = pair(kind)
    models = [copy.deepcopy(model).train() for model in (a, b)]
    before = [described(model)[1] for model in models]
    with contextlib.suppress(ValueError, RuntimeError, IndexError):
        match(name, *models, spec, [inputs(1)[0], torch.zeros(3)])
    assert [described(model)[1] for model in models] == before


def check_refuses(name, kind):
    """Numbers that are not finite and other architectures, in one line."""
    a, b, spec = pair(kind)
    for side in "ab":
        models = {"a": copy.deepcopy(a), "b": copy.deepcopy(b)}
        last, parameter = list(models[side].named_parameters())[-1]
        parameter.data[2] = torch.nan
        with pytest.raises(ValueError, match=rf"^{last} of model {side} must be finite, got nan"):
            match(name, *models.values(), spec, inputs(1))
    other = network("residual" if kind == "attention" else "attention", 1)
    with pytest.raises(ValueError, match=r"^the models must have the same architecture: \S+ is "):
        match(name, a, other, spec, inputs(1))


LAWS = [
    check_planted,
    check_itself,
    check_never_lower,
    check_record,
    check_certificate,
    check_function,
    check_repeats,
    check_leaves_alone,
    check_cleans_up,
    check_refuses,
]


# The law changes fastest: what `matched` keeps is then of use.
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("check_"))
@pytest.mark.parametrize(
    ("name", "kind"),
    slow_unless(
        [(name, "residual") for name in {*MATCHERS} - LEARNING],
        [*itertools.product(sorted(MATCHERS), KINDS)],
        [*itertools.product(LEARNING, {*KINDS} - {"residual"})],
    ),
)
def test_every_matcher(law, name, kind):
    law(name, kind)


SCRIPT = """
from llfc.matching import PermutationSpec
from tests.contracts.test_matchers import answers
print(answers({names!r}, PermutationSpec.load({spec!r})))
"""


def answers(names, spec):
    a, b = network("residual", 0), network("residual", 1)
    known = {**MATCHERS, "by hash": by_hash}
    return {
        name: {g: listed(x) for g, x in known[name](a, b, spec, inputs(1), seed=4).items()}
        for name in names
    }


def check_another_process(names, folder):
    """Where strings have other hashes, the same answers; the spec comes from a file.

    With as many threads, as sums of more of them are rounded another way.
    """
    _, _, spec = pair("residual")
    spec.save(folder / "spec.json")
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(names=names, spec=str(folder / "spec.json"))],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "5", "OMP_NUM_THREADS": f"{torch.get_num_threads()}"},
    ).stdout
    assert found.strip() == str(answers(names, spec))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answers_in_another_process(tmp_path):
    check_another_process(sorted(MATCHERS), tmp_path)


# That each can fail


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (check_planted, stays),
        (check_itself, turns_round),
        (check_never_lower, falls),
        (check_never_lower, stays),
        (check_record, boasts),
        (check_record, counts_wrong),
        (check_certificate, certifies),
        (check_function, tampers),
        (check_repeats, by_chance),
        (check_leaves_alone, nudges),
        (check_leaves_alone, trains),
        (check_leaves_alone, differentiates),
        (check_cleans_up, leaves_a_hook),
    ],
    ids=lambda value: value.__name__,
)
def test_each_law_can_fail(law, broken, monkeypatch):
    monkeypatch.setitem(MATCHERS, "weights", broken)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law("weights", "residual")


@pytest.mark.parametrize(("law", "broken"), [(check_record, stays), (check_function, forgets)])
def test_what_no_matcher_can_break_is_seen_where_match_records_nothing(law, broken, monkeypatch):
    monkeypatch.setitem(MATCHERS, "weights", broken)
    monkeypatch.setattr(matchers, "recorded", lambda found, overlap, began: found)
    with pytest.raises(AssertionError):
        law("weights", "residual")


def test_a_match_that_takes_anything_is_seen(monkeypatch):
    monkeypatch.setitem(MATCHERS, "weights", stays)
    monkeypatch.setattr(matchers, "check_matchable", lambda a, b, spec: None)
    monkeypatch.setattr(matchers.Overlap, "of", lambda *given: None)
    monkeypatch.setattr(matchers, "recorded", lambda found, overlap, began: found)
    with pytest.raises(pytest.fail.Exception):
        check_refuses("weights", "residual")


@pytest.mark.slow
def test_another_process_is_another(tmp_path):
    with pytest.raises(AssertionError):
        check_another_process(["by hash"], tmp_path)
