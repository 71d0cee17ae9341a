"""Batch norms folded into the linear maps before them, and the scales of ReLU units balanced."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from llfc.symmetry.canonical.norms import ends_of
from llfc.symmetry.canonical.reading import Unsafe, named
from llfc.symmetry.derive import permutation_spec
from llfc.symmetry.rules.operators import module_path, operator_name
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import axis_groups, plain_segments
from llfc.symmetry.transform import Element, Transform

SWEEPS = 100  # over all groups, until nothing changes
SETTLED = 1e-9  # of the logarithm of a scale
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def fold_batch_norms(model: nn.Module, graph: fx.Graph) -> int:
    """Fold each batch norm, as it is in eval mode, into the linear map before it; how many.

    Args:
        model: in eval mode; each batch norm becomes nn.Identity.
        graph: the model's.

    Raises:
        ValueError: the graph does not prove one safe; names it.
    """
    paths = [path for path, module in model.named_modules() if isinstance(module, BATCH_NORMS)]
    count = 0
    for path in paths:
        norm = model.get_submodule(path)
        try:
            ends = ends_of(graph, path)
            if ends is not None:
                fold_one(model, path, norm, map_before(model, graph, ends[0]))
                count += 1
        except Unsafe as unsafe:
            raise ValueError(f"canonical: norm {path!r} cannot be folded: {unsafe}") from None
    return count


def map_before(model: nn.Module, graph: fx.Graph, source: fx.Node) -> str:
    """The path of the linear map that makes a value, which nothing but a batch norm reads.

    Raises:
        Unsafe: there is none, or it is called more than once, or more reads it.
    """
    path = module_path(source) if source.op == "call_function" else ""
    calls = [n for n in graph.nodes if n.op == "call_function" and module_path(n) == path]
    if not isinstance(model.get_submodule(path), (*CONVOLUTIONS, nn.Linear)):
        raise Unsafe(f"it reads {named(source)}, which is no linear layer")
    if len([n for n in calls if operator_name(n) == operator_name(source)]) != 1:
        raise Unsafe(f"{path!r} before it is called more than once")
    if len(source.users) != 1:
        raise Unsafe(f"{path!r} before it is read by others too")
    return path


def fold_one(model: nn.Module, path: str, norm: Any, before: str) -> None:
    """Fold one batch norm.

    Raises:
        Unsafe: it has no statistics of its own.
    """
    if norm.running_mean is None:
        raise Unsafe("it keeps no statistics, so it is not linear")
    layer: Any = model.get_submodule(before)
    fuse = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
    fused: nn.Module = fuse(layer, norm)
    for full, module in ((before, fused), (path, nn.Identity())):
        parent, _, name = full.rpartition(".")
        setattr(model.get_submodule(parent), name, module)


def balance(model: nn.Module, inputs: Sequence[Any]) -> None:
    """Scale each unit of kind `scaled` so that what it is written with is as long as what reads it.

    Lengths are Euclidean, of all entries of all tensors that the unit's scale multiplies, or
    divides; units of which either is 0 stay as they are. Gradient flow keeps the difference of the
    two squares, and of all scales these have the smallest sum of squares.

    Reference:
        Du, Hu & Lee, Algorithmic regularization in learning deep homogeneous models: layers are
        automatically balanced, NeurIPS 2018. https://arxiv.org/abs/1806.00900
    """
    spec = permutation_spec(model, *inputs)
    groups = [group for group, kind in spec.kinds.items() if kind == "scaled"]
    state: dict[str, Tensor] = dict(model.state_dict())
    for _ in range(SWEEPS):
        largest = 0.0
        for group in groups:
            writes, reads = (squares(spec, state, group, power) for power in (1, -1))
            known = (writes > 0) & (reads > 0)
            factor = torch.where(known, reads / writes.where(known, torch.ones(())), 1.0) ** 0.25
            largest = max(largest, float(factor.log().abs().max()))
            units = torch.arange(spec.groups[group])
            state = Transform(spec, {group: Element(units, factor)}).apply(state)  # type: ignore[arg-type]
        if largest < SETTLED:
            break
    model.load_state_dict(state)


def squares(spec: PermutationSpec, state: dict[str, Tensor], group: str, power: int) -> Tensor:
    """For each unit, the sum of squares over all places with this power, float64 [units]."""
    total = torch.zeros(spec.groups[group], dtype=torch.float64)
    for name, axes in spec.axes.items():
        folded = spec.fold(name, state[name])
        for dim, axis in enumerate(axes):
            if group not in axis_groups(axis):
                continue
            powers = spec.kinds.powers[name][dim]
            own = {
                p
                for segment, each in zip(plain_segments(axis), powers, strict=True)
                for factor, p in zip(segment, each, strict=True)
                if group in factor.groups
            }
            if own == {power}:
                rows = folded.double().square().movedim(dim, 0)
                rows = rows.reshape(len(rows), -1).sum(1).cpu()
                total += rows[spec.positions(axis, group)].sum(1)
    return total
