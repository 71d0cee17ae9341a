"""Texts as token ids, and modular addition: by name, with options, by content."""

import pytest
import torch

from llfc.data.datasets import limited, load_dataset, resolve_dataset
from llfc.data.sequences import split_options, with_options
from llfc.data.text import embedded_text, windows
from llfc.data.tokens import modular_addition
from llfc.tasks import IGNORED


def spelt(data, split):
    return "".join(data.tokens[i] for i in data.split(split)[0].flatten().tolist())


def test_the_embedded_text_is_what_it_is_said_to_be(tmp_path):
    text = embedded_text().decode()
    assert len(text) == 1_100_000
    assert text.startswith("In the beginning God created the heaven and the earth.")
    data = load_dataset("king-james", cache=tmp_path)
    assert (data.num_classes, data.input_shape, data.count("train")) == (65, (64,), 15468)
    assert spelt(data, "train") == text[: 15468 * 64]
    assert spelt(data, "test") == text[990_000 : 990_000 + data.count("test") * 64]


def test_windows_spell_the_text_and_the_splits_do_not_overlap():
    text = "abcdefghij" * 20
    data = windows("made", text.encode(), context=8)
    assert (data.num_classes, data.input_shape) == (10, (8,))
    assert spelt(data, "train") == text[:176]
    assert spelt(data, "test") == text[180:196]


@pytest.mark.parametrize("level", ["character", "byte"])
def test_a_text_of_ones_own_is_named_by_its_content(tmp_path, level):
    path = tmp_path / "own.txt"
    path.write_text("né " * 100, encoding="utf-8")
    cache = tmp_path / "cache"
    name = resolve_dataset(f"text:{path}#context=5,level={level}", cache)
    other = tmp_path / "own" / "own.txt"
    other.parent.mkdir()
    path.rename(other)
    assert resolve_dataset(f"text:{other}#level={level},context=5", tmp_path / "b") == name
    data = load_dataset(name, cache=cache)  # the file itself is not needed any more
    assert (data.name, resolve_dataset(name, cache)) == (name, name)
    assert data.num_classes == {"character": 3, "byte": 256}[level]
    first = {"character": [1, 2, 0, 1, 2], "byte": list("né ".encode() + b"n")}[level]
    assert data.train_ids[0].tolist() == first
    other.write_text("né " * 99 + "no", encoding="utf-8")
    assert resolve_dataset(f"text:{other}#context=5,level={level}", cache) != name


def test_options_are_part_of_the_name_where_they_are_not_at_their_defaults(tmp_path):
    def named(name):
        return resolve_dataset(name, tmp_path)

    assert named("king-james#context=64") == named("king-james") == "king-james"
    assert named("modular-addition#train_share=0.3,modulus=7") == (
        "modular-addition#modulus=7,train_share=0.3"
    )
    data = load_dataset("modular-addition#modulus=7", cache=tmp_path)
    assert (data.name, data.num_classes) == ("modular-addition#modulus=7", 8)
    assert split_options(with_options("a#b", {"c": 1})) == ("a#b", {"c": "1"})
    assert split_options("folder/a#b") == ("folder/a#b", {})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text:none.txt", "dataset text:none.txt: none.txt: No such file or directory"),
        ("text:", "dataset must be text:PATH, got no path after 'text:'"),
        ("text:own@12345678", "own@12345678: No such file or directory"),
        ("king-james#contexts=8", "unknown option of king-james 'contexts': choose from context"),
        ("king-james#context=some", "option context of king-james must be of the type of 64"),
        ("king-james#context=1", "context must be at least 2 and leave a window in each split of"),
        ("king-jame", "unknown dataset 'king-jame'.*did you mean 'king-james'"),
        ("modular-addition#modulus=1", "modulus must be at least 2"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, name, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said) as found:
        load_dataset(name, cache=tmp_path / "cache")
    assert "\n" not in str(found.value)


def test_what_cannot_be_read_or_is_damaged_is_one_line(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe" * 500)
    with pytest.raises(ValueError, match="must be UTF-8, or its name have #level=byte after it"):
        load_dataset(f"text:{tmp_path}/latin.txt", cache=tmp_path)
    name = resolve_dataset(f"text:{tmp_path}/latin.txt#level=byte", tmp_path)
    (copy,) = tmp_path.glob("*.text")
    copy.write_bytes(b"another")
    with pytest.raises(ValueError, match=r"\.text is damaged: remove it, and give text:PATH again"):
        load_dataset(name, cache=tmp_path)
    copy.unlink()
    with pytest.raises(ValueError, match="No such file"):
        load_dataset(name, cache=tmp_path)


def test_fewer_sequences_are_among_more(tmp_path):
    data = load_dataset("modular-addition#modulus=11", cache=tmp_path)
    some, few = (limited(data, "train", count) for count in (30, 10))
    rows = [{tuple(row) for row in each.train_ids.tolist()} for each in (data, some, few)]
    assert rows[2] < rows[1] < rows[0]
    assert len(rows[2]) == 10
    assert torch.equal(some.train_targets[:, 3], some.train_ids[:, 3])
    with pytest.raises(ValueError, match=r"limit_test must be in \[1, 61\]"):
        load_dataset("modular-addition#modulus=11", cache=tmp_path, limit_test=62)


def test_batches_are_all_sequences_in_the_order_given(tmp_path):
    data = load_dataset("modular-addition#modulus=5", cache=tmp_path)
    order = torch.arange(data.count("train")).flip(0)
    ids, targets = (
        torch.cat(parts) for parts in zip(*data.batches("train", 4, order=order), strict=True)
    )
    assert torch.equal(ids, data.train_ids.flip(0))
    assert torch.equal(targets, data.train_targets.flip(0))
    assert data.example().shape == (2, 4)
    with pytest.raises(ValueError, match="augment crops and flips images"):
        data.batches("train", 4, crop_flip=object())


def test_sums_are_all_there_once_and_right():
    data = modular_addition(modulus=7)
    ids = torch.cat([data.train_ids, data.test_ids])
    assert len({tuple(row[:2].tolist()) for row in ids}) == len(ids) == 49
    assert torch.equal((ids[:, 0] + ids[:, 1]) % 7, ids[:, 3])
    assert set(ids[:, 2].tolist()) == {7}
    assert torch.equal(data.train_targets[:, 3], data.train_ids[:, 3])
    assert set(data.train_targets[:, :3].flatten().tolist()) == {IGNORED}
