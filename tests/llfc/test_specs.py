"""Records: their rules, their names, their way through plain values."""

import dataclasses
import json
import subprocess
import sys

import pytest

from llfc.codec import from_plain, to_plain
from llfc.specs import (
    Network,
    Pair,
    Recipe,
    Trial,
    fingerprint,
    fingerprints,
    permutation_name,
)

RECIPE = Recipe(
    epochs=30, batch_size=100, optimizer="sgd", lr=0.1, schedule="step", milestones=(0.5, 0.75)
)
PAIR = Pair(
    architecture="mlp",
    width=0.5,
    norm="none",
    dataset="mnist",
    limit_train=None,
    seed=3,
    spawn_epoch=5,
    recipe=RECIPE,
)
TRIAL = Trial(pair=PAIR, matching="weights", probes=("fc1", "fc2"))
# For each field a value that differs from the one above.
OTHER = {
    Recipe: {
        "epochs": 31,
        "batch_size": 99,
        "optimizer": "adam",
        "lr": 0.2,
        "momentum": 0.8,
        "weight_decay": 1e-4,
        "schedule": "cosine",
        "milestones": (0.5,),
        "warmup": 0.1,
        "augment": True,
        "precision": "bfloat16",
        "nesterov": True,
        "clip": 1.0,
    },
    Pair: {
        "architecture": "vgg11",
        "width": 1,
        "norm": "layer",
        "dataset": "cifar10",
        "limit_train": 10,
        "seed": 4,
        "spawn_epoch": None,
        "recipe": dataclasses.replace(RECIPE, lr=0.3),
        "depth": 3,
        "heads": 2,
        "positions": "rotary",
        "activation": "tanh",
        "checkpoints": ("a@1", "b@2"),
        "spawn_step": 7,
        "shared_data": 0.5,
        "split_by": "classes",
    },
    Network: {"member": 1, "spawn_epoch": 6, "weights": "a@1", "shared_data": 0.5},
    Trial: {
        "pair": dataclasses.replace(PAIR, seed=9),
        "matching": "none",
        "correction": "reset",
        "alphas": 3,
        "probes": None,
        "measures": ("similarity",),
        "limit_test": 7,
        "limit_measured": 9,
        "task": "next-token",
        "form": "canonical",
        "misalignment": 0.5,
        "misaligned": "hidden",
    },
}
EXAMPLE = {Recipe: RECIPE, Pair: PAIR, Network: PAIR.b, Trial: TRIAL}


@pytest.mark.parametrize(
    ("record", "field"), [(record, field) for record in OTHER for field in OTHER[record]]
)
def test_every_field_counts_in_the_fingerprint(record, field):
    example = EXAMPLE[record]
    if field == "spawn_step":  # in place of a spawn epoch
        example = dataclasses.replace(example, spawn_epoch=None)
    if field == "misaligned":  # by how much
        example = dataclasses.replace(example, misalignment=1.0)
    if field == "split_by":  # of what is shared
        example = dataclasses.replace(example, shared_data=1.0)
    changed = dataclasses.replace(example, **{field: OTHER[record][field]})
    assert fingerprint(changed) != fingerprint(example)
    assert fingerprint(changed) != fingerprint(EXAMPLE[record])


@pytest.mark.parametrize("record", [Recipe, Pair, Trial])
def test_no_field_is_forgotten_above(record):
    assert {field.name for field in dataclasses.fields(record)} == OTHER[record].keys()


@pytest.mark.slow
def test_equal_records_have_equal_fingerprints_in_another_process():
    code = f"from llfc.specs import *; print(fingerprint({TRIAL!r}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == fingerprint(TRIAL)
    for record, field in ((PAIR, "width"), (RECIPE, "lr"), (RECIPE, "weight_decay")):
        whole, real = (dataclasses.replace(record, **{field: one}) for one in (1, 1.0))
        assert whole == real
        assert fingerprint(whole) == fingerprint(real), field


# Computed before Recipe had `nesterov` and `clip`, with these versions of the methods: of the same
# versions, what was cached then is found now.
@pytest.mark.parametrize(
    ("record", "digits"),
    [
        (RECIPE, "1175990227a8"),
        (Recipe(epochs=20, batch_size=100, optimizer="adam", lr=1e-3), "c2f3072a65a8"),
        (PAIR, "c8d505252286"),
        (PAIR.a, "e5afd1c5853a"),
        (PAIR.b, "6c560740cc98"),
        (TRIAL, "0f7244bdc2da"),
    ],
)
def test_fields_added_later_leave_old_fingerprints_as_they_were(record, digits, monkeypatch):
    for version, number in (("TRAINING", 4), ("MATCHING", 2), ("MEASURING", 2)):
        monkeypatch.setattr(fingerprints, version, number)
    assert fingerprint(record) == digits


def test_a_matcher_is_revised_alone(monkeypatch):
    trials = [
        dataclasses.replace(TRIAL, matching=m) for m in ("none", "weights", "weights:effort=2")
    ]
    before = [(fingerprint(trial), permutation_name(trial)) for trial in trials]
    monkeypatch.setattr(fingerprints, "REVISED", {"weights": 1})
    after = [(fingerprint(trial), permutation_name(trial)) for trial in trials]
    assert after[0] == before[0]
    for changed, unchanged in zip(after[1:], before[1:], strict=True):
        assert changed[0] != unchanged[0]
        assert changed[1] != unchanged[1]


