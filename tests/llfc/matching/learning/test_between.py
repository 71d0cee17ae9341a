"""The loss of what lies between two networks, and the parts of the data that it is taken on."""

import pytest
import torch

from llfc.matching.learning import between
from llfc.matching.learning.between import Between, parts_of
from llfc.seeds import stream
from llfc.tasks import as_task
from tests.helpers.matchable_pairs import inputs, pair


def test_parts_hold_every_sample_once_in_an_order_that_the_seed_draws(monkeypatch):
    monkeypatch.setattr(between, "SAMPLES", 4)
    batches = [torch.arange(10), torch.arange(10, 23)]
    parts = parts_of(batches, 100, stream(0, "order"))
    assert max(map(len, parts)) == 4
    found = torch.cat(parts)
    assert found.sort().values.tolist() == list(range(23))
    assert found.tolist() != list(range(23))
    again = parts_of(iter(batches), 100, stream(0, "order"))
    assert torch.equal(torch.cat(again), found)
    assert not torch.equal(torch.cat(parts_of(batches, 100, stream(1, "order"))), found)


def test_no_more_is_read_than_needed(monkeypatch):
    monkeypatch.setattr(between, "SAMPLES", 4)

    def endless():
        while True:
            yield torch.zeros(5)

    assert [len(part) for part in parts_of(endless(), 3, stream(0, "order"))] == [4, 4, 4]


def test_samples_of_two_lengths_are_in_parts_of_their_own():
    parts = parts_of([torch.zeros(3, 5), torch.zeros(2, 7)], 9, stream(0, "order"))
    assert sorted(tuple(part.shape) for part in parts) == [(2, 7), (3, 5)]


def distance_by_hand(task, outputs, output):
    a, b, output = (each.double() for each in (*outputs, output))
    if task == "classification":
        mean = (a.softmax(-1) + b.softmax(-1)) / 2
        return (mean * (mean.log() - output.log_softmax(-1))).sum(-1).mean()
    mean = (a + b) / 2
    return (output - mean).square().sum() / mean.square().sum()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_loss_is_the_distance_from_the_mean_of_the_ends(task):
    a, b, _ = pair("perceptron")
    batches = inputs(1)
    found = Between(a, b, as_task(task), batches)
    for net in (a, b):
        weights = {name: tensor.detach() for name, tensor in net.named_parameters()}
        outputs = [end(batches[1]).detach() for end in (a, b)]
        expected = distance_by_hand(task, outputs, net(batches[1]).detach())
        assert expected > 0.01
        assert float(found.loss(weights, 1)) == pytest.approx(float(expected), rel=1e-4)
    each = [float(found.loss(weights, i)) for i in range(3)]
    assert found.mean_loss(weights, range(3)) == pytest.approx(sum(each) / 3)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", ["perceptron", "residual"])  # and with norms of the batch
def test_a_network_is_nowhere_from_itself(kind, task):
    a, _, _ = pair(kind)
    found = Between(a, a, as_task(task), inputs(1))
    assert abs(found.mean_loss(dict(a.named_parameters()), range(3))) < 1e-6
