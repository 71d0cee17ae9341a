"""`llfc merge`: what the library merges, in a file, with where it comes from."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_model

import llfc
from tests.helpers.command_files import CODE, status_of, written

SHARES = (0.5, 0.3, 0.2)


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written(tmp_path, 3)


def samples():
    names = {}
    exec(CODE, names)
    return names["load"]()["train"]


@pytest.mark.slow
def test_three_are_merged_into_the_basis_of_the_first(models, capsys):
    files = [f"{number}.safetensors" for number in range(3)]
    how = ("-m", "mine.py:build", "--data", "mine.py:load", "--weights", ".5,.3,.2")
    assert status_of("merge", *files, *how, "-o", "merged.safetensors", "-q") == 0
    wanted = llfc.merge(models, statistics=samples(), weights=SHARES).model.state_dict()
    found = load_file("merged.safetensors")
    for name, tensor in wanted.items():
        assert torch.allclose(found[name].double(), tensor.double(), atol=1e-6), name
    with safe_open("merged.safetensors", "pt") as file:
        header = json.loads(file.metadata()["llfc"])
    assert header["llfc"] == llfc.__version__
    assert header["weights"] == list(SHARES)
    assert [each["file"] for each in header["networks"]] == files
    scores = header["scores"]
    assert list(scores) == [*files, "ensemble", "plain average", "merged"]
    inputs, labels = samples()
    outputs = [model(inputs) for model in models]
    merged = models[0]
    merged.load_state_dict(found)
    outputs += [torch.stack(outputs).mean(0), None, merged(inputs)]
    for name, output in zip(scores, outputs, strict=True):
        if output is not None:
            loss = torch.nn.functional.cross_entropy(output, labels).item()
            assert scores[name] == [
                pytest.approx(loss, rel=1e-5),
                pytest.approx((output.argmax(1) != labels).double().mean().item()),
            ], name
    assert "plain average" in capsys.readouterr().out


def test_without_matching_and_correction_it_is_the_average(models):
    how = ("-m", "mine.py:build", "--matching", "none", "--correction", "none", "--alpha", ".25")
    files = ("0.safetensors", "1.safetensors", "-o", "merged.safetensors")
    assert status_of("merge", *files, *how, "--input", "4,4", "-q") == 0
    a, b = (model.state_dict() for model in models[:2])
    for name, tensor in load_file("merged.safetensors").items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, 0.75 * a[name] + 0.25 * b[name], atol=1e-6), name


@pytest.mark.slow
def test_three_are_merged_by_maps_of_every_kind(models):
    names, ids, tied = {}, torch.arange(5)[None], []
    exec(CODE, names)
    for seed in range(3):
        torch.manual_seed(seed)
        tied.append(names["tied"]().eval())
        save_model(tied[-1], f"{seed}.safetensors")
    files = [f"{number}.safetensors" for number in range(3)]
    how = ("-m", "mine.py:tied", "--input", "1,5:5", "--correction", "none", "-q")
    found = {}
    for matching in ("orthogonal", "weights"):
        assert status_of("merge", *files, *how, "--matching", matching, "-o", "m.safetensors") == 0
        wanted = llfc.merge(tied, inputs=ids, matching=matching, correction="none").model
        found[matching] = load_file("m.safetensors")
        for name, tensor in found[matching].items():
            assert torch.allclose(tensor, wanted.state_dict()[name], atol=1e-6), name
    assert not torch.allclose(*(each["mix.weight"] for each in found.values()), atol=1e-2)
