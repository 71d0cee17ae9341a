"""Networks by the names that libraries have for them, and folders of Hugging Face."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from llfc.command.inputs import Drawn, drawn
from llfc.command.networks import blueprint_of
from tests.helpers.command_files import status_of

ONE = ("--matching", "weights:effort=1")


def gpt2(folder, seed):
    torch.manual_seed(seed)
    text = {"vocab_size": 23, "bos_token_id": 0, "eos_token_id": 0}
    config = transformers.GPT2Config(**text, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("torchvision:squeezenet1_1#num_classes=7", (Drawn((2, 3, 224, 224)),)),
        (
            "timm:vit_tiny_patch16_224#num_classes=7,img_size=32,depth=1",
            (Drawn((2, 3, 32, 32)),),
        ),
    ],
)
def test_libraries_say_what_their_networks_take(name, inputs):
    found = blueprint_of(name)
    assert found.inputs == inputs
    with torch.no_grad():
        assert found.build()(*drawn(inputs, 0)).shape == (2, 7)


def test_a_network_is_the_same_whenever_it_is_built():
    blueprint = blueprint_of("timm:vit_tiny_patch16_224#img_size=32,depth=1")
    one, other = (blueprint.build().state_dict() for _ in range(2))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.slow
def test_a_hugging_face_folder_is_matched_and_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gpt2("a", 0)
    model = gpt2("b", 1)
    assert status_of("match", "a", "b", "-o", "b/model.safetensors", *ONE, "-q") == 0
    again = transformers.GPT2LMHeadModel.from_pretrained("b").eval()
    ids = torch.arange(10).view(2, 5)
    assert "lm_head.weight" not in load_file("b/model.safetensors")  # tied, as in the folder
    assert not torch.equal(
        again.transformer.h[0].mlp.c_fc.weight, model.transformer.h[0].mlp.c_fc.weight
    )
    assert torch.allclose(again(ids).logits, model(ids).logits, atol=1e-5)


def test_folders_that_lack_something(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gpt2("a", 0)
    weights = load_file("a/model.safetensors")
    gone = weights.pop("transformer.h.0.ln_1.weight")
    save_file(weights, "a/model.safetensors", {"format": "pt"})
    assert gone.numel() == 16
    assert status_of("match", "a", "a", "-o", "x.safetensors", "-q") == 2
    said = "checkpoint a: transformer.h.0.ln_1.weight of GPT2LMHeadModel is missing"
    assert said in capsys.readouterr().err
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps({**config, "architectures": None}))
    assert status_of("match", "a", "a", "-o", "x.safetensors", "-q") == 2
    said = "model a: config.json must name an architecture of transformers, got ''"
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["torchvision:resnet18#num_classes=4", "timm:vit_tiny_patch16_224#img_size=32,depth=2"]
)
def test_their_networks_are_matched_back(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(blueprint_of(name).build().state_dict(), "a.pt")
    how = ("-m", name, "--input", "2,3,32,32", *ONE, "-q")
    assert status_of("spec", name, "--input", "2,3,32,32", "--save", "spec.json", "-q") == 0
    assert status_of("match", "a.pt", "a.pt", *how, "-o", "same.safetensors") == 0
    first, same = torch.load("a.pt", weights_only=True), load_file("same.safetensors")
    assert all(torch.equal(tensor, same[key]) for key, tensor in first.items())
