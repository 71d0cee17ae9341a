"""Parameters come back from text as they went in."""

import dataclasses

import pytest

from analysis.runs.pairs import SPAWN
from analysis.runs.params import NULLABLE, PARAMS, params_of, restore, trial_from_params
from llfc.specs import OPTIONS, Trial
from tests.helpers.fabricated_runs import recipe, trial


def text_of(one):
    return {name: str(value) for name, value in params_of(one).items()}


def with_odd_values():
    odd = recipe(schedule="step", milestones=(0.5, 0.75), augment=True, lr=0.1 + 0.2)
    one = trial(recipe=odd, spawn_epoch=0, limit_train=7, width=1 / 3, matching="weights")
    return dataclasses.replace(one, probes=("fc1", 'it\'s, "odd"'), limit_test=9)


@pytest.mark.parametrize(
    "one", [trial(), trial(spawn_epoch=3), trial(spawn_step=1200), with_odd_values()]
)
def test_a_trial_survives_as_text(one):
    back = trial_from_params(text_of(one))
    assert back == one
    assert [type(value) for value in params_of(back).values()] == [
        type(value) for value in params_of(one).values()
    ]


LIMITS = ("limit_train", "limit_test", "limit_measured")


def test_every_field_is_a_parameter():
    one = trial()
    records = (one, one.pair, one.pair.recipe)
    fields = [field.name for record in records for field in dataclasses.fields(record)]
    assert len(PARAMS) == len(fields) - 2  # pair and recipe are records, not values
    later = {*OPTIONS, "task", "checkpoints", "shared_data", "recipe.clip"}
    assert set(NULLABLE) == {*LIMITS, *SPAWN, "probes", *later}


def test_a_missing_parameter_is_named():
    params = text_of(trial())
    del params["recipe.lr"]
    with pytest.raises(ValueError, match=r"^parameters must include .*: recipe\.lr is missing$"):
        trial_from_params(params)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("seed", "None", "parameter seed must be int, got 'None'"),
        ("width", "wide", "parameter width must be float, got 'wide'"),
        ("spawn_epoch", "5.0", "parameter spawn_epoch must be int, got '5.0'"),
        ("recipe.augment", "1", "parameter recipe.augment must be bool, got '1'"),
        ("recipe.milestones", "0.5", "parameter recipe.milestones must be tuple, got '0.5'"),
        ("probes", "(", "parameter probes must be tuple, got '('"),
    ],
)
def test_text_of_another_type_is_refused(name, text, message):
    with pytest.raises(ValueError) as said:  # noqa: PT011
        restore(name, text)
    assert str(said.value) == message


def test_a_string_that_says_none_is_a_string():
    assert restore("matching", "None") == "None"
    assert isinstance(trial(), Trial)
