"""Variance collapse and CKA: references, what they never are and what leaves them alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.measures import cka, shuffled
from llfc.connectivity.measures import similarity as similarity_module
from llfc.connectivity.measures.cka import HsicSums, unbiased_hsic
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import (
    CLASSES,
    blended,
    convnet,
    mlp,
    random_,
    samples,
    stored_features,
)

SHAPES = {mlp: (6,), convnet: (2, 7, 7)}


def similar(a, b, count=40, shape=(6,), batch_size=1000, test=None, **options):
    found = llfc.connect(
        a,
        b,
        test=samples(count, shape) if test is None else test,
        matching=None,
        correction="none",
        alphas=3,
        measures=["similarity"],
        batch_size=batch_size,
        **options,
    )
    return found.tables["similarity"]


def brute_hsic(k, m):
    """The average over all ordered choices of four images, as the estimate is defined."""
    count = len(k)
    total = number = 0
    for i in range(count):
        for j in range(count):
            for q in range(count):
                for r in range(count):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
                        number += 1
    return total / number


def test_hsic_is_the_average_over_quadruples():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(7, 3, generator=generator).double() for _ in range(2))
    k, m = x @ x.T, y @ y.T
    assert unbiased_hsic(k, m) == pytest.approx(float(brute_hsic(k, m)))
    assert unbiased_hsic(k + 5, m) == pytest.approx(unbiased_hsic(k, m))


@pytest.mark.parametrize("make", [mlp, convnet])
def test_against_stored_features(make):
    a, b = make(0).eval(), make(1).eval()
    images, _ = samples(40, SHAPES[make])
    table = similar(a, b, shape=SHAPES[make])
    names = table["layer"]
    of = {
        name: stored_features(model, images, names)[0]
        for name, model in {"a": a, "b": b, "blend": blended(a, b, 0.5)}.items()
    }
    for row, name in enumerate(names):
        x, y, z = (of[which][name] for which in ("a", "b", "blend"))
        between = ((x.std(0) + y.std(0)) / 2) ** 2
        assert table["variance_ratio"][row] == pytest.approx(z.var(0).sum() / between.sum())
        grams = {k: torch.from_numpy(v @ v.T) for k, v in {"x": x, "y": y, "z": z}.items()}
        for column, (p, q) in {"cka_ab": "xy", "cka_a": "zx", "cka_b": "zy"}.items():
            one = unbiased_hsic(grams[p], grams[q])
            both = unbiased_hsic(grams[p], grams[p]) * unbiased_hsic(grams[q], grams[q])
            assert table[column][row] == pytest.approx(one / both**0.5)


def test_a_network_beside_itself_is_all_ones():
    table = similar(mlp(0), mlp(0), batch_size=10)
    for column in ("variance_ratio", "cka_ab", "cka_a", "cka_b"):
        assert table[column].tolist() == pytest.approx([1] * len(table["layer"]))


def test_cka_sees_no_permutation_and_no_scale():
    a = mlp(0, bias=False)
    spec = llfc.permutation_spec(a, samples(2, (6,))[0])
    b = copy.deepcopy(a)
    b.load_state_dict(spec.apply(spec.random(seed=1), a.state_dict()))
    with torch.no_grad():
        b.linear0.weight *= 3
    assert similar(a, b)["cka_ab"].tolist() == pytest.approx([1] * 5)
    assert (similar(a, b)["cka_a"][:-1] < 0.99).all()


def test_opposite_networks_collapse():
    a, b = mlp(0, bias=False), mlp(0, bias=False)
    with torch.no_grad():
        b.linear0.weight.neg_()
    assert similar(a, b)["variance_ratio"].max() < 1e-20


@pytest.mark.parametrize("narrow", [0, 1024])
@pytest.mark.parametrize("size", slow_unless([3, 50], [1, 3, 50]))
def test_batches_and_their_order_change_nothing(size, narrow, monkeypatch):
    monkeypatch.setattr(similarity_module, "NARROW", narrow)
    monkeypatch.setattr(similarity_module, "BLOCK", 16)
    a, b = mlp(0), mlp(1)
    images, labels = samples(60, (6,))
    images[::2] += 5  # of two kinds, which are sorted below
    whole = similar(a, b, test=(images, labels))
    order = torch.cat([torch.arange(0, 60, 2), torch.arange(1, 60, 2)])
    parts = similar(a, b, test=(images[order], labels[order]), batch_size=size)
    for column in ("variance_ratio", "cka_ab", "cka_a", "cka_b"):
        np.testing.assert_allclose(parts[column], whole[column], rtol=1e-9)


@pytest.mark.parametrize("sizes", [(30,), (1, 2, 27), (10, 10, 10)])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_streamed_hsic_is_that_of_the_gram_matrices(sizes, shift):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(30, width, generator=generator).double() for width in (4, 7))
    y[:, :4] += x
    sums = HsicSums()
    for one, other in zip((x + shift).split(sizes), (y - shift).split(sizes), strict=True):
        sums.add({"x": one, "y": other})
    for name, p, q in (("xy", x, y), ("yx", y, x), ("xx", x, x), ("yy", y, y)):
        expected = unbiased_hsic(p @ p.T, q @ q.T)
        assert sums.hsic(*name) == pytest.approx(expected, rel=1e-9), name


def test_wide_features_are_compared_on_a_sample(monkeypatch):
    monkeypatch.setattr(similarity_module, "NARROW", 0)
    monkeypatch.setattr(shuffled, "SAMPLE_SIZE", 20)
    a, b = mlp(0), mlp(1)
    images, labels = samples(60, (6,))
    sample = shuffled.Shuffled(seed=0)
    sample.add(images)
    found = similar(a, b, test=(images, labels), batch_size=7)
    of_sample = similar(a, b, test=(sample.images, labels[:20]))
    np.testing.assert_allclose(found["cka_ab"], of_sample["cka_ab"], rtol=1e-9)


def test_blocks_meet_once():
    seen = torch.zeros(10, 10)
    for rows, columns in cka.block_pairs(10, 3):
        seen[rows, columns] += 1
        if rows != columns:
            seen[columns, rows] += 1
    assert (seen == 1).all()


def test_features_that_do_not_vary_have_no_number():
    still = random_(nn.Sequential(nn.Flatten(), nn.Linear(6, CLASSES)), 0)
    with torch.no_grad():
        still[1].weight.zero_()
    table = similar(still, copy.deepcopy(still))
    assert np.isnan(table["cka_ab"]).all()
    assert np.isnan(table["variance_ratio"]).all()


def test_fewer_than_four_images_give_no_cka():
    table = similar(mlp(0), mlp(1), count=3)
    assert np.isnan(table["cka_ab"]).all()
    assert np.isfinite(table["variance_ratio"]).all()
