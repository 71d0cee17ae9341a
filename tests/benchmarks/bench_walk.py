"""What the walk costs beside the forward passes that it cannot do without, and beside storing.

For each network, on the same images, in one process, in seconds of processor time (run it with
OMP_NUM_THREADS=1, so that these are seconds; on a GPU they would not be):

- walk: loss, error and all layers' LLFC numbers at P positions, in one streaming pass;
- bare: P + 2 forward passes (P blends, A and B) and nothing else, in the memory layout that is
  fastest;
- stored: the usual way, one position a call - keep all features of A, B and the blend in memory,
  then compute; timed at `--stored` positions and scaled to P. It makes 3 P passes, so on a network
  whose features cost nothing beside its passes the walk cannot be more than 3 P / (P + 2) times
  faster but by faster passes;
- gap: the largest difference of a layer's mean LLFC error in the middle between walk and stored.

Run: python tests/benchmarks/bench_walk.py [--images N] [--batch N] [--rounds N] [network ...]
"""

import argparse
import copy

import torch
from pairs import NETWORKS, least, network, samples
from torch import nn

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.path import walk
from llfc.connectivity.probes import Probe, for_task, select_probes
from llfc.connectivity.samples import Batches
from llfc.tasks import as_task

P = 25


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
    """Each layer's mean LLFC error in the middle of `at` positions, from features all kept."""
    means = []
    blend = copy.deepcopy(a)
    for alpha in torch.linspace(0, 1, at).tolist():
        ends = a.state_dict(), b.state_dict()
        blend.load_state_dict(
            {k: torch.lerp(v.float(), ends[1][k].float(), alpha) for k, v in ends[0].items()}
        )
        kept = [features(model, images, batch, probes) for model in (blend, a, b)]
        for f, of_a, of_b in zip(*kept, strict=True):
            between = (1 - alpha) * of_a + alpha * of_b
            means.append((1 - torch.cosine_similarity(f, between)).mean().item())
    return means[at // 2 * len(probes) :][: len(probes)]


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
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--batch", type=int, default=125)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stored", type=int, default=3, help="positions timed; 0 for none")
    options = parser.parse_args()
    print(f"{options.images} images, batch {options.batch}, {torch.get_num_threads()} threads")
    print(
        f"{'network':10} {'layers':>6} {'walk':>8} {'bare':>8} {'walk / bare':>11} {'stored':>8}"
        f" {'stored / walk':>14} {'gap':>8}"
    )
    for name in options.networks:
        row(name, options)


def row(name: str, options: argparse.Namespace) -> None:
    """Measure and print one network."""
    a, b = (network(name, seed, options.width) for seed in (0, 1))
    images, labels = samples(name, options.images)
    line = Line(a, b, line_positions(P))
    task = as_task("next-token" if labels.ndim > 1 else "classification")
    source = Batches("test", (images, labels), options.batch, images.device, task=task)
    selected = select_probes(line.a, source.example())
    probes = for_task(selected, line.a, source.example(), labels, task).probes
    works = [lambda: bare(line.a, images, options.batch), lambda: walk(line, source, probes)]
    floor, ours = least(works, options.rounds)
    text = f"{name:10} {len(probes):6} {ours:7.2f}s {floor:7.2f}s {ours / floor:11.2f}"
    if options.stored and not task.tokens:  # whose features are read token by token
        usual: list[float] = []

        def keep() -> None:
            usual[:] = stored(a, b, images, options.batch, probes, options.stored)

        theirs = least([keep], 1)[0] * P / options.stored
        errors = [layer.cos_error[P // 2] for layer in walk(line, source, probes).layers]
        gap = max(abs(x - y) for x, y in zip(usual, errors, strict=True))
        text += f" {theirs:7.2f}s {theirs / ours:14.1f} {gap:8.0e}"
    print(text, flush=True)


if __name__ == "__main__":
    main()
