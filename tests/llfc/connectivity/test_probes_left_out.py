"""Features that cannot be read image by image are left out, with the reason in the result."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc import connect
from llfc.connectivity.probes import select_probes
from tests.helpers.small_networks import CLASSES, random_, samples

OPTIONS = {"matching": None, "correction": "none", "alphas": 3}


def pair(make):
    return [random_(make(), seed).eval() for seed in (0, 1)]


class Unread(nn.Module):
    """Blocks that give no feature of single images: a norm over them, nothing, a table of all."""

    class Block(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.how, self.one = how, nn.Linear(6, 6)

        def forward(self, x):
            self.sum = x + self.one(x)
            return {"mean": self.sum.mean(0), "none": None, "pairs": self.sum @ self.sum.T}[
                self.how
            ]

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.mean, self.none, self.pairs = map(self.Block, ("mean", "none", "pairs"))
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.stem(x)
        self.mean(x), self.none(x), self.pairs(x)
        return self.head(x)


def test_what_cannot_be_read_is_in_the_result_with_its_reason():
    images, labels = samples(5, (6,))
    found = connect(*pair(Unread), test=(images, labels), measures=(), **OPTIONS)
    assert [layer.name for layer in found.layers] == ["stem", "head"]
    passed = {entry.name: entry.reason for entry in found.left_out if entry.kind == "probe"}
    assert passed == {
        "mean": "its output has no dimension in [6] that grows with the number of images",
        "none": "its output contains no tensor of real numbers",
        "pairs": "its output has more than one dimension in [2, 2], or not a whole one, to hold"
        " the images",
    }
    assert found.scalars()["left_out_probe"] == 3
    with pytest.raises(ValueError, match=r"^probe 'none' cannot be read: .* contains no tensor"):
        connect(*pair(Unread), test=(images, labels), probes="none", measures=(), **OPTIONS)
    patterned = connect(*pair(Unread), test=(images, labels), probes="*e*", measures=(), **OPTIONS)
    assert {e.name for e in patterned.left_out if e.kind == "probe"} == {"mean", "none"}


class Routed(nn.Module):
    """Experts that are given the images that a gate sends to them."""

    def __init__(self):
        super().__init__()
        self.stem, self.gate, self.head = nn.Linear(6, 6), nn.Linear(6, 2), nn.Linear(6, CLASSES)
        self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, x):
        x = self.stem(x)
        expert = self.gate(x).argmax(1)
        out = torch.zeros_like(x)
        for k, layer in enumerate(self.experts):
            if (expert == k).any():
                out[expert == k] = layer(x[expert == k])
        return self.head(x + out)


def test_experts_that_are_given_some_of_the_images_are_passed_over():
    images, labels = samples(40, (6,))
    sent = random_(Routed(), 0)
    images = images[sent.gate(sent.stem(images)).argmax(1).argsort()]  # two of one at first
    found = connect(*pair(Routed), test=(images, labels), measures=(), **OPTIONS)
    assert [layer.name for layer in found.layers] == ["stem", "gate", "head"]
    passed = {entry.name: entry.reason for entry in found.left_out if entry.kind == "probe"}
    assert passed.keys() == {"experts.0"}  # the other one does not run on the first two
    for reason in passed.values():
        assert "does not run on every batch" in reason or "does not hold" in reason
    with pytest.raises(ValueError, match=r"^probe 'experts.0' cannot be read: it"):
        connect(*pair(Routed), test=(images, labels), probes="experts.0", measures=(), **OPTIONS)


def test_activation_functions_that_no_module_gives_are_in_the_result():
    class Functions(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, CLASSES)

        def forward(self, x):
            return self.two(F.gelu(self.one(x)))

    images, labels = samples(5, (6,))
    found = connect(*pair(Functions), test=(images, labels), measures=(), **OPTIONS)
    reasons = {entry.kind: (entry.name, entry.reason) for entry in found.left_out}
    assert reasons["probe"] == ("model", "gelu is called as a function and not as a module")
    assert reasons["definition"][0] == "llfc_error_mean"


def test_a_network_for_batches_of_one_size_is_read_by_its_numbers():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.turned, self.head = Turned(), nn.Linear(6, CLASSES)

        def forward(self, x):
            return self.head(self.turned(x).T.view(2, 6))

    class Turned(nn.Module):
        def forward(self, x):
            return x.T

    images, _ = samples(2, (6,))
    (probe,) = select_probes(random_(Pairs(), 0).eval(), images, ["turned"]).probes
    assert probe.axis.dim == 1
