"""Derive the spec of every classification model of torchvision and print what was found.

python -m llfc.symmetry.coverage [model ...]
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from llfc.seeds import stream
from llfc.symmetry.derive import derive
from llfc.symmetry.graph.export import exported
from llfc.symmetry.spec.table import family

HEADER = (
    f"{'model':<22} {'groups':>7} {'families':>8} {'units':>8} {'nodes':>6} "
    f"{'export s':>8} {'derive s':>8} {'check s':>8} {'gap':>8}"
)


@dataclass(frozen=True)
class ModelRow:
    """What was found for one model.

    Attributes:
        model: its name.
        groups: groups of units.
        families: groups, with the groups inside the heads of one layer counted once.
        units: units in all groups.
        nodes: calls in the exported graph.
        export, derive, check: seconds of torch.export, of the derivation, of the self-check.
        gap: the largest change of an output under random permutations, relative to its scale.
        reason: why there is no spec; empty if there is one.
    """

    model: str
    groups: int = 0
    families: int = 0
    units: int = 0
    nodes: int = 0
    export: float = float("nan")
    derive: float = float("nan")
    check: float = float("nan")
    gap: float = float("nan")
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.model:<22} {self.reason}"
        return (
            f"{self.model:<22} {self.groups:>7} {self.families:>8} {self.units:>8} "
            f"{self.nodes:>6} {self.export:>8.2f} {self.derive:>8.2f} {self.check:>8.2f} "
            f"{self.gap:>8.1g}"
        )


def model_names() -> list[str]:
    """All classification models of torchvision."""
    from torchvision import models

    return list(models.list_models(module=models))


def built_model(name: str) -> tuple[nn.Module, int]:
    """A model with random weights, and the side of its images."""
    from torchvision import models

    extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return models.get_model(name, weights=None, **extra), 299 if name == "inception_v3" else 224


def cover(name: str, side: int | None = None) -> ModelRow:
    """Derive and check one model's spec, for images of `side` pixels or of the usual size."""
    model, usual = built_model(name)
    side = side or usual
    images = torch.randn(2, 3, side, side, generator=stream(0, "coverage"))
    times = [time.perf_counter()]
    try:
        graph = exported(model, (images,), training=False)
        times.append(time.perf_counter())
        spec = derive(model, (images,), strict=True, graph=graph)
        times.append(time.perf_counter())
        gap = spec.check(model, images)
        times.append(time.perf_counter())
    except ValueError as error:
        return ModelRow(name, reason=str(error))
    return ModelRow(
        name,
        groups=len(spec.groups),
        families=len({family(group) for group in spec.groups}),
        units=sum(spec.groups.values()),
        nodes=sum(node.op == "call_function" for node in graph.graph.nodes),
        export=times[1] - times[0],
        derive=times[2] - times[1],
        check=times[3] - times[2],
        gap=gap,
    )


def coverage(names: Sequence[str]) -> Iterator[ModelRow]:
    """One row per model."""
    for name in names:
        yield cover(name)


def main(names: Sequence[str]) -> int:
    """Print the table; 1 if a model has no spec."""
    print(HEADER)
    rows = []
    for row in coverage(names or model_names()):
        print(row, flush=True)
        rows.append(row)
    passed = sum(not row.reason for row in rows)
    print(f"{passed} of {len(rows)} models")
    return int(passed < len(rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
