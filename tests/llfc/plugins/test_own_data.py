"""Data sets of one's own: what they must give, and what their names say."""

from textwrap import dedent

import numpy as np
import pytest
import torch

from llfc.data import plugged
from llfc.data.batches import CropFlip
from llfc.data.datasets import kind_of, load_dataset, resolve_dataset, task_of
from llfc.networks.recipes import default_recipe
from llfc.plugins import registry

LOAD = """
import pathlib
import numpy as np


def load():
    kept = np.load(pathlib.Path(__file__).with_name("kept.npy"))
    labels = np.arange(len(kept)) % 3
    return {"train_images": kept, "train_labels": labels,
            "test_images": kept[::2], "test_labels": labels[::2]}
"""
IMAGES = np.random.default_rng(0).integers(0, 255, (20, 2, 2), dtype=np.uint8)


def write(folder, text, file="mine.py"):
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(dedent(text))
    return f"{folder / file}"


def test_a_data_set_is_named_by_code_and_content_and_loaded_from_the_cache(tmp_path):
    given = f"{write(tmp_path / 'far', LOAD)}:load"
    kept = tmp_path / "far" / "kept.npy"
    np.save(kept, IMAGES)
    cache = tmp_path / "cache"
    name = resolve_dataset(given, cache)
    assert resolve_dataset(given, cache) == resolve_dataset(name, cache) == name
    assert kind_of(given) == "images"
    changed = IMAGES.copy()
    changed[0, 0, 0] ^= 1
    np.save(kept, changed)
    registry._function.cache_clear()
    plugged._called.cache_clear()
    other = resolve_dataset(given, cache)
    assert other != name
    assert other.split("-")[0] == name.split("-")[0]
    write(tmp_path / "far", LOAD + "# a remark\n")
    assert resolve_dataset(given, cache) not in (name, other)
    kept.unlink()
    found = load_dataset(name, cache=cache)
    assert torch.equal(found.train_images[:, 0], torch.from_numpy(IMAGES))
    assert found.num_classes == 3
    with pytest.raises(ValueError, match="name its file again"):
        load_dataset(name, cache=tmp_path / "nowhere")


def test_tokens_of_ones_own(tmp_path):
    text = """
        def load():
            ids = [[0, 1, 2], [2, 1, 0]]
            return {"train_ids": ids, "test_ids": ids, "test_targets": [[-100, 1, 2], [2, 1, 0]]}
    """
    given = f"{write(tmp_path, text)}:load"
    assert kind_of(given) == "tokens"
    found = load_dataset(given, cache=tmp_path / "cache")
    assert (found.num_classes, found.input_shape) == (3, (3,))
    assert found.train_targets.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert found.test_targets[0, 0] == -100


ROWS = """
    import numpy as np

    def load():
        draw = np.random.default_rng(0).normal
        rows = {split: draw(3, 5, (count, 4)) for split, count in (("train", 50), ("test", 20))}
        for each in rows.values():
            each[:, 3] = 0.1  # which has no exact mean in binary
        rows["test"][0, 3] = 0.2
        inputs = {f"{split}_inputs": each for split, each in rows.items()}
        return inputs | {f"{split}_targets": each.sum(1) for split, each in rows.items()}
"""


def test_rows_of_ones_own_are_scaled_and_their_targets_are_not(tmp_path):
    given = f"{write(tmp_path, ROWS)}:load"
    assert (kind_of(given), task_of(given)) == ("rows", "regression")
    found = load_dataset(given, cache=tmp_path / "cache")
    assert (found.num_classes, found.input_shape) == (1, (4,))
    plain = np.random.default_rng(0).normal(3, 5, (50, 4))
    scaled = (plain[:, :3] - plain[:, :3].mean(0)) / plain[:, :3].std(0)
    assert found.train_inputs[:, :3].numpy() == pytest.approx(scaled, abs=1e-6)
    assert not found.train_inputs[:, 3].any()  # a column that says nothing
    assert found.test_inputs[:2, 3].tolist() == pytest.approx([0.1, 0])
    assert found.train_targets[:, 0].numpy() == pytest.approx(plain[:, :3].sum(1) + 0.1, rel=1e-5)
    assert found.limited("train", 10).count("train") == 10
    assert found.example().dtype == found.train_inputs.dtype
    order = found.spread(torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(50))
    with pytest.raises(ValueError, match=r"augment crops and flips images, and .* is of rows"):
        found.batches("train", 5, crop_flip=CropFlip.draw(50, torch.Generator()))


