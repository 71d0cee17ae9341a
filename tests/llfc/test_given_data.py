"""The caller's data: left as they are, dense, and the same whenever they are iterated."""

import torch
from torch import nn

import llfc
from llfc.connectivity.samples import Batches
from tests.helpers.alike_networks import drawn, refused, samples


class Doubling(nn.Sequential):
    """Begins with what works in place on its own input, and is another function the next time."""

    def forward(self, x):
        return super().forward(x.mul_(2))


class Apart(nn.Sequential):
    """The same function, which leaves its input alone."""

    def forward(self, x):
        return super().forward(x * 2)


def pair_of(kind):
    return (drawn(lambda: kind(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), s) for s in (0, 1))


def test_a_network_that_writes_into_its_input_is_run_on_copies():
    options = {"matching": None, "correction": "none", "measures": ("conditions",), "alphas": 3}
    images, labels = samples()
    before = images.clone()
    found = llfc.connect(*pair_of(Doubling), test=(images, labels), **options)
    assert torch.equal(images, before)
    wanted = llfc.connect(*pair_of(Apart), test=(images, labels), **options)
    assert found.curve["test_loss"].tolist() == wanted.curve["test_loss"].tolist()
    errors = [[layer.cos_error.tolist() for layer in each.layers] for each in (found, wanted)]
    assert errors[0] == errors[1]


def batches_of(source):
    return Batches("test", source, 8, torch.device("cpu"))


class Resumed:
    """Its iterator goes on where it was."""

    def __init__(self, batches):
        self.iterator = iter(batches)

    def __iter__(self):
        return self.iterator


class Shrinking:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        yield from self.batches
        self.batches = self.batches[1:]


def halves():
    images, labels = samples()
    return [(images[:12], labels[:12]), (images[12:], labels[12:])]


def test_an_iterator_that_goes_on_where_it_was_is_refused():
    given = batches_of(Resumed(halves()))
    given.first()
    said = "test must be iterable more than once, but its iterator goes on where it was"
    assert refused(lambda: list(given)).startswith(said)


def test_other_samples_the_next_time_are_refused():
    given = batches_of(Shrinking(halves()))
    assert len(list(given)) == 2
    said = "test must have the same samples whenever it is iterated, got 20 images, and another"
    assert refused(lambda: list(given)).startswith(said)


def test_loaders_begin_anew():
    images, labels = samples()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), batch_size=8, shuffle=True
    )
    given = batches_of(loader)
    given.first()
    assert [sum(len(y) for _, y in given) for _ in range(2)] == [20, 20]


def test_tensors_that_are_not_dense_are_refused():
    images, labels = samples()
    said = refused(lambda: batches_of((images.to_sparse(), labels)).first())
    assert said.startswith("test must be dense tensors, got one that is torch.sparse_coo")
