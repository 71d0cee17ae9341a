"""`llfc match`: a planted permutation through files of every kind, and the proof in the header."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import llfc
from tests.helpers.command_files import status_of, written

ONE = ("--matching", "weights:effort=1")
MATCH = ("match", "--model", "mine.py:build", "--input", "6,4", "-q")


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written(tmp_path)


def planted(model, seed=3):
    spec = llfc.permutation_spec(model, torch.randn(6, 4))
    return spec.apply(spec.random(seed), model.state_dict())


def header(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_a_planted_permutation_is_undone(models, capsys):
    save_file(planted(models[0]), "moved.safetensors")
    more = ("--save-permutation", "p.safetensors", "-o", "back.safetensors")
    assert status_of(*MATCH, "0.safetensors", "moved.safetensors", *more) == 0
    back, first = load_file("back.safetensors"), models[0].state_dict()
    assert back.keys() == first.keys()
    assert all(torch.equal(tensor, first[name]) for name, tensor in back.items())
    found = llfc.Permutation.load("p.safetensors")
    assert found.moved() == json.loads(header("back.safetensors")["llfc"])["record"]["moved"] > 0
    said = capsys.readouterr().out
    assert "f(π(B)) = f(B) up to" in said
    assert "1.0000 of a bound that no permutation exceeds" in said


@pytest.mark.slow
def test_files_of_every_kind_are_read_and_types_are_kept(models, capsys):
    moved = {name: tensor.clone() for name, tensor in planted(models[0]).items()}
    halves = {n: t.bfloat16() if t.is_floating_point() else t for n, t in moved.items()}
    save_file(halves, "half.safetensors")
    torch.save({"state_dict": {f"module.{n}": t for n, t in moved.items()}}, "module.pt")
    save_file({f"model.{n}": t for n, t in moved.items()}, "model.safetensors")
    names = {name: f"part{number % 2}.safetensors" for number, name in enumerate(moved)}
    for shard in set(names.values()):
        save_file({n: t for n, t in moved.items() if names[n] == shard}, shard)
    with open("b.safetensors.index.json", "w") as file:
        json.dump({"weight_map": names}, file)
    first = models[0].state_dict()
    given = MATCH[:-1], "0.safetensors"
    for path in ("half.safetensors", "module.pt", "model.safetensors", "b.safetensors.index.json"):
        assert status_of(*given[0], given[1], path, "-o", "back.safetensors", *ONE) == 0
        back = load_file("back.safetensors")
        half = path.startswith("half")
        for name, tensor in first.items():
            wanted = tensor.bfloat16() if half and tensor.is_floating_point() else tensor
            assert torch.equal(back[name], wanted), (path, name)
    said = capsys.readouterr().err
    assert "module.pt: took module. off all names" in said
    assert "model.safetensors: took model. off all names" in said


def test_a_tied_parameter_is_in_a_file_once(models):
    code = "mine.py:tied"
    with open("tied.txt", "w") as file:
        file.write(code)
    torch.manual_seed(0)
    state = {"embed.weight": torch.randn(5, 6), "mix.weight": torch.randn(6, 6)}
    state["mix.bias"] = torch.randn(6)
    save_file(state, "tied.safetensors")
    ids = ("match", "-q", "--model", code, "--input", "2,3:5", "tied.safetensors")
    assert status_of(*ids, "tied.safetensors", "-o", "same.safetensors") == 0
    assert load_file("same.safetensors").keys() == state.keys()


def test_data_are_what_features_are_of(models):
    data = ("--data", "mine.py:load", "--matching", "activations")
    paths = ("0.safetensors", "1.safetensors", "-o", "m.safetensors")
    assert status_of("match", "-q", "--model", "mine.py:build", *data, *paths) == 0
    images = torch.randn(5, 4)
    moved = type(models[1])(*models[1])
    before = moved(images)
    moved.load_state_dict(load_file("m.safetensors"))
    assert torch.allclose(moved(images), before, atol=1e-6)
    assert json.loads(header("m.safetensors")["llfc"])["matching"] == "activations"


# Permutations have a bound that none exceeds; scales have none.
@pytest.mark.parametrize(
    ("model", "said"),
    [("build", "of a bound that no such map exceeds"), ("tied", "of a bound that is reached only")],
)
def test_the_bound_of_a_transform_is_said_as_what_it_is(models, capsys, model, said):
    if model == "tied":
        state = {"embed.weight": torch.randn(5, 6), "mix.weight": torch.randn(6, 6)}
        save_file(state | {"mix.bias": torch.randn(6)}, "0.safetensors")
    how = ("-m", f"mine.py:{model}", "--input", "2,3:5" if model == "tied" else "6,4", "-q")
    files = ("0.safetensors", "0.safetensors", "-o", "m.safetensors")
    assert status_of("match", *files, *how, "--matching", "orthogonal") == 0
    assert f"1.0000 {said}" in capsys.readouterr().out