GOOD = '"train_labels": [0, 1], "test_images": images, "test_labels": [1, 0]'


def _rows(**other):
    """The text of a mapping of rows, in which some are others."""
    usual = {"train_inputs": "[[1, 2], [3, 4]]", "train_targets": "[1, 2]"}
    usual |= {"test_inputs": "[[1, 2]]", "test_targets": "[1]"}
    return "{" + ", ".join(f"'{key}': {value}" for key, value in (usual | other).items()) + "}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "must return a mapping with train_images, .* got a int"),
        ("return {'train_images': images}", "train_labels is missing"),
        (f"return {{'train_images': images, {GOOD}, 'x': 1}}", "'x' is none of these"),
        (f"return {{'train_images': images / 2, {GOOD}}}", r"uint8 of shape .* got float64"),
        (
            f"return {{'train_images': images[:1], {GOOD}}}",
            "1 train_images, but 2 train_labels",
        ),
        (f"return {{'train_images': images[:, :1], {GOOD}}}", "gives training images of shape"),
        (
            f"return {{'train_images': images, {GOOD}, 'num_classes': 1}}",
            r"must give labels in \[0, 1\), got 1",
        ),
        ("raise OSError('gone')", r"dataset mine:load raised OSError: gone \(mine.py, line 5\)"),
        (
            f"return {{'train_images': images + len(calls), {GOOD}}}",
            "dataset mine:load must return the same every time",
        ),
        ("return {'train_ids': [[.5]], 'test_ids': [[0]]}", "whole numbers of shape .N, T."),
        (f"return {_rows(train_inputs='[1, 2]')}", r"numbers of shape \[N, F\], got int64"),
        (f"return {_rows(test_inputs='[[1., np.nan]]')}", "finite test_inputs, got nan"),
        (f"return {_rows(test_targets='[1, 2]')}", "1 test_inputs, but 2 test_targets"),
        (f"return {_rows(test_inputs='[[1]]')}", "2 columns of train_inputs, but 1 of test_inp"),
        (f"return {_rows(train_targets='[[[1]]]')}", "train_targets as numbers of shape"),
        (f"return {_rows(train_targets='[1, 1e200]')}", "train_targets that float32 can hold"),
        (f"return {_rows(train_inputs='[[1e200, 1], [2e200, 1]]')}", "train_inputs that float32"),
        (f"return {_rows(train_inputs='[[1], [1, 2]]')}", "as numbers of shape"),
        (f"return {_rows(num_classes='True')}", "the number of targets, 1, got True"),
        ("return {'test_inputs': [[1]]}", "train_inputs is missing"),
        (f"return {_rows(num_classes='3')}", "the number of targets, 1, got 3"),
    ],
)
def test_a_data_set_that_is_none(tmp_path, body, said):
    text = (
        "import numpy as np\ncalls = []\nimages = np.zeros((2, 2, 2), np.uint8)\n"
        f"def load():\n    {'calls.append(0)' if 'calls' in body else 'pass'}; {body}\n"
    )
    with pytest.raises(ValueError, match=said) as caught:
        resolve_dataset(f"{write(tmp_path, text)}:load", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_recipe_without_augmentation_for_ones_own_images(tmp_path):
    given = f"{write(tmp_path, LOAD)}:load"
    assert default_recipe("mlp", given) == default_recipe("mlp", "fashion-mnist-small")
