"""Running on from a probe is running all of the network with a hook that patches its output."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from llfc.connectivity.measures.replay import replaying
from llfc.connectivity.probes import choose_probes
from tests.helpers.small_networks import CLASSES, convnet, mlp, random_

WIDTH = 6


class Block(nn.Module):
    """As torchvision's: one activation, in place and called twice, and a sum in place."""

    def __init__(self, relu):
        super().__init__()
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm, self.relu = nn.LayerNorm(WIDTH), relu

    def forward(self, x):
        y = self.relu(self.norm(self.one(x)))
        y = self.two(y)
        y += x
        return self.relu(y)


class OverItsInput(nn.Module):
    """Writes to what its caller still holds."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        x += self.one(x)
        return x


class Discarded(nn.Module):
    """Uses what modules do to their input, and not what they give."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.relu, self.over, self.same = nn.ReLU(inplace=True), OverItsInput(), nn.Identity()

    def forward(self, x):
        x = self.one(x)
        self.relu(x)
        self.over(x)
        y = self.same(x)
        y *= 2
        return self.two(y) + self.one(x) + y


class Functional(nn.Module):
    """Computes between its modules; has a module that gives two tensors, and a direct call."""

    class Both(nn.Module):
        def forward(self, x, *, shift):
            return x + shift, x - shift

    def __init__(self):
        super().__init__()
        self.one, self.two, self.both = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3), self.Both()
        self.two.weight = nn.Parameter(self.one.weight[:3].detach().clone())
        self.shared = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        up, down = self.both(F.relu(self.one(x)), shift=x)
        x = self.shared.forward(up) * torch.tanh(down)
        x = self.shared(F.relu(self.shared(x)) + x.flip(1))
        return torch.cat([self.two(x), self.two(up)], 1)


class Keeper(nn.Module):
    """A module keeps a value that another reads."""

    class Keep(nn.Module):
        def forward(self, x):
            self.kept = 2 * x
            return self.kept + 1

    def __init__(self):
        super().__init__()
        self.one, self.keep, self.two = nn.Linear(WIDTH, WIDTH), self.Keep(), nn.Linear(WIDTH, 4)

    def forward(self, x):
        x = self.keep(self.one(x))
        return self.two(x + self.keep.kept)


def residual():
    relu = nn.ReLU(inplace=True)
    blocks = [Block(relu), OverItsInput(), Block(relu)]
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), relu, *blocks, nn.Linear(WIDTH, CLASSES))


def tied():
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(3)))
    model[2].weight = model[0].weight
    return model


def hooked():
    """Hooks that change what a module gives, by their value and in place."""

    def add(module, inputs, output):
        output.add_(1)

    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    model[0].register_forward_hook(lambda module, inputs, output: 3 * output)
    model[1].register_forward_hook(add)
    model[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] - 1,))
    return model


VECTORS, IMAGES = (WIDTH,), (2, 7, 7)
NETWORKS = {
    "mlp": (lambda: mlp(0), VECTORS, None),
    "convnet": (lambda: convnet(0), IMAGES, None),
    "inside blocks": (lambda: convnet(0), IMAGES, ["*conv", "*norm", "*relu", "head"]),
    "in place": (residual, VECTORS, ["0", "1", "2.*", "3.one", "3", "4.*", "5"]),
    "in place blocks": (residual, VECTORS, ["0", "2", "3", "4", "5"]),
    "discarded": (Discarded, VECTORS, ["one", "relu", "over.one", "same", "two"]),
    "functional": (Functional, VECTORS, ["one", "shared", "two"]),
    "keeper": (Keeper, VECTORS, ["one", "keep", "two"]),
    "tied": (tied, VECTORS, None),
    "hooked": (hooked, VECTORS, None),
    "single": (lambda: nn.Linear(WIDTH, CLASSES), VECTORS, None),
}
every_network = pytest.mark.parametrize("name", list(NETWORKS))


def made(name):
    make, shape, chosen = NETWORKS[name]
    model = random_(make(), 3).eval()
    images = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return model, images, choose_probes(model, images, chosen)


@torch.no_grad()
def patched(model, images, probe, feature):
    """The plain way: all of it runs, and one call's output is replaced."""
    calls = []

    def hook(module, inputs, output):
        calls.append(module)
        return feature.clone() if len(calls) == probe.call else None

    handle = model.get_submodule(probe.module).register_forward_hook(hook)
    found = model(images)
    handle.remove()
    return found


