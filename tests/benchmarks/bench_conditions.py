"""What the conditions cost beside bare forward passes of the networks that they compare.

For each network, on the same images and in the same batches, taking turns in one process, in
seconds of processor time (run it with OMP_NUM_THREADS=1, so that these are seconds):

- bare: a forward pass of one network and nothing else;
- record: the same, with every operation's input and output noted;
- two: the conditions of A and B with the shuffled control, over two bare passes;
- three: those of A, B and the unmatched B, over three.

Two floors stand before each, in bare passes as well:

- read: what no way of computing them can spare: a pass of each network; for each pair the product
  of every layer but the first with the difference of its inputs, on whole batches, and of the
  shuffled control an eighth; and one reading of every input and output of an operation, as a norm
  of each, a network;
- sum: the passes and the products, and all the sums that are taken of as many numbers, but over and
  over of one part that stays in the cache: PyTorch's operations without anything read from memory.

Run: python tests/benchmarks/bench_conditions.py [--images N] [--batch N] [--rounds N] [network ...]
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from pairs import least, network, samples
from torch import nn

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.conditions import conditions
from llfc.connectivity.measures.conditions.additivity import additivity
from llfc.connectivity.measures.conditions.commutativity import Weights, commutativity
from llfc.connectivity.measures.conditions.operation import Activation, LinearMap, Operation
from llfc.connectivity.measures.conditions.operations import operations
from llfc.connectivity.measures.conditions.sums import PART
from llfc.connectivity.samples import Batches
from llfc.connectivity.subject import Subject
from llfc.modules import frozen_copy

IMAGES = {"mlp": 4000, "resnet20": 1000, "vgg16": 250}


@torch.no_grad()
def products(ran: list[list[Operation]]) -> None:
    """Each layer's product with the difference of two inputs, but the first's, which are equal."""
    for operations_of_batch in ran:
        for each in [op for op in operations_of_batch if isinstance(op, LinearMap)][1:]:
            each.apply(each.input, each.weight)


@torch.no_grad()
def readings(ran: list[list[Operation]]) -> None:
    """A norm of every operation's input and output."""
    for operations_of_batch in ran:
        for each in operations_of_batch:
            torch.linalg.vector_norm(each.input)
            torch.linalg.vector_norm(each.output)


@torch.no_grad()
def cached(ran: list[list[Operation]]) -> None:
    """The sums of every operation, of as many numbers as it has, all of one part in the cache."""
    first, second, third, fourth, product = torch.randn(5, 8, PART // 8)
    four = (first, second, third, fourth)
    for operations_of_batch in ran:
        for each in [op for op in operations_of_batch if isinstance(op, LinearMap)][1:]:
            layer = replace(each, apply=lambda *_: product)
            weights = Weights(each.weight, None, 0.0)
            for _ in range(round(max(each.input.numel(), each.output.numel()) / PART)):
                commutativity(four, layer, weights, None)
        for each in [op for op in operations_of_batch if isinstance(op, Activation)]:
            for _ in range(round(each.input.numel() / PART)):
                additivity(four, each.apply)


def row(name: str, options: argparse.Namespace) -> None:
    """Measure and print one network."""
    a, b, before = (frozen_copy(network(name, seed)) for seed in (0, 1, 2))
    count = options.images or IMAGES[name]
    images, labels = samples(name, count)
    line = Line(a, b, line_positions(3))

    def subject(unmatched: nn.Module | None) -> Subject:
        return Subject(
            line=line,
            unmatched=unmatched,
            test=Batches("test", (images, labels), options.batch, images.device),
            statistics=None,
            probes=(),
            correction=CORRECTIONS["none"],
            seed=0,
        )

    def passes(run: Callable[[nn.Module, torch.Tensor], object]) -> None:
        with torch.no_grad():
            for part in images.split(options.batch):
                run(line.a, part)

    ran = [operations(line.a, part) for part in images.split(options.batch)]
    bare, record, product, reading, summed, two, three = least(
        [
            lambda: passes(lambda model, part: model(part)),
            lambda: passes(operations),
            lambda: products(ran),
            lambda: readings(ran),
            lambda: cached(ran),
            lambda: conditions(subject(None)),
            lambda: conditions(subject(before)),
        ],
        options.rounds,
    )
    # Shares of a pass of each network: whole batches of each pair, an eighth for the shuffled one.
    read = [1 + (9 / 8 * product / 2 + reading) / bare, 1 + (17 / 8 * product / 3 + reading) / bare]
    sums = [1 + share * (product + summed) / bare for share in (9 / 8 / 2, 17 / 8 / 3)]
    print(
        f"{name:10} {count:7} {bare:7.3f}s {record / bare:7.2f}"
        f" {read[0]:7.2f} {sums[0]:7.2f} {two / bare / 2:7.2f}"
        f" {read[1]:7.2f} {sums[1]:7.2f} {three / bare / 3:7.2f}",
        flush=True,
    )


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(IMAGES))
    parser.add_argument("--images", type=int, default=None, help="by default, seconds' worth")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    print(f"batches of {options.batch}, {torch.get_num_threads()} threads; over bare passes:")
    print(
        f"{'network':10} {'images':>7} {'bare':>8} {'record':>7}"
        f" {'read':>7} {'sum':>7} {'two':>7} {'read':>7} {'sum':>7} {'three':>7}"
    )
    for name in options.networks:
        row(name, options)


if __name__ == "__main__":
    main()
