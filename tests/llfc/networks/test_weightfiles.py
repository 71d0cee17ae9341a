"""Checkpoint files: read without running code, named by content, refused in one line."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from llfc.networks.weightfiles import load_checkpoint, name_checkpoints, named_checkpoint


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def prefixed(model, prefix):
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


def sharded(model, folder):
    """Two shards and their index."""
    names, parts = {}, [{}, {}]
    for number, (name, tensor) in enumerate(model.state_dict().items()):
        names[name] = f"part-{number % 2}.safetensors"
        parts[number % 2][name] = tensor
    for number, part in enumerate(parts):
        save_file(part, folder / f"part-{number}.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    return index


def test_all_ways_of_saving_are_one_checkpoint(model, tmp_path):
    state = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    torch.save({"epoch": 3, "state_dict": prefixed(model, "module.")}, tmp_path / "c.pth")
    save_file(prefixed(model, "_orig_mod.module."), tmp_path / "d.safetensors")
    paths = [*(tmp_path / n for n in ("a.safetensors", "b.pt", "c.pth", "d.safetensors"))]
    found = [load_checkpoint(path) for path in [*paths, sharded(model, tmp_path)]]
    assert len({each.digest for each in found}) == 1
    assert [each.stripped for each in found] == [
        (),
        (),
        ("module.",),
        ("_orig_mod.", "module."),
        (),
    ]
    for each in found:
        each.check_fits(model, "x")
        assert all(torch.equal(each.tensors[name], tensor) for name, tensor in state.items())


def test_any_number_counts_and_a_name_that_one_tensor_lacks_stays(model, tmp_path):
    before = load_checkpoint_of(model.state_dict(), tmp_path)
    with torch.no_grad():
        model[0].bias[1] += 1e-6
    assert load_checkpoint_of(model.state_dict(), tmp_path).digest != before.digest
    mixed = {**prefixed(model, "module."), "other": torch.zeros(1)}
    assert load_checkpoint_of(mixed, tmp_path).stripped == ()


def load_checkpoint_of(tensors, folder):
    save_file(tensors, folder / "x.safetensors")
    return load_checkpoint(folder / "x.safetensors")


class Code:
    def __reduce__(self):
        return (print, ("HIT",))


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("x.pt", lambda p: torch.save({"w": Code()}, p), "needs code to be read, which is not run"),
        ("x.pt", lambda p: torch.save(nn.Linear(1, 1), p), "needs code to be read"),
        ("x.pt", lambda p: p.write_bytes(b"nonsense"), "is damaged"),
        ("x.pt", lambda p: torch.save({"epoch": 3}, p), "must hold tensors by name, .* of epoch"),
        ("x.pt", lambda p: torch.save(torch.zeros(1), p), "got a Tensor"),
        ("x.safetensors", lambda p: p.write_bytes(b"nonsense"), "is damaged"),
        ("x.safetensors", lambda p: None, "No such file"),
        ("x.safetensors", lambda p: p.mkdir(), "the folder has none of model.safetensors"),
        ("x.npz", lambda p: None, "must end in .safetensors"),
        ("x.safetensors.index.json", lambda p: p.write_text("{"), "is damaged"),
        ("x.safetensors.index.json", lambda p: p.write_text("{}"), "must have a weight_map"),
        (
            "x.safetensors.index.json",
            lambda p: p.write_text('{"weight_map": {"w": "../../etc/x"}}'),
            "shards must lie beside the index",
        ),
        (
            "x.safetensors.index.json",
            lambda p: p.write_text('{"weight_map": {"w": "gone.safetensors"}}'),
            "No such file",
        ),
    ],
)
def test_what_is_no_checkpoint(tmp_path, capfd, name, write, said):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=said) as caught:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "HIT" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("0.bias"), "0.bias of the architecture is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "the architecture has no extra"),
        (lambda s: s.update({"0.bias": torch.zeros(4)}), r"of shape \(3,\), got \(4,\)"),
        (lambda s: s["0.bias"].fill_(torch.nan), "0.bias must be finite"),
    ],
)
def test_what_does_not_fit(model, tmp_path, change, said):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=f"^checkpoint mine: .*{said}"):
        load_checkpoint_of(state, tmp_path).check_fits(model, "mine")


def test_names_are_of_the_content_with_labels_that_differ(model, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_file(model.state_dict(), tmp_path / folder / "last.safetensors")
        with torch.no_grad():
            model[0].bias[1] += 1
    files = [f"{tmp_path}/{folder}/last.safetensors" for folder in ("one", "two")]
    names = name_checkpoints(files)
    assert [name.partition("@")[0] for name in names] == ["one/last", "two/last"]
    assert named_checkpoint(names[0]).digest == names[0].partition("@")[2]
    with pytest.raises(ValueError, match="must be at least two files, got 1"):
        name_checkpoints(files[:1])
    torch.save(load_checkpoint(files[0]).tensors, tmp_path / "same.pt")
    with pytest.raises(
        ValueError, match=r"must differ, but .*same.pt holds the same as .*one/last"
    ):
        name_checkpoints([*files, f"{tmp_path}/same.pt"])
    (tmp_path / "one" / "last.safetensors").write_bytes(
        (tmp_path / "two" / "last.safetensors").read_bytes()
    )
    with pytest.raises(ValueError, match="was changed while it was used"):
        named_checkpoint(names[0])
