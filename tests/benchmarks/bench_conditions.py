"""What the conditions cost beside bare forward passes of the networks that they compare.

For each network, on the same images and in the same batches, taking turns in one process, in
seconds of processor time (run it with OMP_NUM_THREADS=1, so that these are seconds):

- bare: a forward pass of one network and nothing else;
- record: the same, with every operation's input and output noted;
- two: the conditions of A and B with the shuffled control, over two bare passes;
- three: those of A, B and the unmatched B, over three.

By operations alone, two is at least (2 + 1 + 1/8) / 2 = 1.56 where all is linear maps, and three
(3 + 2 + 1/8) / 3 = 1.71: each network's pass, each pair's product of differences, and the control.

Run: python tests/benchmarks/bench_conditions.py [--images N] [--batch N] [--rounds N] [network ...]
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from llfc.connectivity.blend import Line, frozen_copy, positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.conditions import conditions
from llfc.connectivity.measures.conditions.operations import operations
from llfc.connectivity.measures.subject import Subject
from llfc.connectivity.samples import Batches
from llfc.networks.architectures import build
from llfc.seeds import stream

NETWORKS = {"mlp": (1, 28, 28), "resnet20": (3, 32, 32), "vgg16": (3, 32, 32)}
IMAGES = {"mlp": 4000, "resnet20": 250, "vgg16": 125}


def network(name: str, seed: int) -> nn.Module:
    """A network as it begins."""
    shape = NETWORKS[name]
    model = build(name, input_shape=shape, num_classes=10, generator=stream(seed, "init"))
    return frozen_copy(model)


def row(name: str, options: argparse.Namespace) -> None:
    """Measure and print one network."""
    a, b, before = (network(name, seed) for seed in (0, 1, 2))
    count = options.images or IMAGES[name]
    images = torch.randn(count, *NETWORKS[name], generator=stream(0, "images"))
    labels = torch.zeros(count, dtype=torch.int64)
    line = Line(a, b, positions(3))

    def subject(unmatched: nn.Module | None) -> Subject:
        return Subject(
            line=line,
            unmatched=unmatched,
            test=Batches("test", (images, labels), options.batch, images.device),
            train=None,
            probes=(),
            correction=CORRECTIONS["none"],
            seed=0,
        )

    def passes(run: Callable[[nn.Module, torch.Tensor], object]) -> None:
        with torch.no_grad():
            for part in images.split(options.batch):
                run(line.a, part)

    work: list[Callable[[], object]] = [
        lambda: passes(lambda model, part: model(part)),
        lambda: passes(operations),
        lambda: conditions(subject(None)),
        lambda: conditions(subject(before)),
    ]
    least = [float("inf")] * len(work)
    for _ in range(options.rounds):
        for index, each in enumerate(work):
            begun = time.process_time()
            each()
            least[index] = min(least[index], time.process_time() - begun)
    bare, record, two, three = least
    print(
        f"{name:10} {count:7} {bare:7.3f}s {record / bare:7.2f}"
        f" {two / bare / 2:7.2f} {three / bare / 3:7.2f}",
        flush=True,
    )


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=None, help="by default, seconds' worth")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    print(f"batches of {options.batch}, {torch.get_num_threads()} threads; over bare passes:")
    print(f"{'network':10} {'images':>7} {'bare':>8} {'record':>7} {'two':>7} {'three':>7}")
    for name in options.networks:
        row(name, options)


if __name__ == "__main__":
    main()
