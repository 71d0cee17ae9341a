"""Sequences of token ids: the embedded text, a text of one's own, and modular addition.

A text is cut into windows of `context` tokens that do not overlap. The inputs of a next-token
task are the windows, and so are its targets: the task shifts them.
"""

import lzma
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from llfc.seeds import stream

# Share of a text, its end, that is for testing.
TEST_SHARE = 0.1
# A target that does not count.
IGNORED = -100


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """Token ids with the targets of a next-token task, whole, on one device.

    Attributes:
        name: what it is called.
        train_ids: int64, [N, T], in [0, vocabulary).
        train_targets: int64, [N, T]; IGNORED where a token does not count.
        test_ids: int64, [M, T].
        test_targets: int64, [M, T].
        vocabulary: number of tokens.
        tokens: what each id stands for, if that can be said.
    """

    name: str
    train_ids: Tensor
    train_targets: Tensor
    test_ids: Tensor
    test_targets: Tensor
    vocabulary: int
    tokens: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int]:
        """The length of a sequence."""
        return (self.train_ids.shape[1],)


def king_james() -> str:
    """The embedded text: the first 1.1 million characters of the King James Bible."""
    return lzma.decompress((files("llfc.data.assets") / "king_james.txt.xz").read_bytes()).decode()


def text_sequences(name: str, text: str | bytes, context: int) -> Sequences:
    """Windows of `text`: characters, in the order of their code points, or bytes.

    Raises:
        ValueError: if a split has no whole window.
    """
    tokens: tuple[str, ...] = ()
    if isinstance(text, bytes):
        ids, vocabulary = torch.tensor(list(text)), 256
    else:
        tokens = tuple(sorted(set(text)))
        number = {token: index for index, token in enumerate(tokens)}
        ids, vocabulary = torch.tensor([number[token] for token in text]), len(tokens)
    first = len(ids) - int(len(ids) * TEST_SHARE)
    parts = [part[: len(part) // context * context] for part in (ids[:first], ids[first:])]
    if context < 2 or not all(len(part) for part in parts):
        raise ValueError(
            f"context must be at least 2 and leave a window in each split of {name},"
            f" got {context} for {len(ids)} tokens"
        )
    train, test = (part.view(-1, context) for part in parts)
    return Sequences(
        name=name,
        train_ids=train,
        train_targets=train,
        test_ids=test,
        test_targets=test,
        vocabulary=vocabulary,
        tokens=tokens,
    )


def text_file(path: Path, context: int, *, level: str = "character") -> Sequences:
    """Windows of the text at `path`, `character` (UTF-8) or `byte` level.

    Raises:
        ValueError: if it cannot be read, or is too short.
    """
    if level not in ("character", "byte"):
        raise ValueError(f"level must be character or byte, got {level!r}")
    try:
        raw = path.read_bytes()
        text = raw if level == "byte" else raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"text {path} cannot be read: {error}") from None
    return text_sequences(f"text:{path.name}", text, context)


def modular_addition(modulus: int = 97, *, train_share: float = 0.5) -> Sequences:
    """All sums `a + b = c` modulo `modulus`, as sequences a, b, =, c of which only c counts.

    Args:
        modulus: numbers are the tokens 0 to modulus - 1; the sign `=` is token `modulus`.
        train_share: share of all pairs that are for training, drawn from a stream of its own.

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
    train, test = order.tensor_split([max(1, round(len(ids) * train_share))])
    return Sequences(
        name=f"modular-addition-{modulus}",
        train_ids=ids[train],
        train_targets=targets[train],
        test_ids=ids[test],
        test_targets=targets[test],
        vocabulary=modulus + 1,
        tokens=(*map(str, range(modulus)), "="),
    )
