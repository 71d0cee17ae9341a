"""Weight and activation matching against the published way, side by side in one run.

    python -m tests.benchmarks.bench_matching

Reference: coordinate descent exactly as published (Ainsworth et al. 2023): for every group and each
of its axes all of B's tensor is gathered anew, and scipy solves the scores as they are; no
restarts. Ours visits the groups in the same order. Seconds are of one thread's own work, so that
other programs do not count. `time` and `objective` are over the reference's own.

Pairs: `independent` have independent weights. `kin` are as correlated as trained networks are once
matched: B is a tenth a permuted A. `trained` had thirty steps each on the embedded images.
"""

import argparse
import ctypes
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from llfc.data.datasets import load_dataset
from llfc.matching import PermutationSpec, match, permutation_spec
from llfc.matching.activations import cross_moments
from llfc.matching.ascent.search import best_within
from llfc.matching.matchers import MATCHERS
from llfc.matching.overlap.overlap import Overlap
from llfc.networks.architectures import build_network
from llfc.seeds import stream

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
CASES = (
    ("mlp", 1.0, "none", ("independent", "kin", "trained")),
    ("vgg16", 1.0, "batch", ("independent", "kin")),
    ("resnet20", 1.0, "batch", ("independent", "kin", "trained")),
    ("resnet20", 4.0, "batch", ("independent", "kin")),
    ("resnet20", 8.0, "batch", ("independent", "kin")),
)
KIN = 0.1
STEPS = 30
EFFORTS = 1.5, 8.5  # that take about as long as one published descent, and at most ten
REPEATS, LONG = 5, 3.0  # a descent that takes longer, in seconds, is timed once
Index = dict[str, Tensor]
Pair = tuple[nn.Module, nn.Module, PermutationSpec, tuple[int, int, int]]


@dataclass
class Reference:
    """The published descent, on specs whose axes are plain or flattened."""

    a: dict[str, Tensor]
    b: dict[str, Tensor]
    spec: PermutationSpec

    def __post_init__(self) -> None:
        self.groups_of = {
            name: [next((f.groups[0] for s in axis for f in s if f.groups), None) for axis in axes]
            for name, axes in self.spec.axes.items()
        }

    def gathered(self, name: str, index: Index, skip: int) -> Tensor:
        tensor = self.b[name]
        for dim, axis in enumerate(self.spec.axes[name]):
            if dim != skip and self.groups_of[name][dim] is not None:
                tensor = tensor.index_select(dim, self.spec.index(index, axis))
        return tensor

    def scores(self, group: str, index: Index) -> Tensor:
        units = self.spec.groups[group]
        total = torch.zeros(units, units)
        for name, groups in self.groups_of.items():
            for dim in (d for d, g in enumerate(groups) if g == group and name in self.a):
                a = self.a[name].movedim(dim, 0).reshape(units, -1)
                b = self.gathered(name, index, dim).movedim(dim, 0).reshape(units, -1)
                total += a @ b.T
        return total

    def descend(self, seed: int) -> Index:
        index = dict(self.spec.identity())
        generator = stream(seed, "bench/order")
        names = list(self.spec.groups)
        for _ in range(100):
            progress = False
            for position in torch.randperm(len(names), generator=generator).tolist():
                group = names[position]
                scores = self.scores(group, index)
                _, columns = linear_sum_assignment(scores.numpy(), maximize=True)
                found = torch.from_numpy(columns)
                eye = torch.eye(len(found))
                before, after = (scores * eye[index[group]]).sum(), (scores * eye[found]).sum()
                progress = progress or bool(after > before + 1e-12)
                index[group] = found
            if not progress:
                break
        return index


def pair(architecture: str, width: float, norm: str, kind: str) -> Pair:
    """Two networks and their symmetry; norms have statistics of data, and affines that differ."""
    shape = GREY if architecture == "mlp" or kind == "trained" else COLOUR
    models = [fresh(architecture, width, norm, shape, seed) for seed in range(2)]
    spec = permutation_spec(models[0], torch.zeros(2, *shape))
    if kind == "kin":
        permuted = spec.apply(spec.random(7), models[0].state_dict())
        with torch.no_grad():
            for name, parameter in models[1].named_parameters():
                parameter.mul_((1 - KIN**2) ** 0.5).add_(permuted[name], alpha=KIN)
    images = torch.randn(32, *shape, generator=stream(0, "bench/images"))
    for seed, model in enumerate(models):
        if kind == "trained":
            train(model, seed)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None
            model.train()(images)
        model.eval()
    return models[0], models[1], spec, shape


