"""A trained pair's numbers, streamed in float32, are those of float64 with all in memory."""

import copy

import numpy as np
import pytest
import torch

import llfc
from llfc.connectivity.measures.shuffled import Shuffled
from llfc.data.datasets import load_dataset
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import Store
from llfc.results import PROFILE, TABLES
from llfc.seeds import stream
from llfc.specs import Pair, Recipe, Trial
from llfc.trial import run_trial
from tests.helpers import in_memory_reference as in_memory
from tests.helpers.quick_cases import slow_unless
from tests.helpers.small_networks import reference

MEASURES = ("conditions", "similarity", "stitching")
BATCH, COUNT = 40, 120
PAIRS = {
    "mlp": {"architecture": "mlp", "width": 1 / 16, "norm": "none"},
    "resnet20": {"architecture": "resnet20", "width": 1 / 8, "norm": "batch"},
}
RECIPES = {
    "mlp": Recipe(epochs=3, batch_size=20, optimizer="adam", lr=1e-3),
    "resnet20": Recipe(epochs=2, batch_size=20, optimizer="sgd", lr=0.05),
}


# Shares, of images or of numbers: one or two, all but on the border, may fall the other way.
COUNTED = tuple(
    f"{split}_error{which}"
    for split in ("train", "test")
    for which in ("", ": barriers", ": corrected barriers")
)
COUNTED += ("stitching: error", "additivity: signs")
LARGEST = 1e-5


class Gaps:
    """By column, the largest difference over the largest number there."""

    def __init__(self):
        self.found = {}

    def add(self, name, values, expected):
        values, expected = np.asarray(values, float), np.asarray(expected, float)
        assert values.shape == expected.shape, name
        gap = abs(values - expected).max()
        if name in COUNTED:
            assert gap <= 2.01 / COUNT, name
        else:
            self.found[name] = gap / (abs(expected).max() or 1)


def both(architecture, tmp_path):
    """A matched trial's connection, and its networks and data in float64."""
    pair = Pair(
        **PAIRS[architecture],
        dataset="fashion-mnist-small",
        limit_train=COUNT,
        seed=0,
        spawn_epoch=None,
        recipe=RECIPES[architecture],
    )
    correction = "reset" if pair.norm == "batch" else "none"
    trial = Trial(pair=pair, matching="weights", correction=correction, alphas=5, measures=MEASURES)
    dataset = load_dataset(
        pair.dataset, limit_train=pair.limit_train, limit_test=COUNT, cache=tmp_path
    )
    store = Store(tmp_path)
    for network in (pair.a, pair.b):
        train_network(network, store, dataset)
    found = run_trial(trial, store, dataset)
    a, unmatched = (load_network(network, store, dataset) for network in (pair.a, pair.b))
    spec = llfc.permutation_spec(a, torch.zeros(2, *dataset.input_shape))
    b = copy.deepcopy(unmatched)
    b.load_state_dict(spec.apply(llfc.match("weights", a, b, spec), b.state_dict()))
    data = {
        split: [torch.cat(parts) for parts in zip(*dataset.batches(split, BATCH), strict=True)]
        for split in ("train", "test")
    }
    data = {split: (images.double(), labels) for split, (images, labels) in data.items()}
    return found, [model.double() for model in (a, b, unmatched)], data


@pytest.mark.parametrize("architecture", slow_unless((), PAIRS, {"resnet20"}))
def test_every_number_of_a_trained_pair(architecture, tmp_path, monkeypatch):
    monkeypatch.setattr(llfc.trial, "BATCH_SIZE", BATCH)
    found, (a, b, unmatched), data = both(architecture, tmp_path)
    alpha, images = found.curve["alpha"], data["test"][0]
    shuffled = torch.randperm(COUNT, generator=stream(0, "order/statistics"))
    train = data["train"][0][shuffled]
    models = in_memory.networks(a, b, alpha, train, BATCH)
    with_trained_ends = [a, *models[1:-1], b]
    names = [layer.name for layer in found.layers]
    gaps = Gaps()

    for split, (inputs, labels) in data.items():
        curve, _ = reference(with_trained_ends.__getitem__, alpha, inputs, labels, [])
        corrected, rows = reference(models.__getitem__, alpha, inputs, labels, names)
        for metric, values, alike in zip(("loss", "error"), curve, corrected, strict=True):
            name = f"{split}_{metric}"
            ours = [found.barriers[f"{name}_{kind}"] for kind in ("chord", "mean")]
            gaps.add(name, found.curve[name], values)
            gaps.add(f"{name}: barriers", ours, in_memory.barriers(alpha, values))
            kinds = ("a", "b", "chord", "mean")
            ours = [found.summaries[f"{name}_{kind}_corrected"] for kind in kinds]
            expected = [*alike[[0, -1]], *in_memory.barriers(alpha, alike)]
            gaps.add(f"{name}: corrected barriers", ours, expected)

    for column in (*PROFILE, "baseline", "baseline_std"):
        values = [[row[column] for row in rows[name]] for name in names]
        ours = [np.broadcast_to(getattr(layer, column), len(alpha)) for layer in found.layers]
        gaps.add(column, ours, values)

    sample = Shuffled(seed=0)
    sample.add(images)
    ((firsts, seconds),) = sample.pairs(COUNT)
    (of_unmatched,) = in_memory.networks(unmatched, unmatched, [0], train, BATCH)
    first, last = models[0], models[-1]
    pairs = (last, images, images), (last, firsts, seconds), (of_unmatched, images, images)
    for table in ("additivity", "commutativity", "raw_commutativity"):
        rows = []
        for other, *inputs in pairs:
            by_layer = getattr(in_memory, table)(first, other, *inputs)
            rows += [list(row.values()) for row in by_layer.values()]
        assert (not rows) == (table not in found.tables)
        if rows:
            add_table(gaps, found, table, rows)
    if architecture == "resnet20":
        half = in_memory.networks(a, unmatched, [0, 0.5, 1], train, BATCH)[1]
        halves = (models[len(alpha) // 2],) * 2 + (half,)
        rows = [
            list(row.values())
            for (other, *inputs), between in zip(pairs, halves, strict=True)
            for row in in_memory.norms(first, other, between, *inputs).values()
        ]
        add_table(gaps, found, "norms", rows)
    stitched = [in_memory.stitching(*ends, *data["test"], names) for ends in ((a, b), (b, a))]
    add_table(gaps, found, "stitching", [*stitched[0], *stitched[1]])
    blend = models[len(alpha) // 2]
    rows = in_memory.similarity(first, last, blend, images, names)
    add_table(gaps, found, "similarity", rows)
    for name, gap in gaps.found.items():
        print(f"{architecture:10} {name:24} {gap:.1e}")
    assert max(gaps.found.values()) < LARGEST


def add_table(gaps, found, name, rows):
    """The last columns of a table are `rows`."""
    columns = TABLES[name][-len(rows[0]) :]
    for column, values in zip(columns, np.array(rows).T, strict=True):
        gaps.add(f"{name}: {column}", found.tables[name][column], values)
