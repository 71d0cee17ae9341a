"""Memory of the walk, of stitching, and of the usual way that keeps all features.

    python tests/benchmarks/bench_memory.py

What is said is the peak of the resident set of a fresh process, above what it was with the
networks built and one batch walked, so that imports do not count. Images are made batch by batch,
so they do not count either.

- walk, N images: all layers, three positions of a ResNet-20 of width 1/4 and 25 of an MLP: should
  not grow with N;
- stitching, N images: every probe and both directions; more than the walk, as all features of a
  batch are kept to go on from, but it should not grow with N either (VGG-16 of width 1/4);
- stored, N images: all features of A, B and one blend, then the same numbers.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import no_correction
from llfc.connectivity.measures.stitching import stitching
from llfc.connectivity.path import walk
from llfc.connectivity.probes import Probe, choose_probes, tapped
from llfc.connectivity.samples import Batches
from llfc.connectivity.subject import Subject
from llfc.networks.architectures import build_network
from llfc.seeds import stream

BATCH = 125
# Network, its width, its images, positions.
CASES = {
    "mlp": (1.0, (1, 28, 28), 25),
    "resnet20": (0.25, (3, 32, 32), 3),
    "vgg16": (0.25, (3, 32, 32), 3),
}
COUNTS = {"mlp": (1000, 10_000, 60_000), "resnet20": (1000, 10_000)}


@dataclass(frozen=True)
class Made:
    """Batches that are made when they are asked for, the same every time."""

    count: int
    shape: tuple[int, int, int]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.count, BATCH):
            images = torch.randn(BATCH, *self.shape, generator=stream(start, "images"))
            yield images, torch.zeros(BATCH, dtype=torch.int64)


def measure(way: str, name: str, count: int) -> float:
    """Megabytes that `way` takes at its peak for `count` images."""
    width, shape, alphas = CASES[name]
    a, b = (
        build_network(
            name, width=width, input_shape=shape, num_classes=10, generator=stream(s, "init")
        )
        for s in (0, 1)
    )
    line = Line(a, b, line_positions(alphas))
    device = torch.device("cpu")
    probes = choose_probes(line.a, torch.zeros(2, *shape))
    walk(line, Batches("test", Made(BATCH, shape), BATCH, device), probes)
    before = _peak()
    source = Batches("test", Made(count, shape), BATCH, device)
    if way == "walk":
        walk(line, source, probes)
    elif way == "stitching":
        stitching(
            Subject(
                line=line,
                unmatched=None,
                test=source,
                statistics=None,
                probes=probes,
                correction=no_correction,
                seed=0,
            )
        )
    else:
        stored(line, source, probes)
    return (_peak() - before) / 1024


@torch.no_grad()
def stored(line: Line, source: Batches, probes: tuple[Probe, ...]) -> list[float]:
    """The mean LLFC error of each layer in the middle, from features that are all kept."""
    kept = []
    for position in (0, len(line.alpha) // 2, len(line.alpha) - 1):
        parts: list[list[Tensor]] = [[] for _ in probes]
        model = line.at(position)
        with tapped(model, probes, lambda i, out, parts=parts: parts[i].append(out.flatten(1) + 0)):
            for images, _ in source:
                model(images)
        kept.append([torch.cat(part) for part in parts])
    of_a, between, of_b = kept
    rows = zip(between, of_a, of_b, strict=True)
    return [(1 - torch.cosine_similarity(f, (x + y) / 2)).mean().item() for f, x, y in rows]


def _peak() -> int:
    """The largest resident set of this process so far, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_fresh_process(way: str, name: str, count: int) -> float:
    """`measure` where nothing has grown the process before."""
    command = [sys.executable, __file__, "--one", way, name, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=3, metavar=("WAY", "NETWORK", "IMAGES"))
    one = parser.parse_args().one
    if one:
        print(measure(one[0], one[1], int(one[2])))
        return
    print(f"batch {BATCH}; megabytes above a process that has walked one batch")
    print(f"{'network':>9} {'images':>7} {'walk':>8} {'stored':>8} {'stored / walk':>14}")
    for name, counts in COUNTS.items():
        for count in counts:
            ours = in_fresh_process("walk", name, count)
            theirs = in_fresh_process("stored", name, count) if count <= 10_000 else float("nan")
            ratio = theirs / max(ours, 1.0)
            print(f"{name:>9} {count:7} {ours:8.1f} {theirs:8.1f} {ratio:14.0f}", flush=True)
    print(f"{'network':>9} {'images':>7} {'stitching':>10}")
    for count in (250, 1000, 2000):
        ours = in_fresh_process("stitching", "vgg16", count)
        print(f"{'vgg16':>9} {count:7} {ours:10.1f}", flush=True)


if __name__ == "__main__":
    main()
