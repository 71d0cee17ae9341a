"""Weight and activation matching against the published way, side by side in one run.

    python -m tests.benchmarks.bench_matching

Reference: coordinate descent as published (Ainsworth et al. 2023): for every group and each of its
axes all of B's tensor is gathered anew, and scipy solves the scores as they are; no restarts.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from llfc.matching import PermutationSpec, permutation_spec
from llfc.matching.activations import cross_moments, match_activations
from llfc.matching.overlap import Overlap
from llfc.matching.relaxation import relaxed
from llfc.matching.weights import ascend, better, shuffled
from llfc.networks.architectures import build
from llfc.seeds import stream

CASES = (
    ("mlp", 1.0, "none"),
    ("vgg16", 1.0, "batch"),
    ("resnet20", 1.0, "batch"),
    ("resnet20", 4.0, "batch"),
    ("resnet20", 8.0, "batch"),
)
INPUT = (3, 32, 32)
Index = dict[str, Tensor]


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
                rows = torch.arange(len(found))
                before, after = scores[rows, index[group]].sum(), scores[rows, found].sum()
                progress = progress or bool(after > before + 1e-6 * before.abs())
                index[group] = found
            if not progress:
                break
        return index


def pair(architecture: str, width: float, norm: str) -> tuple[nn.Module, nn.Module]:
    """Two networks with weights of their own; norms get affines that differ, as training's do."""
    models = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        model = build(
            architecture,
            width=width,
            norm=norm,
            input_shape=INPUT,
            num_classes=10,
            generator=generator,
        )
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        models.append(model.eval())
    return models[0], models[1]


def timed(work: Callable[[], Index]) -> tuple[float, Index]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def bench_weights(architecture: str, width: float, norm: str, seeds: int) -> str:
    a, b = pair(architecture, width, norm)
    spec = permutation_spec(a, torch.zeros(2, *INPUT))
    reference = Reference(
        {name: tensor.detach() for name, tensor in a.named_parameters()}, b.state_dict(), spec
    )
    measure = Overlap.of(a, b, spec)
    plain, ours, gap = 0.0, 0.0, 0.0
    taken: list[float] = []
    for seed in range(seeds):
        seconds, expected = timed(lambda seed=seed: reference.descend(seed))
        plain += seconds
        seconds, found = timed(
            lambda seed=seed: ascend(
                Overlap.of(a, b, spec), dict(spec.identity()), stream(seed, "bench/order")
            )[0]
        )
        ours += seconds
        gap = max(gap, abs(measure.value(found) / measure.value(expected) - 1))
    best = measure.value(expected)

    def within(budget: float, *, relaxing: bool) -> float:
        """The overlap that `weights` reaches in a time, with its own order of starts."""
        began, overlap = time.perf_counter(), Overlap.of(a, b, spec)
        generator = stream(seeds - 1, "bench/order")
        top, _ = ascend(overlap, dict(spec.identity()), generator)
        longest = time.perf_counter() - began
        if relaxing:
            top = better(overlap, top, ascend(overlap, relaxed(overlap)[0], generator)[0])
        while time.perf_counter() - began + longest < budget:
            started = time.perf_counter()
            top = better(overlap, top, ascend(overlap, shuffled(top, generator), generator)[0])
            longest = max(longest, time.perf_counter() - started)
        taken.append(time.perf_counter() - began)
        return measure.value(top)

    once = within(plain / seeds, relaxing=False)
    ten = within(10 * plain / seeds, relaxing=True)
    relaxing, wolfe = timed(lambda: ascend(measure, relaxed(measure)[0], stream(0, "fw"))[0])
    return (
        f"{architecture:9} {width:4g} {norm:6} {plain / seeds:8.2f} {ours / seeds:8.2f}"
        f" {plain / ours:6.2f}x {gap:9.1e} | {best:9.2f} {once:9.2f} {ten:9.2f}"
        f" {measure.value(wolfe):9.2f} | {taken[0]:7.2f} {taken[1]:7.2f} {relaxing:7.2f}"
    )


def bench_activations(batches: int) -> str:
    """All groups in one pass, against a pass for each group."""
    a, b = pair("vgg16", 1.0, "batch")
    spec = permutation_spec(a, torch.zeros(2, *INPUT))
    generator = torch.Generator().manual_seed(0)
    data = [torch.randn(64, *INPUT, generator=generator) for _ in range(batches)]
    at_once, found = timed(lambda: dict(match_activations(a, b, spec, data, seed=0)))
    began = time.perf_counter()
    equal = all(
        torch.equal(found[group], one_group(a, b, spec, group, data)) for group in spec.groups
    )
    apart = time.perf_counter() - began
    return (
        f"activations of vgg16: one pass {at_once:.2f} s, a pass a group {apart:.2f} s,"
        f" {apart / at_once:.1f}x, permutations equal: {equal}"
    )


def one_group(
    a: nn.Module, b: nn.Module, spec: PermutationSpec, group: str, data: Iterable[Tensor]
) -> Tensor:
    """The best partners of one group, from a pass that looks at nothing else."""
    alone = PermutationSpec(spec.groups, spec.axes, {group: spec.features[group][-1:]})
    moments, _ = cross_moments(a, b, alone, data)
    score = next(iter(moments.values())).correlation()
    _, columns = linear_sum_assignment(score.numpy(), maximize=True)
    return torch.from_numpy(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="names of architectures")
    parser.add_argument("--seeds", type=int, default=3, help="descents a case")
    parser.add_argument("--batches", type=int, default=2, help="of 64 images; 0: no activations")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'network':9} {'w':>4} {'norm':6} {'plain s':>8} {'ours s':>8} {'ratio':>7}"
        f" {'obj. gap':>9} | {'plain':>9} {'same time':>9} {'10 times':>9} {'fr.-wolfe':>9}"
        f" | {'same s':>7} {'10 s':>7} {'f.-w. s':>7}"
    )
    for case in itertools.filterfalse(lambda c: options.only and c[0] not in options.only, CASES):
        print(bench_weights(*case, options.seeds), flush=True)
    if options.batches:
        print(bench_activations(options.batches))


if __name__ == "__main__":
    main()
