"""Weights that are derived from parameters are said to be off the line; features are not."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, weight_norm

import llfc
from tests.helpers.small_networks import CLASSES, samples


class Keeping(nn.Module):
    """Keeps something of each pass, as what a loss or a plot reads later on."""

    def __init__(self, keep):
        super().__init__()
        self.keep = keep

    def forward(self, x):
        self.kept = self.keep(x)
        return x


def first(kind):
    layer = nn.Linear(6, 8).double()
    return {
        "plain": lambda: layer,
        "weight norm": lambda: parametrizations.weight_norm(layer),
        "weight norm by a hook": lambda: weight_norm(layer),
    }[kind]()


def left_out(kind, keep):
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        rest = nn.ReLU(), Keeping(keep), nn.Linear(8, CLASSES)
        nets.append(nn.Sequential(first(kind), *rest).double())
    options = {"matching": None, "correction": "none", "alphas": 3, "measures": ()}
    found = llfc.connect(*nets, test=samples(24, (6,)), **options).left_out
    return [entry.name for entry in found if "derived from parameters" in entry.reason]


KEPT = {
    "nothing": lambda x: None,
    # A sum is the same in any order of the images.
    "a penalty": lambda x: x.square().mean(),
    "features": lambda x: x,
    "products of units": lambda x: x.T @ x,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("keep", KEPT)
@pytest.mark.parametrize("kind", ["plain", "weight norm", "weight norm by a hook"])
def test_weights_alone_are_derived_from_parameters(kind, keep):
    assert left_out(kind, KEPT[keep]) == ([] if kind == "plain" else ["0.weight"])


def test_a_mask_that_both_share_leaves_nothing_to_be_said():
    class Halved(nn.Module):
        def forward(self, weight):
            return weight / 2

    def net(seed):
        torch.manual_seed(seed)
        layer = nn.Linear(6, CLASSES).double()
        parametrize.register_parametrization(layer, "weight", Halved())
        return layer

    options = {"matching": None, "correction": "none", "alphas": 3, "measures": ()}
    found = llfc.connect(net(0), net(1), test=samples(24, (6,)), **options).left_out
    assert not [entry for entry in found if "derived" in entry.reason]