def test_a_pair_that_shares_data_has_the_a_of_every_share():
    half, same = (dataclasses.replace(PAIR, shared_data=share) for share in (0.5, 1))
    assert half.a == same.a == half.b.root
    assert (half.a.shared_data, half.b.shared_data, half.a.spawn_epoch) == (1.0, 0.5, None)
    assert half.b != same.b
    alone = dataclasses.replace(half, spawn_epoch=None)
    assert alone.a == half.a
    assert (alone.b.member, alone.b.shared_data, alone.b.root) == (1, 0.5, alone.b)
    assert fingerprint(same) == fingerprint(dataclasses.replace(PAIR, shared_data=1.0))
    with pytest.raises(ValueError, match="split_by classes needs shared_data, got None"):
        dataclasses.replace(PAIR, split_by="classes")


def test_records_written_before_a_field_was_added_are_read():
    plain = to_plain(TRIAL)
    for name in ("nesterov", "clip"):
        del plain["pair"]["recipe"][name]
    assert from_plain(Trial, plain) == TRIAL


def test_what_is_measured_has_no_order():
    one, two = (
        dataclasses.replace(TRIAL, measures=names) for names in (("x", "y"), ("y", "x", "y"))
    )
    assert one == two
    assert fingerprint(one) == fingerprint(two)


def test_records_survive_plain_values():
    assert from_plain(Trial, json.loads(json.dumps(to_plain(TRIAL)))) == TRIAL
    assert from_plain(Network, json.loads(json.dumps(to_plain(PAIR.b)))) == PAIR.b


def test_first_network_of_a_pair_is_the_trunk_at_every_spawn_epoch():
    pairs = [dataclasses.replace(PAIR, spawn_epoch=k) for k in (0, 5, 30, None)]
    pairs += [dataclasses.replace(pairs[3], spawn_step=step) for step in (0, 5, 700)]
    assert len({fingerprint(pair.a) for pair in pairs}) == 1
    assert len({fingerprint(pair.b) for pair in pairs}) == 7
    assert all(pair.b.root == pair.a and pair.b.is_branch for pair in pairs[:3] + pairs[4:])
    assert pairs[3].b.root == pairs[3].b
    assert not pairs[3].b.is_branch


@pytest.mark.parametrize(
    ("record", "field", "value", "message"),
    [
        (PAIR, "width", 0, "width must be a positive number, got 0"),
        (PAIR, "width", -1.0, "width must be a positive number, got -1.0"),
        (PAIR, "width", float("nan"), "width must be a positive number, got nan"),
        (PAIR, "spawn_epoch", 31, "spawn_epoch must be None or in [0, epochs=30], got 31"),
        (PAIR.a, "spawn_step", -1, "spawn_step must be at least 0, got -1"),
        (
            PAIR,
            "spawn_step",
            70,
            "spawn_epoch and spawn_step both say where a pair forks: one of them must be None,"
            " got 5 and 70",
        ),
        (PAIR, "spawn_epoch", -1, "spawn_epoch must be None or in [0, epochs=30], got -1"),
        (PAIR, "limit_train", 0, "limit_train must be at least 1, got 0"),
        (PAIR, "seed", -1, "seed must be at least 0, got -1"),
        (
            PAIR,
            "norm",
            "bath",
            "unknown norm 'bath': choose from batch, group, layer, none, rms;"
            " did you mean 'batch'?",
        ),
        (RECIPE, "epochs", 0, "epochs must be at least 1, got 0"),
        (RECIPE, "batch_size", 0, "batch_size must be at least 1, got 0"),
        (RECIPE, "lr", float("inf"), "lr must be a positive number, got inf"),
        (RECIPE, "weight_decay", -1, "weight_decay must be a number >= 0, got -1.0"),
        (RECIPE, "clip", 0, "clip must be a positive number or None, got 0.0"),
        (
            dataclasses.replace(RECIPE, momentum=0),
            "nesterov",
            True,
            "nesterov needs a momentum above 0, got 0.0",
        ),
        (RECIPE, "warmup", 1, "warmup must be in [0, 1), got 1.0"),
        (RECIPE, "milestones", (0.5, 2), "milestones must be fractions in (0, 1), got (0.5, 2.0)"),
        (
            RECIPE,
            "milestones",
            (0.7, 0.5),
            "milestones must be strictly increasing, got (0.7, 0.5)",
        ),
        (
            RECIPE,
            "optimizer",
            "adm",
            "unknown optimizer 'adm': choose from adam, adamw, sgd; did you mean 'adam'?",
        ),
        (TRIAL, "alphas", 4, "alphas must be odd and at least 3, got 4"),
        (TRIAL, "alphas", 1, "alphas must be odd and at least 3, got 1"),
        (TRIAL, "limit_test", 0, "limit_test must be at least 1, got 0"),
    ],
)
def test_a_broken_rule_is_said_in_one_line(record, field, value, message):
    with pytest.raises(ValueError) as said:  # noqa: PT011 - the whole text is compared
        dataclasses.replace(record, **{field: value})
    assert str(said.value) == message


def test_a_checkpoint_counts_by_its_content_and_not_by_its_label():
    names = [("a@1", "b@2"), ("x/a@1", "y@2"), ("a@1", "b@3"), ("b@2", "a@1")]
    pairs = [dataclasses.replace(PAIR, checkpoints=each, spawn_epoch=None) for each in names]
    one, relabelled, other, swapped = map(fingerprint, pairs)
    assert one == relabelled
    assert len({one, other, swapped}) == 3
    assert [fingerprint(n) for n in (pairs[0].a, pairs[0].b)] == [
        fingerprint(n) for n in (pairs[3].b, pairs[3].a)
    ]
    again = dataclasses.replace(pairs[0], seed=7)
    assert again.a == pairs[0].a
