"""Data-free orthogonal matching of two GPT-2 of Hugging Face, on random weights: time and memory.

Run by hand: `python -m tests.benchmarks.bench_orthogonal [LAYERS] [WIDTH]`. Both networks are in
canonical form, so that their residual streams are rotated. Prints the processor's and the clock's
seconds of each part, the peak of the process's memory, and the record.
"""

import resource
import sys
import time

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import llfc

TOKENS = torch.arange(16).reshape(2, 8)


class Logits(nn.Module):
    """From tokens to logits."""

    def __init__(self, layers: int, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        heads = max(1, width // 64)
        config = GPT2Config(n_layer=layers, n_embd=width, n_head=heads, use_cache=False)
        self.model = GPT2LMHeadModel(config)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model(tokens).logits


class Clock:
    """Prints what each part takes."""

    def __init__(self) -> None:
        self.at = time.process_time(), time.perf_counter()

    def __call__(self, what: str) -> None:
        now = time.process_time(), time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        spent = " ".join(
            f"{after - before:7.1f}" for before, after in zip(self.at, now, strict=True)
        )
        print(f"{what:12} {spent} s (processor, clock), peak {peak:.2f} GiB", flush=True)
        self.at = time.process_time(), time.perf_counter()


def main(layers: int = 12, width: int = 768) -> None:
    torch.set_num_threads(1)
    clock = Clock()
    a, b = (llfc.canonical(Logits(layers, width, seed).eval(), TOKENS) for seed in (0, 1))
    clock("canonical")
    spec = llfc.permutation_spec(a, TOKENS)
    clock("spec")
    kinds = spec.kinds
    print({kind: list(kinds.values()).count(kind) for kind in sorted(set(kinds.values()))})
    clock("kinds")
    found = llfc.match("orthogonal", a, b, spec)
    clock("match")
    print({name: round(value, 4) for name, value in found.record.items()})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
