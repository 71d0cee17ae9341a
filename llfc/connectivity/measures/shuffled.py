"""Pairs of different images, for controls: the same in any batches and in any order of the data."""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from llfc.modules.inputs import Inputs, batched, count_of, each_of, joined, taken

SAMPLE_SIZE = 512  # images, or all there are; a control needs no more, and each costs two passes


def parts(count: int, size: int) -> list[slice]:
    """`count` images in parts of `size`; in equal parts where the last would be a single image.

    A norm that takes its statistics from its batch needs two.

    >>> parts(10, 4)
    [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
    >>> parts(9, 4)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 9, None)]
    """
    if count % size == 1:
        number = -(-count // size)
        bounds = [count * part // number for part in range(number + 1)]
    else:
        bounds = [*range(0, count, size), count]
    return [slice(*each) for each in itertools.pairwise(bounds)]


class Shuffled:
    """Some images of a set that is streamed, and another of the set for each of them.

    Every image has a key, a hash of the seed and what is in the image. The SAMPLE_SIZE images with
    the smallest keys are a random sample of the whole set; in the order of their keys, each is
    paired with the next one and the last with the first, so none with itself. Where images occur
    several times, it is paired with the next but as many, so that none is with its copy, unless
    they are more than half. Thus neither the order of the data (as by class) nor the batches make a
    difference, and only the sample is in memory. Keys read floats rounded to bfloat16, so that
    networks of any precision see one sample.

    Attributes:
        seed: of the keys.
        keys: of the images held, ascending, shape [n].
        images: those images, shape [n, ...]; None before the first batch.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.keys = np.zeros(0, dtype=np.uint64)
        self.images: Inputs | None = None

    def add(self, images: Inputs) -> None:
        """See a batch of the set."""
        keys = np.concatenate([self.keys, keys_of(images, self.seed)])
        kept = np.argsort(keys, kind="stable")[:SAMPLE_SIZE]
        if self.images is not None and (kept < len(self.keys)).all():
            return
        together = images if self.images is None else joined([self.images, images])
        self.keys = keys[kept]
        self.images = taken(together, torch.from_numpy(kept))

    def pairs(self, size: int) -> Iterator[tuple[Inputs, Inputs]]:
        """The pairs, in batches of at most `size`; none where there is a single image."""
        if self.images is None or count_of(self.images) < 2:
            return
        most = int(np.unique(self.keys, return_counts=True)[1].max())  # copies lie side by side
        step = min(most, len(self.keys) // 2)
        others = each_of(self.images, lambda x: x.roll(-step, 0))
        for part in parts(count_of(self.images), size):
            yield taken(self.images, part), taken(others, part)


def keys_of(images: Inputs, seed: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The key of each image, shape [n]."""
    rows = np.concatenate([_bytes(x) for x in batched(images)], 1)
    name = f"{seed}/shuffled".encode()
    digests = (hashlib.blake2b(row, digest_size=8, key=name).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def _bytes(images: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    rounded = images.bfloat16() if images.is_floating_point() else images
    rows = rounded.reshape(len(images), -1).cpu().contiguous()
    found: np.ndarray[tuple[int, int], np.dtype[np.uint8]] = rows.view(torch.uint8).numpy()
    return found