@every_network
def test_resuming_is_patching(name):
    model, images, probes = made(name)
    reference = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(2)
    with replaying(model, probes, images[:2]) as replay:
        for batch in (images[:3], images):  # a record takes the place of the one before
            with torch.no_grad():
                plain = reference(batch.clone())  # by itself: sums depend on the size of a batch
            logits, features = replay.record(batch)
            assert torch.equal(logits, plain)
            kept = [feature.clone() for feature in features]
            for index in reversed(range(len(probes))):
                other = torch.randn(kept[index].shape, dtype=torch.float64, generator=generator)
                for feature in (other, features[index]):
                    expected = patched(reference, batch.clone(), probes[index], feature)
                    assert torch.equal(replay.resume(index, feature), expected), probes[index]
            for feature, before in zip(features, kept, strict=True):
                assert torch.equal(feature, before)
    assert len(probes) > (name != "single")


@every_network
def test_the_network_is_as_it_was(name):
    model, images, probes = made(name)
    before = copy.deepcopy(model)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    with replaying(model, probes, images[:2]) as replay:
        _, features = replay.record(images)
        replay.resume(0, features[0])
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert not any("forward" in vars(module) for module in model.modules())
    for key, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    with torch.no_grad():
        assert torch.equal(model(images), before(images))


class Counting(nn.Linear):
    """Counts how often it computes; hooks run whether or not it does."""

    ran = 0

    def forward(self, x):
        self.ran += 1
        return super().forward(x)


def test_only_what_comes_after_the_probe_computes():
    model = nn.Sequential(*(nn.Sequential(Counting(4, 4), Counting(4, 4)) for _ in range(3)))
    images = torch.randn(3, 4)
    probes = choose_probes(model.eval(), images, ["*.0", "0", "1", "2"])
    assert [probe.name for probe in probes] == ["0.0", "0", "1.0", "1", "2.0", "2"]
    layers = [layer for stage in model for layer in stage]
    with replaying(model, probes, images[:2]) as replay:
        _, features = replay.record(images)
        for index, feature in enumerate(features):
            for layer in layers:
                layer.ran = 0
            replay.resume(index, feature)
            assert [layer.ran for layer in layers] == [0] * (index + 1) + [1] * (5 - index)


def test_only_calls_whose_caller_runs_at_a_probe_are_kept():
    model = convnet(0).eval()
    images = torch.zeros(2, *IMAGES, dtype=torch.float64)
    probes = choose_probes(model, images, ["block1.norm", "block2"])
    with replaying(model, probes, images) as replay:
        kept = [{a.module for a in start.answers.values()} for start in replay._starts.values()]
    top = {model.conv}  # the norm's output is written to: a copy; relu writes to it: runs again
    assert kept[0] == top | {model.norm, model.block1.conv, model.block1.norm}
    assert kept[1] == top | {model.norm, model.block1, model.block2}


def test_forwards_are_restored_after_an_error():
    class Refuses(nn.Module):
        def forward(self, x):
            if len(x) > 2:
                raise RuntimeError("too many")
            return x

    model = nn.Sequential(nn.Linear(4, 4), Refuses(), nn.Linear(4, 4)).eval()
    own = model[2].forward
    vars(model[2])["forward"] = own  # as a caller may have set it
    images = torch.randn(3, 4)
    probes = choose_probes(model, images[:2])
    replaying_it = replaying(model, probes, images[:2])
    with pytest.raises(RuntimeError, match=r"^too many$"), replaying_it as replay:
        replay.record(images)
    assert [vars(module).get("forward") for module in model.modules()] == [None, None, None, own]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_that_does_not_repeat_itself_is_refused():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out = (nn.Linear(4, 4) for _ in range(3))
            self.turns = 0

        def forward(self, x):
            self.turns += 1
            first, second = (self.one, self.two) if self.turns % 3 else (self.two, self.one)
            return self.out(second(first(x)))

    model, images = Fickle().eval(), torch.randn(3, 4)
    probes = choose_probes(model, images, ["out"])
    model.turns = 0
    message = r"^the network calls other modules when it is run on the same images$"
    with replaying(model, probes, images) as replay:
        replay.record(images)  # the second turn, after the example's
        with pytest.raises(ValueError, match=message):
            replay.resume(0, images)
