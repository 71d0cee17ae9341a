"""The data sets of tokens by name: embedded, computed, or a text of one's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from llfc.data.sequences import Sequences, Source, read_options, split_options, with_options
from llfc.data.text import PREFIX, king_james, load_text, resolve_text
from llfc.seeds import stream
from llfc.tasks import IGNORED


def modular_addition(*, modulus: int = 97, train_share: float = 0.5) -> Sequences:
    """All sums `a + b = c` modulo `modulus`, as sequences a, b, =, c of which only c counts.

    Args:
        modulus: numbers are the tokens 0 to modulus - 1; the sign `=` is token `modulus`.
        train_share: share of all pairs that are for training, drawn from a stream of its own.

    Raises:
        ValueError: if a split would be empty.

    Reference:
        Power, Burda, Edwards, Babuschkin & Misra, Grokking, 2022. https://arxiv.org/abs/2201.02177
    """
    if modulus < 2 or not 0 < train_share < 1:
        raise ValueError(
            f"modulus must be at least 2 and train_share in (0, 1), got {modulus} and {train_share}"
        )
    a, b = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus)).unbind(1)
    ids = torch.stack([a, b, torch.full_like(a, modulus), (a + b) % modulus], dim=1)
    targets = torch.cat([torch.full_like(ids[:, :3], IGNORED), ids[:, 3:]], dim=1)
    order = torch.randperm(len(ids), generator=stream(0, f"modular-addition/{modulus}"))
    first = min(max(1, round(len(ids) * train_share)), len(ids) - 1)
    train, test = order.tensor_split([first])
    return Sequences(
        name="modular-addition",
        train_ids=ids[train],
        train_targets=targets[train],
        test_ids=ids[test],
        test_targets=targets[test],
        num_classes=modulus + 1,
        tokens=(*map(str, range(modulus)), "="),
    )


# Their options are keyword arguments.
SEQUENCES: Mapping[str, Source] = {
    "king-james": king_james,
    "modular-addition": modular_addition,
}


def of_tokens(name: str) -> bool:
    """Whether `name` is that of a data set of tokens."""
    return name.startswith(PREFIX) or split_options(name)[0] in SEQUENCES


def resolve_sequences(name: str, cache: Path) -> str:
    """`name` without options at their defaults; a text's by its content.

    Raises:
        ValueError: if an option is unknown, or the text cannot be read.
    """
    if name.startswith(PREFIX):
        return resolve_text(name, cache)
    base, options = split_options(name)
    return with_options(base, read_options(base, SEQUENCES[base], options))


def load_sequences(name: str, cache: Path) -> Sequences:
    """The data set of tokens that `resolve_sequences` called `name`.

    Raises:
        ValueError: if the text is not in `cache`, or an option does not fit it.
    """
    if name.startswith(PREFIX):
        return load_text(name, cache)
    base, options = split_options(name)
    return replace(SEQUENCES[base](**read_options(base, SEQUENCES[base], options)), name=name)
