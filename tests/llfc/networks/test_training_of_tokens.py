"""Training of transformers: against a loop in float64, and forks that are equal to the bit."""

import dataclasses
import math

import pytest
import torch

from llfc.data.text import windows
from llfc.data.tokens import modular_addition
from llfc.networks.architectures import ARCHITECTURES, build_network
from llfc.networks.spawning import train_network
from llfc.networks.store import Store
from llfc.networks.training import initial_state, learning_rate
from llfc.seeds import stream
from llfc.specs import Recipe
from tests.helpers.quick_cases import slow_unless
from tests.helpers.trainable_networks import images, network, run, same

ADAMW = Recipe(
    epochs=3,
    batch_size=8,
    optimizer="adamw",
    lr=5e-3,
    weight_decay=0.5,
    schedule="cosine",
    warmup=0.2,
    clip=0.3,
)
# The targets of a text all count but the first of each window; of a sum only the result does.
TEXT = windows("made", b"abcabdacb" * 20, context=8)
SUMS = modular_addition(modulus=5, train_share=0.7)
DATA = {"gpt": TEXT, "vit": images(), "mixer": images()}


def model_of(name, data, seed=0):
    return build_network(
        name,
        width=0.25,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        generator=stream(seed, "init"),
    )


def reference(model, data, epochs):
    """AdamW with clipping on every token that counts, one after another, in float64."""
    model = model.double().train()
    names = dict(model.named_parameters())
    first, second = ({name: torch.zeros_like(p) for name, p in names.items()} for _ in range(2))
    count, size = data.count("train"), ADAMW.batch_size
    total, step = math.ceil(count / size) * ADAMW.epochs, 0
    for epoch in range(epochs):
        order = torch.randperm(count, generator=stream(0, f"order/0/{epoch}"))
        for begin in range(0, count, size):
            rows = order[begin : begin + size]
            ids, targets = data.train_ids[rows], data.train_targets[rows]
            scores = model(ids).log_softmax(-1)
            losses = [
                -scores[n, t, targets[n, t + 1]]
                for n in range(len(ids))
                for t in range(ids.shape[1] - 1)
                if targets[n, t + 1] >= 0
            ]
            gradients = torch.autograd.grad(sum(losses) / len(losses), list(names.values()))
            norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
            rate = learning_rate(ADAMW, step / total)
            step += 1
            with torch.no_grad():
                for (name, p), g in zip(names.items(), gradients, strict=True):
                    g = g * min(1.0, ADAMW.clip / norm)
                    first[name] = 0.9 * first[name] + 0.1 * g
                    second[name] = 0.999 * second[name] + 0.001 * g**2
                    scale = (second[name] / (1 - 0.999**step)).sqrt() + 1e-8
                    p *= 1 - rate * ADAMW.weight_decay
                    p -= rate * first[name] / (1 - 0.9**step) / scale
    return model.state_dict()


@pytest.mark.parametrize("data", [TEXT, SUMS], ids=["text", "sums"])
def test_training_on_tokens_is_the_textbook_loop(data):
    model = model_of("gpt", data)
    expected = reference(model_of("gpt", data), data, 1)
    found = run(model, ADAMW, initial_state(model), 1, dataset=data).weights
    for name, tensor in found.items():
        if not name.endswith("key.bias"):  # whose gradient is 0, and its direction rounding
            assert torch.allclose(tensor.double(), expected[name], atol=1e-4), name
            assert not torch.equal(tensor, model_of("gpt", data).state_dict()[name])


@pytest.mark.parametrize("name", slow_unless(["gpt"], DATA))
def test_forks_are_equal_to_the_bit_whatever_was_kept(name, tmp_path):
    data = DATA[name]
    root = network(name, ADAMW, width=0.25, norm=ARCHITECTURES[name].norm)
    branch = dataclasses.replace(root, spawn_epoch=1)
    kept, bare = Store(tmp_path / "kept"), Store(tmp_path / "bare")
    train_network(root, kept, data, keep_epochs=[1])
    for net, store in ((branch, kept), (branch, bare), (root, bare)):
        train_network(net, store, data)
    for net in (root, branch):
        assert same(kept.load_weights(net), bare.load_weights(net))
    assert not same(kept.load_weights(root), kept.load_weights(branch))
    start = initial_state(model_of(name, data))
    trunk, fork = (run(model_of(name, data), ADAMW, start, to, dataset=data) for to in (3, 1))
    again = run(model_of(name, data), ADAMW, fork, 3, dataset=data)
    assert same(again.weights, trunk.weights)
    assert same(again.optimizer, trunk.optimizer)
