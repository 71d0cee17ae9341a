"""Summaries over layers at the midpoint: which layers count, and what rounding may change."""

import numpy as np
import pytest
import torch

from llfc import connect
from llfc.connectivity.blend import line_positions
from llfc.connectivity.layerwise import InnerProducts, quantities, summarise
from llfc.connectivity.probes import products_between, products_of_ends
from llfc.results import LayerProfile
from tests.helpers.small_networks import convnet, samples

# Zero features


def products(f, a, b):
    """Of features [N, D]; one layer."""
    ends = products_of_ends([a], [b])
    return InnerProducts(*ends, *products_between(f, a, b, 0.5)[:, None, None].double())


# Summaries


def profile(name, error, baseline, coef=1.0, residual=0.0, kind="other"):
    column = np.array([0.0, error, 0.0])
    others = {name: np.zeros(3) for name in ("cos_error_std", "cos_a", "cos_b")}
    return LayerProfile(
        name=name,
        cos_error=column,
        baseline=baseline,
        baseline_std=0.0,
        coef=np.array([1.0, coef, 1.0]),
        residual=np.array([0.0, residual, 0.0]),
        kind=kind,
        **others,
    )


def test_summaries_are_read_in_the_middle():
    layers = [profile("x", 0.1, 0.5, 0.9, 0.2), profile("y", 0.3, 0.3), profile("z", 0.2, 0.0)]
    assert summarise(layers, line_positions(3)) == pytest.approx(
        {
            "llfc_error_mean": 0.2,
            "llfc_error_max": 0.3,
            "llfc_error_last": 0.2,
            "llfc_baseline_mean": 0.8 / 3,
            "llfc_ratio_mean": 0.75,
            "llfc_coef_mean": 2.9 / 3,
            "llfc_residual_mean": 0.2 / 3,
        }
    )
    nothing = summarise([profile("x", 0.0, 0.0)], line_positions(3))
    assert nothing["llfc_ratio_mean"] == 0


def test_means_are_over_post_activations_and_the_logits_apart():
    """So that a family probed before its activations too, and at a first layer that is exact,
    compares with one that is not."""
    plain = [
        profile("linear0", 0.0, 0.5, kind="pre-activation"),
        profile("relu0", 0.1, 0.3, 0.9, 0.2, kind="post-activation"),
        profile("linear1", 0.7, 0.6, kind="pre-activation"),
        profile("relu1", 0.2, 0.5, 0.7, 0.4, kind="post-activation"),
        profile("head", 0.9, 0.8, kind="logits"),
    ]
    residual = [layer for layer in plain if layer.kind != "pre-activation"]
    expected = {
        "llfc_error_mean": 0.15,
        "llfc_error_max": 0.9,
        "llfc_error_last": 0.9,
        "llfc_baseline_mean": 0.4,
        "llfc_ratio_mean": 0.375,
        "llfc_coef_mean": 0.8,
        "llfc_residual_mean": 0.3,
    }
    assert summarise(plain, line_positions(3)) == pytest.approx(expected)
    assert summarise(residual, line_positions(3)) == pytest.approx(expected)


def test_means_without_a_post_activation_are_over_what_there_is():
    logits = profile("head", 0.3, 0.4, kind="logits")
    linear = [profile(name, 0.1, 0.2, kind="pre-activation") for name in ("one", "two")]
    assert summarise([*linear, logits], line_positions(3))["llfc_error_mean"] == pytest.approx(0.1)
    assert summarise([logits], line_positions(3))["llfc_error_mean"] == pytest.approx(0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agreement_but_for_rounding_has_ratio_0(dtype):
    """Features that are equal but for rounding, in sums of many numbers."""
    eps = torch.finfo(dtype).eps
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(20, 30_000, generator=generator, dtype=torch.float64).to(dtype)
    noise = 1 + eps * torch.randn(20, 30_000, generator=generator, dtype=torch.float64).to(dtype)
    dots = products(a * noise, a, a)
    values, _ = quantities(
        torch.tensor([0.5], dtype=torch.float64),
        InnerProducts(*(x.double() for x in vars(dots).values())),
        eps,
    )
    error = values["cos_error"].mean().item()
    assert summarise([profile("x", error, 0.0)], line_positions(3), eps)["llfc_ratio_mean"] == 0
    far = summarise([profile("x", 1000 * eps, 0.0)], line_positions(3), eps)
    assert far["llfc_ratio_mean"] == np.inf  # the blend leaves where A and B agree
    small = summarise([profile("x", eps, 100 * eps)], line_positions(3), eps)
    assert small["llfc_ratio_mean"] == pytest.approx(0.01)


def test_a_network_with_itself_has_ratio_0():
    model = convnet(0).float()
    images, labels = samples(40, (2, 7, 7))
    found = connect(model, model, test=(images.float(), labels), correction="none", measures=())
    assert found.summaries["llfc_error_mean"] < 1e-6
    assert found.summaries["llfc_ratio_mean"] == 0
