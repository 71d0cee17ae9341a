"""Image by image: the walk's profiles are the means, and the bins hold every image once."""

import copy

import numpy as np
import pytest
import torch

import llfc
from llfc.connectivity.measures.per_image import samples as measure
from llfc.connectivity.path import walk
from llfc.results import TABLES, connection_from_json, connection_to_json
from tests.helpers.measure_subjects import subject
from tests.helpers.small_networks import convnet, cosines, mlp, samples, stored_features
from tests.helpers.token_networks import IGNORED, gpt, tokens

MAKERS = {"mlp": (mlp, (6,)), "convnet": (convnet, (2, 7, 7))}
both = pytest.mark.parametrize("name", list(MAKERS))


def tables(looked_at):
    found = measure(looked_at).tables
    for name, table in found.items():
        assert tuple(table) == TABLES[name]
    return found["samples"], found["histogram"]


def by_layer(table, column):
    """The column of each layer by its name."""
    layers = np.array(table["layer"])
    return {name: table[column][layers == name] for name in dict.fromkeys(table["layer"])}


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("correction", ["none", "repair"])
def test_means_are_the_walks_profiles(name, dtype, correction):
    make, shape = MAKERS[name]
    a, b = make(0).to(dtype), make(1).to(dtype)
    images, labels = samples(40, shape)
    test = images.to(dtype), labels
    given = {"train": test, "correction": correction, "alphas": [0, 0.3, 0.6, 1]}
    looked_at = subject(a, b, test, **given)
    table, _ = tables(looked_at)
    profiles = walk(looked_at.line, looked_at.test, looked_at.probes).layers
    assert list(dict.fromkeys(table["layer"])) == [profile.name for profile in profiles]
    exact = 1e-6 if dtype == torch.float32 else 1e-12
    for profile in profiles:
        for column in ("cos_error", "coef", "baseline"):
            mean = by_layer(table, column)[profile.name].mean()
            expected = getattr(profile, column)
            expected = expected if column == "baseline" else expected[2]  # 0.6 is nearest to 1/2
            assert mean == pytest.approx(expected, abs=exact), (profile.name, column)


@both
def test_each_image_has_its_own_numbers(name):
    """Against stored features, in the order of the images."""
    make, shape = MAKERS[name]
    images, labels = samples(40, shape)
    looked_at = subject(make(0), make(1), (images, labels))
    table, _ = tables(looked_at)
    names, line = [probe.name for probe in looked_at.probes], looked_at.line
    of_a, of_b, blend = (
        stored_features(model, images, names)[0] for model in (line.a, line.b, line.at(1))
    )
    for layer in names:
        f, a, b = blend[layer], of_a[layer], of_b[layer]
        between = (a + b) / 2
        expected = {
            "image": np.arange(40),
            "cos_error": 1 - cosines(f, between),
            "baseline": 1 - cosines(a, b),
            "coef": (f * between).sum(1) / (between**2).sum(1),
        }
        for column, values in expected.items():
            found = by_layer(table, column)[layer]
            assert found == pytest.approx(values, rel=1e-12, abs=1e-12), (layer, column)


@both
def test_every_image_is_in_one_bin(name):
    make, shape = MAKERS[name]
    table, histogram = tables(subject(make(0), make(1), samples(40, shape)))
    low, high = by_layer(histogram, "low"), by_layer(histogram, "high")
    for column in ("cos_error", "baseline"):
        for layer, counts in by_layer(histogram, column).items():
            values = by_layer(table, column)[layer].clip(0)  # rounding may be below
            inside = (values >= low[layer][:, None]) & (values < high[layer][:, None])
            assert (counts == inside.sum(1)).all()
            assert counts.sum() == 40


def test_bins_ascend_from_0_to_2_evenly_in_logarithm():
    _, histogram = tables(subject(mlp(0), mlp(1), samples(5, (6,))))
    low, high = (by_layer(histogram, column)["linear0"] for column in ("low", "high"))
    assert (low[0], high[0]) == (0, pytest.approx(1e-8))
    assert high[-1] == pytest.approx(2)
    assert (low[1:] == high[:-1]).all()
    assert np.diff(np.log(high)) == pytest.approx(np.log(2e8) / (len(high) - 1))


def test_linear_and_opposite_features_are_in_the_outermost_bins():
    """A = B but for rounding, which may be below 0; and a network against its negative."""
    a = mlp(0, sizes=(6, 4))
    opposite = copy.deepcopy(a)
    with torch.no_grad():
        for parameter in opposite.parameters():
            parameter.mul_(-1)
    _, histogram = tables(subject(a, a, samples(40, (6,))))
    assert histogram["cos_error"][0] == histogram["baseline"][0] == 40
    _, histogram = tables(subject(a, opposite, samples(40, (6,))))
    assert histogram["baseline"][-1] == 40


@pytest.mark.parametrize("batch", [1, 50])
def test_any_batching_gives_the_same(batch):
    a, b, test = convnet(0), convnet(1), samples(40, (2, 7, 7))
    table, _ = tables(subject(a, b, test))
    other, _ = tables(subject(a, b, test, batch=batch))
    for column in TABLES["samples"][1:]:
        assert other[column] == pytest.approx(table[column], rel=1e-9, abs=1e-12)


def test_a_batch_of_tokens_of_which_none_counts_has_no_rows():
    ids, targets = tokens(8, 6)
    given = {"task": "token-classification", "matching": None, "alphas": 3}
    a, b = (gpt(seed, depth=1).float() for seed in (0, 1))
    whole, more = (
        llfc.connect(a, b, test=test, measures=["samples"], **given)
        for test in ([(ids, targets)], [(ids, targets), (ids, torch.full_like(targets, IGNORED))])
    )
    for column in ("cos_error", "baseline", "coef"):
        assert list(more.tables["samples"][column]) == list(whole.tables["samples"][column])


def test_it_is_a_measure_of_a_trial():
    found = llfc.connect(
        mlp(0), mlp(1), test=samples(30, (6,)), matching=None, alphas=3, measures=["samples"]
    )
    assert len(found.tables["samples"]["layer"]) == 30 * len(found.layers)
    again = connection_from_json(connection_to_json(found))
    for name in ("samples", "histogram"):
        for column, values in found.tables[name].items():
            assert list(again.tables[name][column]) == list(values)
