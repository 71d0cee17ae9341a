"""What learned matching finds: planted maps are undone, a held-out loss never rises."""

import copy

import pytest
import torch

from llfc import connect
from llfc.matching import match
from llfc.matching.learning.learned import RATE, match_learned, rate_at
from llfc.matching.learning.maps import LEARNED
from llfc.symmetry.transform import Element, Transform
from llfc.tasks import TASKS
from tests.helpers.matchable_pairs import inputs, pair
from tests.helpers.quick_cases import slow_unless

KINDS = ["perceptron", "attention"]  # scales; invertible maps in heads


def nearby(spec, seed):
    """A random map of each group's kind near the identity, without permutations."""
    drawn = torch.Generator().manual_seed(seed)
    elements = {}
    for group, units in spec.groups.items():
        noise = 0.4 * torch.randn(units, units, generator=drawn, dtype=torch.float64)
        if spec.kinds[group] == "scaled":
            elements[group] = Element(torch.arange(units), noise[0].exp())
        elif spec.kinds[group] in LEARNED:
            elements[group] = Element(matrix=torch.linalg.matrix_exp(noise))
    return Transform(spec, elements)


def moved(model, transform):
    other = copy.deepcopy(model)
    other.load_state_dict(transform.apply(model.state_dict()))
    return other


@pytest.mark.parametrize("kind", slow_unless(["perceptron"], KINDS))
def test_a_planted_map_is_undone_but_for_little(kind):
    a, _, spec = pair(kind)
    b = moved(a, nearby(spec, 1))
    found = match_learned(a, b, spec, inputs(1), seed=0, steps=100)
    assert found.record["objective_before"] < -1e-4
    assert found.record["objective"] > found.record["objective_before"] / 20
    with torch.no_grad():
        x = inputs(2)[0]
        assert (moved(b, found)(x) - b(x)).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_objective_is_minus_the_loss_and_never_falls(task):
    a, b, spec = pair("attention")
    one, more = (
        match_learned(a, b, spec, inputs(1), seed=0, steps=steps, task=task) for steps in (1, 10)
    )
    assert one.record["objective_before"] == more.record["objective_before"]
    assert one.record["objective"] >= one.record["objective_before"]
    assert more.record["objective"] > one.record["objective"]
    assert (one.record["iterations"], more.record["iterations"]) == (1, 10)
    assert any(element.matrix is not None for element in more.values())


@pytest.mark.slow
def test_the_seed_decides():
    a, b, spec = pair("perceptron")
    found = [match_learned(a, b, spec, inputs(1), seed=s, steps=2) for s in (0, 0, 1)]
    assert found[0].distance(found[1]) == 0 < found[0].distance(found[2])


def test_a_budget_of_seconds_ends_it():
    a, b, spec = pair("perceptron")
    found = match_learned(a, b, spec, inputs(1), seed=0, steps=10**9, seconds=0.05)
    assert 0 < found.record["iterations"] < 10**6


def test_the_rate_rises_and_falls_to_zero():
    rates = [rate_at(step / 200) for step in range(201)]
    top = rates.index(max(rates))
    assert 0 < rates[0] < rates[top] <= RATE
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batches": None}, "^learned matching needs batches of inputs, got none$"),
        ({"batches": []}, "^learned matching needs batches of inputs, got none$"),
        ({"steps": 0}, "^steps of learned matching must be positive, got 0$"),
        ({"seconds": -1}, "^seconds of learned matching must be positive, got -1$"),
    ],
)
def test_what_it_refuses(given, message):
    a, b, spec = pair("attention")
    given = {"batches": inputs(1), "seed": 0, **given}
    with pytest.raises(ValueError, match=message):
        match_learned(a, b, spec, given.pop("batches"), **given)


@pytest.mark.slow
def test_connect_tells_it_what_the_networks_are_for():
    """A single output is no class: its probabilities would be one and nothing be learned."""
    a, b, spec = pair("attention")
    a, b = (copy.deepcopy(net) for net in (a, b))
    for net in (a, b):
        net.head = torch.nn.Linear(5, 1)
        torch.nn.init.constant_(net.head.weight, 1.0)
    data = (torch.cat(inputs(1)), torch.zeros(48, 1))
    found = connect(
        a,
        b,
        test=data,
        train=data,
        task=TASKS["regression"],
        matching="learned",
        correction="none",
        alphas=3,
        measures=(),
    )
    assert found.matching["objective"] > found.matching["objective_before"]
    with pytest.raises(ValueError, match="has no option 'task': its options are effort"):
        match("weights", a, b, spec, None, task="regression")
