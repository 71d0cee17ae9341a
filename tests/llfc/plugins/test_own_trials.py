"""Networks and tasks of one's own: what they must do, checked before any training."""

from textwrap import dedent

import numpy as np
import pytest
import torch

from llfc.data.images import Dataset
from llfc.networks.architectures import architecture_of, build_network
from llfc.networks.code import share_code
from llfc.networks.recipes import default_recipe
from llfc.networks.store import Store
from llfc.plugins import registry, resolve
from llfc.plugins.rehearsal import rehearse
from llfc.seeds import stream
from llfc.specs import Pair, Recipe, Trial, fingerprint
from llfc.tasks import CLASSIFICATION, measured_as

BUILD = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, inputs, units, classes):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(inputs))
        self.one, self.two = nn.Linear(inputs, units), nn.Linear(units, classes)

    def forward(self, images):
        hidden = torch.relu(self.one(self.scale * images.flatten(1)))
        return self.two(F.dropout(hidden, 0.1, self.training))


def build(*, width, input_shape, num_classes):
    return Net(torch.Size(input_shape).numel(), round(4 * width), num_classes)
"""
RECIPE = Recipe(epochs=2, batch_size=8, optimizer="adam", lr=1e-3)
IMAGES = np.random.default_rng(0).integers(0, 255, (20, 2, 2), dtype=np.uint8)


def write(folder, text, file="mine.py"):
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(dedent(text))
    return f"{folder / file}"


@pytest.fixture
def dataset():
    images = torch.from_numpy(IMAGES)[:, None]
    labels = torch.arange(20) % 3
    return Dataset(
        name="small",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
        num_classes=3,
        mean=torch.tensor([0.5]),
        std=torch.tensor([0.3]),
    )


def trial_of(architecture="mlp", **changes):
    pair = Pair(
        architecture=architecture,
        width=1,
        norm="none",
        dataset="small",
        limit_train=None,
        seed=0,
        spawn_epoch=None,
        recipe=RECIPE,
    )
    return Trial(pair=pair, **{"matching": "weights", "correction": "none", **changes})


# Networks


def made(name, seed=0, width=1.0, **options):
    return build_network(
        name,
        width=width,
        input_shape=(1, 2, 2),
        num_classes=3,
        generator=stream(seed, "init"),
        **options,
    )


def test_a_network_keeps_its_own_first_weights_drawn_as_the_seed_says(tmp_path):
    name = resolve("architecture", f"{write(tmp_path, BUILD)}:build")
    before = torch.get_rng_state()
    one, same, other = (made(name, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert 0 <= one.scale.min() < one.scale.max() < 1  # as torch.rand, which is nn.Linear's no more
    assert torch.equal(one.one.weight, same.one.weight)
    assert not torch.equal(one.one.weight, other.one.weight)
    assert one.training
    assert made(name, width=2.0).one.out_features == 8


def test_what_a_function_does_not_take_is_not_an_axis(tmp_path):
    text = """
        from torch import nn

        def build(num_classes, norm="layer"):
            return nn.Sequential(nn.Flatten(), nn.Linear(4, num_classes))
    """
    name = resolve("architecture", f"{write(tmp_path, text)}:build")
    assert architecture_of(name).norm == "layer"
    with pytest.raises(ValueError, match="width of architecture mine:build must be 1, as it takes"):
        made(name, width=2.0)
    bare = resolve("architecture", f"{write(tmp_path, text.replace(', norm', ', *, n'))}:build")
    with pytest.raises(ValueError, match="norm of mine:build must be one of none, got 'batch'"):
        made(bare, norm="batch")
    with pytest.raises(ValueError, match="mine:build has no depth to choose"):
        made(bare, depth=3)


def test_a_plugin_has_a_recipe_to_begin_with(tmp_path):
    name = resolve("architecture", f"{write(tmp_path, BUILD)}:build")
    assert default_recipe(name, "fashion-mnist-small").optimizer == "adamw"
    assert default_recipe(name, "king-james") == default_recipe("gpt", "king-james")


def test_a_good_network_passes_with_dropout_too(tmp_path, dataset):
    name = resolve("architecture", f"{write(tmp_path, BUILD)}:build")
    rehearse(trial_of(name), dataset)


def test_nothing_is_rehearsed_without_plugins(dataset, monkeypatch):
    monkeypatch.setattr("llfc.plugins.rehearsal.connect", None)
    rehearse(trial_of(), dataset)


HEAD = "import torch\nfrom torch import nn\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def build(): return 3",
            "mine:build must return a torch.nn.Module, got a int",
        ),
        (
            "def build(): raise KeyError('x')",
            r"build raised KeyError: 'x' \(mine.py, line 3\)",
        ),
        ("def build(size): ...", "must take any of width, norm, input_shape, num_classes by name"),
        (
            "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(4, 5))",
            "must return num_classes = 3 logits of each sample, got 5",
        ),
        (
            "def build(): return nn.Linear(2, 3)",
            r"model must return logits of shape \[images, classes\], got \(16, 1, 2, 3\)",
        ),
        (
            "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))",
            r"raised RuntimeError: .* on small of input shape \(1, 2, 2\) with 3 classes",
        ),
        (
            "count = []\ndef build():\n    count.append(0)\n"
            "    torch.manual_seed(len(count))\n"
            "    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))",
            "must build the same network twice for one seed, but 1.weight differs",
        ),
        (
            "import itertools\ncount = itertools.count()\nclass Net(nn.Linear):\n"
            "    def forward(self, x):\n"
            "        return super().forward(x.flatten(1)) * (1 + self.training * next(count))\n"
            "def build(): return Net(4, 3)",
            "must be trained to the same network twice for one seed, but weight differs",
        ),
    ],
)
def test_a_network_that_cannot_be_used(tmp_path, dataset, text, said):
    file = write(tmp_path, HEAD + text)
    with pytest.raises(ValueError, match=said) as caught:
        rehearse(trial_of(resolve("architecture", f"{file}:build")), dataset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (
            "matching",
            "import itertools\ncount = itertools.count()\n"
            "def plug(spec): return spec.random(next(count))",
            "matching mine:plug must find the same twice for a seed",
        ),
        ("matching", "def plug(): return None", "or an llfc.Transform, got a NoneType"),
        (
            "correction",
            "import itertools\ncount = itertools.count()\ndef plug(model):\n"
            "    for each in model.parameters():\n        each.mul_(next(count))\n    return model",
            "correction mine:plug must give the same loss twice",
        ),
        ("task", "def plug(): return 3", "task mine:plug must return a llfc.Task, got a int"),
    ],
)
def test_a_plugin_of_another_kind_that_cannot_be_used(tmp_path, dataset, kind, text, said):
    name = resolve(kind, f"{write(tmp_path, text)}:plug")
    with pytest.raises(ValueError, match=said):
        rehearse(trial_of(**{"matching": "none", kind: name}), dataset)


def test_a_task_of_ones_own_is_measured(tmp_path):
    text = """
        import llfc

        def task():
            count = lambda logits, labels: (logits.argmax(1) != labels).double()
            return llfc.Task(loss=count, error=count)
    """
    name = resolve("task", f"{write(tmp_path, text)}:task")
    task = measured_as("classification", name)
    logits, labels = torch.eye(3), torch.tensor([0, 1, 1])
    assert task.loss(logits, labels).tolist() == [0, 0, 1]
    assert measured_as("classification", None) == CLASSIFICATION


# The code goes where the networks are


def test_the_code_is_in_the_store_for_other_processes(tmp_path, monkeypatch):
    file = write(tmp_path / "far", BUILD)
    trial = trial_of(resolve("architecture", f"{file}:build"))
    store = Store(tmp_path / "store")
    share_code(trial, store)
    monkeypatch.setattr(registry, "_known", {})
    registry._function.cache_clear()
    share_code(trial.pair.a, store)
    made(trial.pair.architecture)
    monkeypatch.setattr(registry, "_known", {})
    with pytest.raises(ValueError, match="is neither known here nor in the store"):
        share_code(trial, Store(tmp_path / "other"))
    with pytest.raises(ValueError, match="must be a plug-in's full name"):
        share_code(trial_of(matching=f"{file}:match"), store)


def test_changed_code_is_another_trial(tmp_path):
    names = [
        resolve("architecture", f"{write(tmp_path, BUILD + remark)}:build")
        for remark in ("", "# a remark\n")
    ]
    one, other = map(trial_of, names)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one.pair.a) != fingerprint(other.pair.a)
    matched = [trial_of(matching=name.replace(":build", ":match")) for name in names]
    assert fingerprint(matched[0]) != fingerprint(matched[1])
    assert fingerprint(matched[0].pair.a) == fingerprint(matched[1].pair.a)
