"""What matchers cost and reach on a GPT, by width.

Run by hand: `python -m tests.benchmarks.bench_width [WIDTH ...]`, multiples of 64 channels (by
default 1 2 4 8). Two GPTs of two blocks as they begin, in canonical form. Prints for each matcher
the processor's seconds of one thread, and the share of the squared distance |A - B|^2 that is left.
`learned` takes 16 steps after its starts, which are the others.
"""

import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor

import llfc
from tests.benchmarks.pairs import network, samples

MATCHERS: dict[str, dict[str, int]] = {
    "weights": {},
    "orthogonal": {},
    "orthogonal-activations": {},
    "learned": {"steps": 16},
}
WIDTHS = 1.0, 2.0, 4.0, 8.0
SEQUENCES = 64


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The squared distance of two states."""
    return sum(float((a[name].double() - b[name].double()).square().sum()) for name in a)


def main(*widths: float) -> None:
    """A line for each width and matcher."""
    torch.set_num_threads(1)
    for width in widths or WIDTHS:
        tokens, _ = samples("gpt", SEQUENCES)
        a, b = (llfc.canonical(network("gpt", seed, width).eval(), tokens[:2]) for seed in (0, 1))
        spec = llfc.permutation_spec(a, tokens[:2])
        before = distance(a.state_dict(), b.state_dict())
        kinds = len(spec.kinds)  # found now, so that no matcher is charged for it
        print(f"{64 * width:.0f} channels, {kinds} groups")
        for name, options in MATCHERS.items():
            began = time.process_time()
            found = llfc.match(name, a, b, spec, tokens.split(32), **options)
            spent = time.process_time() - began
            left = distance(a.state_dict(), spec.apply(found, b.state_dict())) / before
            print(f"  {name:24}{spent:8.2f} s {left:8.4f} left", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
