"""Data-free orthogonal matching of two GPT-2 of Hugging Face, on random weights: time and memory.

Run by hand: `python -m tests.benchmarks.bench_orthogonal [LAYERS] [WIDTH] [VOCABULARY]`. Both
networks are in canonical form, so that their residual streams are rotated. Prints for each part the
processor's and the clock's seconds and the peak of the process's memory in that part alone (Linux);
at last the record.
"""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import llfc

T = TypeVar("T")
TOKENS = torch.arange(16).reshape(2, 8)
SIZES = 12, 768, 50257


class Logits(nn.Module):
    """From tokens to logits."""

    def __init__(self, layers: int, width: int, words: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        config = GPT2Config(
            n_layer=layers,
            n_embd=width,
            n_head=max(1, width // 64),
            vocab_size=words,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )
        self.model = GPT2LMHeadModel(config)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model(tokens).logits


def timed(what: str, function: Callable[[], T]) -> T:
    """What a function gives; prints what it takes."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    began = time.process_time(), time.perf_counter()
    found = function()
    spent = time.process_time() - began[0], time.perf_counter() - began[1]
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    print(f"{what}: {spent[0]:.1f} s (clock {spent[1]:.1f} s), peak {peak:.2f} GiB", flush=True)
    return found


def canonical(seed: int, sizes: tuple[int, ...]) -> nn.Module:
    """A network in canonical form."""
    return llfc.canonical(Logits(*sizes, seed).eval(), TOKENS)


def main(*sizes: int) -> None:
    """All parts, one after the other."""
    torch.set_num_threads(1)
    sizes = (*sizes, *SIZES[len(sizes) :])
    a, b = (timed("canonical", functools.partial(canonical, seed, sizes)) for seed in (0, 1))
    spec = timed("spec", lambda: llfc.permutation_spec(a, TOKENS))
    kinds = list(timed("kinds", lambda: spec.kinds).values())
    print({kind: kinds.count(kind) for kind in sorted(set(kinds))})
    found = timed("match", lambda: llfc.match("orthogonal", a, b, spec))
    print({name: round(value, 4) for name, value in found.record.items()})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
