"""On a GPU: the recorded step is the step, and what is found is what a CPU finds."""

import dataclasses

import pytest
import torch

import llfc
from llfc.networks import steps
from llfc.networks.training import initial_state
from tests.trainable import ADAM, DATA, SGD, STEP, model_of, run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RECIPES = pytest.mark.parametrize("recipe", [ADAM, SGD, STEP], ids=["adam", "sgd", "step"])
NETWORKS = pytest.mark.parametrize("architecture", ["mlp", "resnet20"])


def trained(architecture, recipe, epochs=4, start=None, device="cuda", width=1 / 4):
    model = model_of(architecture, width=width)
    start = start or initial_state(model)
    return run(model.to(device), recipe, start, epochs, dataset=DATA.to(device))


def assert_close(found, expected, atol):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(found[name].double(), tensor.double(), rtol=1e-3, atol=atol), name


@NETWORKS
@RECIPES
def test_a_replayed_step_is_a_step(architecture, recipe, monkeypatch):
    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(1), replay(graph))
    )
    recorded = trained(architecture, recipe)
    assert len(replays) == 4 * 3 - 2  # three whole batches an epoch, two steps before
    monkeypatch.setattr(steps, "BEFORE_RECORDING", 1000)
    plain = trained(architecture, recipe)
    assert len(replays) == 4 * 3 - 2
    assert_close(recorded.weights, plain.weights, 1e-4)
    assert_close(recorded.optimizer, plain.optimizer, 1e-4)


@NETWORKS
@RECIPES
def test_a_gpu_trains_what_a_cpu_trains(architecture, recipe):
    on_cpu = trained(architecture, recipe, 2, device="cpu")
    assert_close(trained(architecture, recipe, 2).weights, on_cpu.weights, 2e-3)


@NETWORKS
@RECIPES
def test_a_fork_in_the_trunks_own_order_is_the_trunk_continued(architecture, recipe):
    trunk = trained(architecture, recipe)
    fork = trained(architecture, recipe, 2)
    assert_close(trained(architecture, recipe, 4, fork).weights, trunk.weights, 1e-4)


@NETWORKS
def test_half_precision_is_of_products_alone(architecture):
    half = dataclasses.replace(SGD, precision="bfloat16")
    found, exact = trained(architecture, half).weights, trained(architecture, SGD).weights
    assert all(tensor.dtype == exact[name].dtype for name, tensor in found.items())
    assert any(not torch.allclose(found[name], exact[name], atol=1e-5) for name in found)
    assert_close(found, exact, 0.1)


@pytest.mark.parametrize("matching", ["none", "weights", "activations"])
@NETWORKS
def test_what_a_gpu_measures_is_what_a_cpu_measures(architecture, matching):
    weights = [
        trained(architecture, SGD, start=start, device="cpu").weights
        for start in (None, initial_state(model_of(architecture, width=1 / 4, seed=1)))
    ]
    found = {}
    for device in ("cpu", "cuda"):
        pair = [model_of(architecture, width=1 / 4) for _ in weights]
        for model, tensors in zip(pair, weights, strict=True):
            model.load_state_dict(tensors)
            model.to(device).eval()
        data = DATA.to(device)
        batches = list(data.batches("test", 9)), list(data.batches("train", 10))
        found[device] = llfc.connect(*pair, test=batches[0], train=batches[1], matching=matching)
    for name, values in found["cpu"].curve.items():
        assert found["cuda"].curve[name] == pytest.approx(values, abs=1e-3), name
    for one, other in zip(found["cuda"].layers, found["cpu"].layers, strict=True):
        assert one.cos_error == pytest.approx(other.cos_error, abs=1e-3)