def fresh(
    architecture: str, width: float, norm: str, shape: tuple[int, int, int], seed: int
) -> nn.Module:
    generator = stream(seed, "bench/init")
    model = build_network(
        architecture,
        width=width,
        norm=norm,
        input_shape=shape,
        num_classes=10,
        generator=generator,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def train(model: nn.Module, seed: int) -> None:
    """A few steps of Adam on the embedded images."""
    with TemporaryDirectory() as cache:
        data = load_dataset("fashion-mnist-small", cache=Path(cache), limit_train=50 * STEPS)
    order = torch.randperm(50 * STEPS, generator=stream(seed, "bench/order"))
    images, labels = (torch.cat(part) for part in zip(*data.batches("train", 500), strict=True))
    adam = torch.optim.Adam(model.train().parameters(), lr=1e-3)
    for batch in order.split(50):
        adam.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        adam.step()


def timed(work: Callable[[], Index]) -> tuple[float, Index]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def bench_weights(case: tuple[str, float, str], kind: str) -> str:
    a, b, spec, _ = pair(*case, kind)
    parameters = {name: tensor.detach() for name, tensor in a.named_parameters()}
    reference = Reference(parameters, b.state_dict(), spec)
    measure = Overlap.of(a, b, spec)

    def climbed(effort: float) -> tuple[float, Index]:
        order = stream(0, "bench/order")
        return timed(lambda: best_within(Overlap.of(a, b, spec), order, effort)[0])

    plain = one = some = float("inf")
    for _ in range(REPEATS):  # turn about; the least of each, as other work only ever adds
        seconds, expected = timed(lambda: reference.descend(0))
        (of_one, found), (of_some, better) = climbed(1), climbed(EFFORTS[0])
        plain, one, some = min(plain, seconds), min(one, of_one), min(some, of_some)
        if plain > LONG:
            break
    # An effort is a multiple of our own ascent, and the time is to be one of the reference's.
    much, best = climbed(EFFORTS[1] * (1 if plain > LONG else max(1, plain / one)))
    wolfe = match("frank-wolfe", a, b, spec).record["objective"]
    score = measure.value(expected)
    return (
        f"{case[0]:8} {case[1]:g}x {kind:9} {plain:8.3f} {one:7.3f} {plain / one:6.2f}x"
        f" {measure.value(found) / score - 1:8.1e} | {some / plain:6.2f}"
        f" {measure.value(better) / score:9.5f} | {much / plain:6.2f}"
        f" {measure.value(best) / score:9.5f} {wolfe / score:9.5f}"
    )


def bench_activations(batches: int) -> str:
    """All groups in one pass, against a pass for each group; both as far as the permutation."""
    a, b, spec, shape = pair("vgg16", 1.0, "batch", "independent")
    generator = stream(0, "bench/data")
    data = [torch.randn(64, *shape, generator=generator) for _ in range(batches)]
    at_once, found = timed(lambda: dict(match("activations", a, b, spec, data)))
    bound, _ = timed(lambda: {"": torch.tensor(Overlap.of(a, b, spec).bound)})
    apart, expected = timed(lambda: {g: one_group(a, b, spec, g, data) for g in spec.groups})
    equal = sum(torch.equal(found[group], expected[group]) for group in spec.groups)
    return (
        f"activations of vgg16, {len(data)} batches: one pass {at_once:.2f} s, of which the"
        f" certificate {bound:.2f} s; a pass a group {apart:.2f} s, {apart / at_once:.1f}x;"
        f" {equal} of {len(spec.groups)} permutations equal"
    )


def one_group(
    a: nn.Module, b: nn.Module, spec: PermutationSpec, group: str, data: Iterable[Tensor]
) -> Tensor:
    """The best partners of one group, from a pass that looks at nothing else."""
    alone = PermutationSpec(spec.groups, spec.axes, {group: spec.features[group][-1:]})
    moments, _ = cross_moments(a, b, alone, data)
    score = next(moments[key] for key in moments if key[1] == "last").correlation()
    _, columns = linear_sum_assignment(score.numpy(), maximize=True)
    return torch.from_numpy(columns)


def memory(name: str, architecture: str, width: float, norm: str) -> str:
    """In a process of its own: the most memory in use while matching, over that before (Linux)."""
    small = pair("mlp", 1 / 16, "none", "independent")
    match(name, *small[:3], [torch.zeros(8, *small[3])])  # libraries take what they need
    a, b, spec, shape = pair(architecture, width, norm, "independent")
    data = [torch.randn(16, *shape)]
    both = 2 * sum(t.numel() * t.element_size() for t in a.state_dict().values())
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else what was freed before is used again, and not seen
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far counts from here
    before = resident("VmRSS")
    match(name, a, b, spec, data)
    peak = both + resident("VmHWM") - before
    return (
        f"memory of {name} on {architecture} {width:g}x: {peak / 1e6:.0f} MB at most with the two"
        f" state dicts, {peak / both:.2f} times them"
    )


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of architectures")
    parser.add_argument("--batches", type=int, default=2, help="of 64 images; 0: no activations")
    parser.add_argument("--memory", nargs="*", default=sorted(MATCHERS), help="matchers")
    parser.add_argument("--memory-of", help="in this process; the others start one for each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_of:
        print(memory(options.memory_of, "vgg16", 1.0, "batch"))
        return
    print("the published descent and one ascent | effort {} | effort {}".format(*EFFORTS))
    print(
        f"{'network':11} {'pair':9} {'plain s':>8} {'ours s':>7} {'ratio':>7} {'obj. gap':>8}"
        f" | {'time':>6} {'objective':>9} | {'time':>6} {'objective':>9} {'fr.-wolfe':>9}"
    )
    for *case, kinds in CASES:
        for kind in kinds if not options.only or case[0] in options.only else ():
            print(bench_weights(tuple(case), kind), flush=True)
    if options.batches:
        print(bench_activations(options.batches), flush=True)
    for name in options.memory if sys.platform == "linux" else ():
        command = [sys.executable, __file__, "--memory-of", name]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


if __name__ == "__main__":
    main()
