"""Build `fashion_mnist_small.npz`, the embedded data set, from the full Fashion-MNIST.

    python -m llfc.data.assets.build FOLDER

FOLDER holds the four files of Fashion-MNIST as Zalando publishes them: `train-images-idx3-ubyte.gz`
and so on. Debian's package `dataset-fashion-mnist` has them in `/usr/share/datasets/fashion-mnist`.
The result is the same on every machine: which images are taken is drawn from named streams.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from llfc.seeds import stream

# Images of each class; ten classes, so 5000 and 1000 images in all.
PER_CLASS = {"train": 500, "test": 100}
_PREFIX = {"train": "train", "test": "t10k"}
TARGET = Path(__file__).parent / "fashion_mnist_small.npz"


def build(folder: Path, target: Path = TARGET) -> None:
    """Write the balanced subset of the set in `folder` to `target`; images [N, 28, 28], uint8."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, count in PER_CLASS.items():
        images = _read(folder / f"{_PREFIX[split]}-images-idx3-ubyte.gz")
        labels = _read(folder / f"{_PREFIX[split]}-labels-idx1-ubyte.gz")
        chosen = _chosen(labels, count, f"fashion-mnist-small/{split}")
        arrays[f"{split}_images"] = images[chosen]
        arrays[f"{split}_labels"] = labels[chosen]
    np.savez_compressed(target, allow_pickle=False, **arrays)


def _chosen(labels: NDArray[np.uint8], count: int, name: str) -> NDArray[np.int64]:
    """Ascending indices of `count` images of each class."""
    shuffled = torch.randperm(len(labels), generator=stream(0, name)).numpy()
    of_class = [shuffled[labels[shuffled] == label][:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(of_class))


def _read(path: Path) -> NDArray[np.uint8]:
    """The array in a gzipped IDX file of bytes: big-endian sizes after a four-byte magic number."""
    raw = gzip.decompress(path.read_bytes())
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(tuple(shape))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the embedded data set.")
    parser.add_argument("folder", type=Path, help="the four gzipped files of Fashion-MNIST")
    build(parser.parse_args().folder)
