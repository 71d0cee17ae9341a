"""What stitching costs beside the suffixes that it cannot do without.

For each network, on the same images, in one process, in seconds of processor time (run it with
OMP_NUM_THREADS=1, so that these are seconds; on a GPU they would not be):

- stitching: loss and error at every probe, in both directions;
- floor: the same suffixes written down by hand, as slices of a flat list of the network's layers
  (a residual block is one), each on a stored feature; and a forward pass of A and of B for the
  features; nothing is kept, scored or hooked;
- all: a forward pass for each probe and direction, which is what patching by a hook would take;
- plain/in place: the network as we build it, or with every ReLU in place.

Run: python tests/benchmarks/bench_stitching.py [--images N] [--batches N] [network ...]
"""

import argparse

import torch
from pairs import NETWORKS, least, network, samples
from torch import Tensor, nn

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import no_correction
from llfc.connectivity.measures.stitching import stitching
from llfc.connectivity.probes import Probe, choose_probes
from llfc.connectivity.samples import Batches
from llfc.connectivity.subject import Subject

# Images and rounds: seconds a round where it is long, many rounds where it is short.
WORK = {"mlp": (1000, 25), "resnet20": (100, 6), "vgg16": (40, 3)}


def subject(name: str, options: argparse.Namespace, *, in_place: bool) -> Subject:
    """A pair of networks and random images."""
    a, b = (network(name, seed, options.width) for seed in (0, 1))
    for module in (*a.modules(), *b.modules()):
        if isinstance(module, nn.ReLU):
            module.inplace = in_place
    count = options.images or WORK[name][0]
    images, labels = samples(name, count)
    line = Line(a, b, line_positions(3))
    test = Batches("test", (images, labels), -(-count // options.batches), images.device)
    return Subject(
        line=line,
        unmatched=None,
        test=test,
        statistics=None,
        probes=choose_probes(line.a, test.example()),
        correction=no_correction,
        seed=0,
    )


def flat(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of our networks in a row: a stage's blocks, but not a block's layers."""
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_children():
        if isinstance(module, nn.Sequential):
            layers |= {f"{name}.{key}": block for key, block in module.named_children()}
        else:
            layers[name] = module
    return layers


@torch.no_grad()
def suffixes(
    layers: list[nn.Module], starts: list[int], features: list[list[Tensor]]
) -> list[Tensor]:
    """For every batch's features, the logits from each of `starts` on; the last ones."""
    logits: list[Tensor] = []
    for batch in features:
        logits = []
        for start, feature in zip(starts, batch, strict=True):
            value = feature
            for layer in layers[start:]:
                value = layer(value)
            logits.append(value)
    return logits


@torch.no_grad()
def features(
    model: nn.Module, probes: tuple[Probe, ...], images: tuple[Tensor, ...]
) -> list[list[Tensor]]:
    """Each batch's feature at each probe, as `flat` gives it."""
    wanted = [probe.name for probe in probes]
    found = []
    for value in images:
        batch = {}
        for name, layer in flat(model).items():
            value = layer(value)
            batch[name] = value
        found.append([batch[name] for name in wanted])
    return found


@torch.no_grad()
def passes(model: nn.Module, images: tuple[Tensor, ...], count: int) -> None:
    """Forward passes and nothing else."""
    for _ in range(count):
        for part in images:
            model(part)


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--images", type=int, help="default: by network")
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, help="default: by network")
    options = parser.parse_args()
    print(f"{options.batches} batches, {torch.get_num_threads()} threads")
    print(
        f"{'network':10} {'images':>6} {'probes':>6} {'all':>8} {'floor':>8}"
        f" {'plain':>8} {'ratio':>6} {'in place':>8} {'ratio':>6}"
    )
    for name in options.networks:
        row(name, options)


def row(name: str, options: argparse.Namespace) -> None:
    """Measure and print one network."""
    plain, in_place = (subject(name, options, in_place=kind) for kind in (False, True))
    a, b, probes = plain.line.a, plain.line.b, plain.probes
    images = tuple(part for part, _ in plain.test)
    of_a, of_b = (features(model, probes, images) for model in (a, b))
    starts = [list(flat(a)).index(probe.name) + 1 for probe in probes]

    def floor() -> None:
        for model, other in ((a, of_b), (b, of_a)):
            passes(model, images, 1)
            suffixes(list(flat(model).values()), starts, other)

    _check(plain, list(flat(b).values()), starts, of_a)
    bare, least_of_all, ours, ours_in_place = least(
        [
            lambda: passes(a, images, 1),
            floor,
            lambda: stitching(plain),
            lambda: stitching(in_place),
        ],
        options.rounds or WORK[name][1],
    )
    print(
        f"{name:10} {sum(map(len, images)):6} {len(probes):6}"
        f" {2 * len(probes) * bare:7.2f}s {least_of_all:7.2f}s"
        f" {ours:7.2f}s {ours / least_of_all:6.2f}"
        f" {ours_in_place:7.2f}s {ours_in_place / least_of_all:6.2f}",
        flush=True,
    )


def _check(
    plain: Subject, layers: list[nn.Module], starts: list[int], of_a: list[list[Tensor]]
) -> None:
    """The floor does the same work: its errors are stitching's."""
    found = stitching(plain).tables["stitching"]["error"]
    wrong = torch.zeros(len(starts))
    for batch in of_a:
        logits = suffixes(layers, starts, [batch])
        wrong += torch.stack([(each.argmax(1) != 0).sum() for each in logits])
    count = sum(len(labels) for _, labels in plain.test)
    assert torch.allclose(wrong / count, torch.tensor(found[: len(starts)]).float(), atol=2 / count)


if __name__ == "__main__":
    main()
