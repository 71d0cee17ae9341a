"""What every registered measure owes, whatever it measures; and that each law here can fail."""

import functools
import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from llfc.connectivity.measures.layer_barriers import layer_parts
from llfc.connectivity.measures.registry import MEASURES
from llfc.connectivity.probes import features_of
from llfc.connectivity.subject import Measured
from llfc.results import TABLES
from tests.helpers.measure_subjects import subject
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import CLASSES, convnet, mlp, random_, samples
from tests.helpers.unchanged import described


def normed_mlp(seed):
    sizes = (6, 8), (8, 7)
    layers = [(nn.Linear(*size), nn.BatchNorm1d(size[1]), nn.ReLU()) for size in sizes]
    return random_(nn.Sequential(*sum(layers, ()), nn.Linear(7, CLASSES)), seed)


CASES = {"mlp": (mlp, (6,)), "mlp, norm": (normed_mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
COUNT = 30
every_case = pytest.mark.parametrize("case", slow_unless(("convnet",), CASES))
every_measure = pytest.mark.parametrize("name", sorted(MEASURES))


def pair(case, batch=10):
    """What a measure looks at: a pair that is said to have been matched."""
    make, shape = CASES[case]
    a, b, unmatched = (make(seed) for seed in range(3))
    return subject(a, b, samples(COUNT, shape), unmatched=unmatched, batch=batch)


# The laws


def measured(name, case):
    """What the measure of that name finds for the pair; to be read only."""
    return _measured(MEASURES[name], case)


@functools.cache  # by the function, in whose place some tests put another
def _measured(measure, case):
    return measure(pair(case))


def check_tables(name, case):
    """Columns are those of TABLES, of one length; and something was found."""
    found = measured(name, case)
    assert found.tables
    for key, table in found.tables.items():
        assert tuple(table) == tuple(TABLES[key]), key
        assert len({len(column) for column in table.values()}) == 1, key
        assert len(next(iter(table.values()))), key
    assert all(type(value) is float for value in found.scalars.values())


def check_finite(name, case):
    found = measured(name, case)
    for table in found.tables.values():
        for column, values in table.items():
            assert isinstance(values, list) or np.isfinite(values).all(), column
    assert np.isfinite(list(found.scalars.values())).all()


def check_repeats(name, case):
    """To the last digit, wherever the shared stream of random numbers stands, which stays there."""
    one, looked_at = measured(name, case), pair(case)
    torch.rand(1)
    stands = torch.get_rng_state()
    other = MEASURES[name](looked_at)
    assert torch.equal(torch.get_rng_state(), stands)
    assert one.scalars == other.scalars
    for key, table in one.tables.items():
        for column, values in table.items():
            assert list(values) == list(other.tables[key][column]), column


def check_batching(name, case):
    one, other = map(numbers, (measured(name, case), MEASURES[name](pair(case, batch=15))))
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert values == pytest.approx(other[key], rel=1e-5, abs=1e-12), key


def numbers(found):
    """All, by name."""
    every = dict(found.scalars)
    for name, table in found.tables.items():
        columns = (column for column in table if not isinstance(table[column], list))
        every |= {f"{name}: {column}": table[column] for column in columns}
    return every


def check_leaves_alone(name, case):
    """The networks and the images, in all that could be seen of them."""
    looked_at = pair(case)
    models = looked_at.line.a, looked_at.line.b, looked_at.unmatched
    before, images = [described(model) for model in models], looked_at.test.source[0].clone()
    MEASURES[name](looked_at)
    assert torch.equal(looked_at.test.source[0], images)
    for model, (state, attributes) in zip(models, before, strict=True):
        state_now, attributes_now = described(model)
        assert attributes_now == attributes
        assert all(torch.equal(value, state[key]) for key, value in state_now.items())


def check_cost(name, case):
    """It is said, and it is no more: multiplications, counted in forward passes."""
    said = inspect.getdoc(MEASURES[name]) or ""
    assert any(part.startswith("Costs") for part in said.split("\n\n")), "no paragraph on its cost"
    looked_at = pair(case, batch=COUNT)
    images, _ = looked_at.test.source
    with FlopCounterMode(display=False) as bare:
        features = features_of(looked_at.line.a, looked_at.probes, images)
    with FlopCounterMode(display=False) as counted:
        MEASURES[name](looked_at)
    # Of the narrow features of three networks, each number with each, in six pairs of networks.
    products = sum(2 * f.shape[1] * (6 * f.numel() + 9 * (len(f) + f.shape[1])) for f in features)
    passes = counted.get_total_flops() / bare.get_total_flops()
    # On a few images more it is found out what the network is like.
    assert passes <= COSTS[name](looked_at, products / bare.get_total_flops()) + 0.3


# What the docstrings say, where nothing is corrected.
COSTS = {
    "conditions": lambda looked_at, products: 2 * (3 + 3),  # of so few images, all are shuffled
    "layer-barriers": lambda looked_at, products: (
        2 + 2 * len(layer_parts(looked_at.line.a, looked_at.probes))
    ),
    "random-direction": lambda looked_at, products: 2,
    "samples": lambda looked_at, products: 3,
    "similarity": lambda looked_at, products: 3 + products,
    "stitching": lambda looked_at, products: 2 + 2 * len(looked_at.probes) / 2,
}
LAWS = [check_tables, check_finite, check_repeats, check_batching, check_leaves_alone, check_cost]


# The law changes fastest: what `measured` keeps is then of use.
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__.removeprefix("check_"))
@every_case
@every_measure
def test_every_measure(law, name, case):
    law(name, case)


# Measures that break a law each


def table(values):
    """A table such as `similarity` gives, of a layer."""
    found = {column: np.array([float(values)]) for column in TABLES["similarity"]}
    return {"similarity": found | {"layer": ["linear0"]}}


def mean_label(subject):
    """The mean over batches of what is a sum.

    Costs nothing.
    """
    batches = [float(labels.sum()) for _, labels in subject.test]
    return Measured(tables={}, scalars={"label": sum(batches) / len(batches)})


def another_column(subject):
    """Its table is not what is promised.

    Costs nothing.
    """
    return Measured(tables={"similarity": {**table(1)["similarity"], "more": np.ones(1)}})


def nothing(subject):
    """It finds nothing.

    Costs nothing.
    """
    return Measured()


def no_number(subject):
    """It finds no number.

    Costs nothing.
    """
    return Measured(tables=table("nan"))


def by_chance(subject):
    """It draws from the one stream that all share.

    Costs nothing.
    """
    return Measured(tables=table(torch.rand(())))


def left_training(subject):
    """It leaves a network in another mode.

    Costs nothing.
    """
    subject.line.b.train()
    return Measured(tables=table(1))


def moved(subject):
    """It changes a weight.

    Costs nothing.
    """
    next(subject.line.a.parameters()).zero_()
    return Measured(tables=table(1))


def changed_images(subject):
    """It changes the images.

    Costs nothing.
    """
    for images, _ in subject.test:
        images.zero_()
    return Measured(tables=table(1))


def silent(subject):
    """What it costs, it does not say."""
    return Measured(tables=table(1))


def dear(subject):
    """It takes more passes than it says.

    Costs two forward passes.
    """
    for _ in range(3):
        for images, _ in subject.test:
            subject.line.a(images)
    return Measured(tables=table(1))


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (check_tables, another_column),
        (check_tables, nothing),
        (check_finite, no_number),
        (check_repeats, by_chance),
        (check_batching, mean_label),
        (check_leaves_alone, left_training),
        (check_leaves_alone, moved),
        (check_leaves_alone, changed_images),
        (check_cost, silent),
        (check_cost, dear),
    ],
    ids=lambda value: value.__name__,
)
def test_each_law_can_fail(law, broken, monkeypatch):
    monkeypatch.setitem(MEASURES, "random-direction", broken)
    with pytest.raises(AssertionError):
        law("random-direction", "mlp")
