"""Modules are norms that can be folded by what they compute, whatever their class."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import llfc
from llfc.symmetry.canonical.norms import norm_of

UNITS = 16
VECTORS = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).double()


class Derived(nn.LayerNorm):
    """As timm's, whose forward chooses a kernel."""

    def forward(self, x):
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class DerivedRms(nn.RMSNorm):
    """A class of one's own that computes the same."""


class Own(nn.Module):
    """As in nanoGPT: of its own, with a bias or none, and a number in the code."""

    def __init__(self, bias, eps=1e-5, power=2):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(UNITS) + 0.5)
        self.bias = nn.Parameter(torch.randn(UNITS)) if bias else None
        self.small, self.power = [eps], power

    def forward(self, x):
        x = x - x.mean(-1, keepdim=True)
        size = x.abs().pow(self.power).mean(-1, keepdim=True) + self.small[0]
        y = self.weight * x / size.pow(1 / self.power)
        return y if self.bias is None else y + self.bias


NORMS = {
    "derived": lambda: Derived(UNITS, eps=1e-6),
    "derived rms": lambda: DerivedRms(UNITS, eps=1e-6),
    "own with a bias": lambda: Own(True),
    "own without": lambda: Own(False, eps=1e-12),
}
OTHERS = {
    "of absolute values": lambda: Own(True, power=1),
    "of an unusual epsilon": lambda: Own(True, eps=1e-4),
    "a layer": lambda: nn.Linear(UNITS, UNITS),
    "over channels": lambda: nn.GroupNorm(4, UNITS),
}


def around(norm):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return nn.Sequential(nn.Linear(3, UNITS), norm, nn.Linear(UNITS, 2)).double()


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_other_classes_are_folded(name):
    model = around(NORMS[name]())
    form = llfc.canonical(model, VECTORS)
    assert [*form[1].parameters()] == []
    assert torch.allclose(form[2].weight, model[2].weight * model[1].weight)
    torch.testing.assert_close(form(VECTORS), model(VECTORS), rtol=0, atol=1e-12)
    kinds = set(llfc.permutation_spec(form, VECTORS).kinds.values())
    assert kinds == {"orthogonal"}


@pytest.mark.parametrize("name", OTHERS)
def test_what_computes_something_else_is_none(name):
    assert norm_of("norm", OTHERS[name]()) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_patch16_224"])
def test_vision_transformers_of_timm(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=4, img_size=32, patch_size=8, depth=2).eval()
    for parameter in model.double().parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    images = torch.randn(2, 3, 32, 32).double()
    assert "orthogonal" not in llfc.permutation_spec(model, images).kinds.values()
    form = llfc.canonical(model, images)
    torch.testing.assert_close(form(images), model(images), rtol=0, atol=1e-11)
    kinds = llfc.permutation_spec(form, images).kinds
    assert kinds["patch_embed.proj"] == "orthogonal"
