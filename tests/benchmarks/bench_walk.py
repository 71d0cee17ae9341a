"""What the walk costs beside the forward passes that it cannot do without, and beside storing.

For each network, on the same images, in one process, in seconds of processor time (run it with
OMP_NUM_THREADS=1, so that these are seconds; on a GPU they would not be):

- walk: loss, error and all layers' LLFC numbers at P positions, in one streaming pass;
- bare: P + 2 forward passes (P blends, A and B) and nothing else;
- stored: the usual way - for each position, keep all features of A, B and the blend in memory,
  then compute; timed at `--stored` positions and scaled to P.

Run: python tests/benchmarks/bench_walk.py [--images N] [--batch N] [--rounds N] [network ...]
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from llfc.connectivity.blend import Line, positions
from llfc.connectivity.path import walk
from llfc.connectivity.probes import Probe, choose_probes
from llfc.connectivity.samples import Batches
from llfc.networks.architectures import build
from llfc.seeds import stream

P = 25
NETWORKS = {"mlp": (1, 28, 28), "resnet20": (3, 32, 32), "vgg16": (3, 32, 32)}


def network(name: str, width: float, seed: int) -> nn.Module:
    """A network as it begins."""
    return build(
        name,
        width=width,
        input_shape=NETWORKS[name],
        num_classes=10,
        generator=stream(seed, "init"),
    )


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The least processor time of `rounds`: other programs on the machine do not count."""
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


@torch.no_grad()
def bare(model: nn.Module, images: torch.Tensor, batch: int) -> None:
    """P + 2 forward passes."""
    model.eval()
    for _ in range(P + 2):
        for part in images.split(batch):
            model(part)


@torch.no_grad()
def stored(
    a: nn.Module, b: nn.Module, images: torch.Tensor, batch: int, probes: tuple[Probe, ...], at: int
) -> list[float]:
    """The mean LLFC error of each layer at `at` positions, from features that are all kept."""
    means = []
    for alpha in torch.linspace(0, 1, at).tolist():
        blend = Line(a, b, positions([0, min(max(alpha, 0.01), 0.99), 1])).at(1)
        kept = [features(model, images, batch, probes) for model in (blend, a, b)]
        for f, of_a, of_b in zip(*kept, strict=True):
            between = (1 - alpha) * of_a + alpha * of_b
            means.append((1 - torch.cosine_similarity(f, between)).mean().item())
    return means


def features(
    model: nn.Module, images: torch.Tensor, batch: int, probes: tuple[Probe, ...]
) -> list[torch.Tensor]:
    """Each probe's features of all images, [N, D]."""
    parts: list[list[torch.Tensor]] = [[] for _ in probes]
    handles = [
        model.get_submodule(probe.module).register_forward_hook(
            lambda module, inputs, output, part=part: part.append(output.flatten(1).clone())
        )
        for probe, part in zip(probes, parts, strict=True)
    ]
    model.eval()
    for images_of_batch in images.split(batch):
        model(images_of_batch)
    for handle in handles:
        handle.remove()
    return [torch.cat(part) for part in parts]


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--batch", type=int, default=125)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stored", type=int, default=3, help="positions timed; 0 for none")
    options = parser.parse_args()
    print(f"{options.images} images, batch {options.batch}, {torch.get_num_threads()} threads")
    print(
        f"{'network':10} {'layers':>6} {'walk':>8} {'bare':>8} {'ratio':>6} {'stored':>8} {'':>6}"
    )
    for name in options.networks:
        row(name, options)


def row(name: str, options: argparse.Namespace) -> None:
    """Measure and print one network."""
    a, b = (network(name, options.width, seed) for seed in (0, 1))
    images = torch.randn(options.images, *NETWORKS[name], generator=stream(0, "images"))
    labels = torch.zeros(options.images, dtype=torch.int64)
    line = Line(a, b, positions(P))
    source = Batches("test", (images, labels), options.batch, images.device)
    probes = choose_probes(line.a, source.example())
    floor = seconds(lambda: bare(a, images, options.batch), options.rounds)
    ours = seconds(lambda: walk(line, source, probes), options.rounds)
    text = f"{name:10} {len(probes):6} {ours:7.2f}s {floor:7.2f}s {ours / floor:6.2f}"
    if options.stored:
        theirs = seconds(lambda: stored(a, b, images, options.batch, probes, options.stored), 1) * (
            P / options.stored
        )
        text += f" {theirs:7.2f}s {theirs / ours:5.1f}x"
    print(text, flush=True)


if __name__ == "__main__":
    main()
