"""Named random streams, the same in every process.

Every random choice of the project draws from a stream that is seeded by an integer and a name
alone, so it depends neither on what was drawn before nor on the process that draws.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def stream(seed: int, name: str) -> torch.Generator:
    """A CPU generator for the stream `name` of what is seeded with `seed`.

    What differs in seed or name is a stream of its own; a further one is asked for by a further
    name, never by arithmetic on the seed, which is another trial's seed. PyTorch's generator takes
    32 bits of a seed, so two given streams coincide once in four billion.

    >>> int(torch.randint(100, (), generator=stream(0, "init")))
    14
    >>> stream(0, "init").initial_seed() == stream(0, "order").initial_seed()
    False
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


@contextmanager
def generators_left() -> Iterator[None]:
    """The generators that all share (Python's, NumPy's, torch's) are afterwards as before.

    For what runs the code of others, which may draw from them.
    """
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def drawn_alike(seed: int) -> Iterator[None]:
    """The generators that all share start from `seed`, and are afterwards as before."""
    with generators_left():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        yield
