"""Matchers and corrections of one's own: what they give, and what is refused."""

from textwrap import dedent

import pytest
import torch
from torch import nn

import llfc


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


def pair():
    a, b = (
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)) for _ in range(2)
    )
    torch.manual_seed(0)
    for model in (a, b):
        for parameter in model.parameters():
            nn.init.normal_(parameter)
    return a, b, (torch.randn(6, 4), torch.arange(6) % 3)


def connected(**chosen):
    a, b, samples = pair()
    return llfc.connect(a, b, test=samples, train=samples, alphas=3, measures=[], **chosen)


def test_a_matcher_of_ones_own_gives_the_permutation(tmp_path):
    text = "def match(spec, seed):\n    return spec.random(seed)\n"
    write(tmp_path, {"own.py": text})
    a, _, samples = pair()
    spec = llfc.permutation_spec(a, samples[0])
    chosen = {"matching": f"{tmp_path}/own.py:match", "correction": "none"}
    planted = spec.random(0)
    found = connected(**chosen)
    assert found.matching["moved"] == planted.moved() > 0
    same = connected(matching=planted, correction="none")
    assert found.curve["test_loss"].tolist() == same.curve["test_loss"].tolist()


def test_a_matcher_changes_only_copies_and_draws_as_the_seed_says(tmp_path):
    text = """
        import torch

        def match(a, b, spec):
            b.load_state_dict(a.state_dict())
            return llfc_random(spec)

        def llfc_random(spec):
            return spec.random(int(torch.randint(1000, ())))
    """
    write(tmp_path, {"own.py": text})
    a, b, samples = pair()
    spec = llfc.permutation_spec(a, samples[0])
    before = {name: tensor.clone() for name, tensor in b.state_dict().items()}
    one, same, other = (
        llfc.match(f"{tmp_path}/own.py:match", a, b, spec, seed=seed) for seed in (1, 1, 2)
    )
    assert one == same != other
    assert all(torch.equal(before[name], tensor) for name, tensor in b.state_dict().items())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "def match(a, b): return 3",
            "must return an llfc.Permutation or an llfc.Transform, got",
        ),
        ("def match(a, b, spec): raise KeyError('x')", r"raised KeyError: 'x' \(own.py, line 1\)"),
        ("def match(a, b, other): ...", "nothing else without a default, but takes 'other'"),
        ("def match(a, /): ...", "nothing else without a default, but takes 'a'"),
        (
            "import llfc\ndef match(): return llfc.Permutation({})",
            "must return one of the spec's: permutation: group '1' is only in the spec",
        ),
    ],
)
def test_a_matcher_that_is_none(tmp_path, body, said):
    write(tmp_path, {"own.py": body})
    with pytest.raises(ValueError, match=f"^matching own:match .*{said}") as caught:
        connected(matching=f"{tmp_path}/own.py:match")
    assert "\n" not in str(caught.value)


def test_a_correction_of_ones_own_changes_the_blends(tmp_path):
    """Twice the last layer's weights and biases: the output is twice what it is."""
    text = """
        import torch

        @torch.no_grad()
        def correct(model, alpha):
            for parameter in model[3].parameters():
                parameter.mul_(2 if 0 < alpha < 1 else 1)
            return model
    """
    write(tmp_path, {"own.py": text})
    found = connected(matching="none", correction=f"{tmp_path}/own.py:correct")
    a, b, (inputs, labels) = pair()
    half = {n: (t + b.state_dict()[n]) / 2 for n, t in a.state_dict().items()}
    a.load_state_dict(half)
    expected = nn.functional.cross_entropy(2 * a(inputs).double(), labels).item()
    assert found.curve["test_loss"][1] == pytest.approx(expected, rel=1e-5)
    assert found.summaries["correction_layers"] == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def correct(model): return None", "must return a torch.nn.Module, got a NoneType"),
        (
            "def correct(model): return model[:2]",
            r"same architecture, but 3.weight is of shape none, not \(3, 5\)",
        ),
        ("def correct(alpha): return alpha + b", "raised NameError: name 'b' is not defined"),
    ],
)
def test_a_correction_that_is_none(tmp_path, body, said):
    write(tmp_path, {"own.py": body})
    with pytest.raises(ValueError, match=f"^correction own:correct .*{said}"):
        connected(matching="none", correction=f"{tmp_path}/own.py:correct")
