"""Texts as token ids, and modular addition."""

import pytest
import torch

from llfc.data.sequences import (
    IGNORED,
    king_james,
    modular_addition,
    text_file,
    text_sequences,
)


def test_the_embedded_text_is_what_it_is_said_to_be():
    text = king_james()
    assert len(text) == 1_100_000
    assert len(set(text)) == 65
    assert text.startswith("In the beginning God created the heaven and the earth.")


def test_windows_spell_the_text_and_the_splits_do_not_overlap():
    text = "abcdefghij" * 20
    data = text_sequences("made", text, 8)
    assert (data.vocabulary, data.input_shape) == (10, (8,))
    spelt = [
        "".join(data.tokens[i] for i in ids.flatten()) for ids in (data.train_ids, data.test_ids)
    ]
    assert spelt[0] == text[:176]
    assert spelt[1] == text[180:196]


@pytest.mark.parametrize("level", ["character", "byte"])
def test_a_text_of_ones_own(tmp_path, level):
    path = tmp_path / "own.txt"
    path.write_text("né " * 100, encoding="utf-8")
    data = text_file(path, 5, level=level)
    assert data.vocabulary == {"character": 3, "byte": 256}[level]
    assert int(data.train_ids.max()) < data.vocabulary


def test_what_cannot_be_read_or_is_too_short_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        text_file(tmp_path / "none.txt", 5)
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe" * 50)
    with pytest.raises(ValueError, match="cannot be read"):
        text_file(tmp_path / "latin.txt", 5)
    with pytest.raises(ValueError, match=r"context must be at least 2.*got 8 for 20 tokens"):
        text_sequences("short", "ab" * 10, 8)


def test_sums_are_all_there_once_and_right():
    data = modular_addition(7)
    ids = torch.cat([data.train_ids, data.test_ids])
    assert len({tuple(row[:2].tolist()) for row in ids}) == len(ids) == 49
    assert torch.equal((ids[:, 0] + ids[:, 1]) % 7, ids[:, 3])
    assert set(ids[:, 2].tolist()) == {7}
    assert torch.equal(data.train_targets[:, 3], data.train_ids[:, 3])
    assert set(data.train_targets[:, :3].flatten().tolist()) == {IGNORED}
