"""On a GPU: the recorded step is the step, and what is found is what a CPU finds."""

import pytest
import torch

import llfc
from llfc.networks import steps
from llfc.networks.training import initial_state
from tests.helpers.trainable_networks import ADAM, DATA, SGD, STEP, model_of, run

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


def pair_on(device, architecture):
    """Two networks that a CPU has trained, there or on the GPU."""
    pair = []
    for seed in (0, 1):
        start = initial_state(model_of(architecture, width=1 / 4, seed=seed))
        model = model_of(architecture, width=1 / 4)
        model.load_state_dict(trained(architecture, SGD, start=start, device="cpu").weights)
        pair.append(model.to(device).eval())
    return pair


@pytest.mark.parametrize("matching", ["none", "weights"])
@NETWORKS
def test_what_a_gpu_measures_is_what_a_cpu_measures(architecture, matching):
    found = {}
    for device in ("cpu", "cuda"):
        data = DATA.to(device)
        batches = list(data.batches("test", 9)), list(data.batches("train", 10))
        found[device] = llfc.connect(
            *pair_on(device, architecture), test=batches[0], train=batches[1], matching=matching
        )
    for name, values in found["cpu"].curve.items():
        assert found["cuda"].curve[name] == pytest.approx(values, abs=1e-3), name
    for one, other in zip(found["cuda"].layers, found["cpu"].layers, strict=True):
        assert one.cos_error == pytest.approx(other.cos_error, abs=1e-3)


@NETWORKS
def test_activations_match_as_well_on_a_gpu(architecture):
    """As well, not alike: with so few images, many permutations are all but equally good."""
    objectives = []
    for device in ("cpu", "cuda"):
        images = [images for images, _ in DATA.to(device).batches("train", 10)]
        a, b = pair_on(device, architecture)
        spec = llfc.permutation_spec(a, images[0])
        objectives.append(llfc.match("activations", a, b, spec, images, 0).record["objective"])
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-3)
