"""The folder of the data sets is the one that is named, and none on the way to it is made."""

import pytest

from llfc.data.datasets import DATASETS, load_dataset


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_no_folder_is_made_on_the_way_up(by, tmp_path, monkeypatch):
    name, (embedded,) = "fashion-mnist", [DATASETS["fashion-mnist-small"]]

    def made(root):
        (root / "raw").mkdir(parents=True)
        return embedded(root)

    monkeypatch.setitem(DATASETS, name, made)
    root = tmp_path / "a" / ".." / "b"
    if by == "environment":
        monkeypatch.setenv("LLFC_DATA", str(root))
    load_dataset(name, cache=tmp_path / "cache", data_root=root if by == "argument" else None)
    assert {path.name for path in tmp_path.iterdir()} == {"b"}
