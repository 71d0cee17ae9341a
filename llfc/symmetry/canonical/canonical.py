"""An equal network whose norms have no gains, no shifts and no centring of their own.

A gain and a shift are folded into the linear maps that read a norm. A LayerNorm's centring is
folded into all that writes the stream: then it is an RMS norm. So the residual stream between such
norms can be rotated (Ashkboos et al., SliceGPT, ICLR 2024, section 3; arXiv 2401.15024), which
`spec.kinds` of the canonical form says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from llfc.modules import check_inputs, check_network, check_state, copy_of
from llfc.seeds import generators_left
from llfc.symmetry.canonical.norms import Norm, ends_of, norms_of
from llfc.symmetry.canonical.reading import Reader, Unsafe, readers_of, strand_of, writers_of
from llfc.symmetry.canonical.scales import balance, fold_batch_norms
from llfc.symmetry.derive import finding_of
from llfc.symmetry.kinds.carried import carried_in
from llfc.symmetry.kinds.finding import Finding
from llfc.symmetry.rules.operators import module_path
from llfc.symmetry.spec.precision import InDouble, in_double
from llfc.symmetry.spec.selfcheck import Comparison, relative_gap

TOLERANCE = 1e-8  # of the outputs' scale, in float64
ROUNDED = 1e-4  # once the tensors are rounded to their own types


@dataclass(frozen=True, eq=False)
class Fold:
    """A norm, what reads it, and what writes the stream that it reads if that is centred."""

    norm: Norm
    units: int
    readers: Sequence[Reader]
    writers: Sequence[tuple[str, int]]


@generators_left()
def canonical(
    model: nn.Module, *example_inputs: Any, batch_norm: bool = False, balanced: bool = False
) -> nn.Module:
    """An equal network without gains, shifts and centring in its norms; the model is unchanged.

    Every nn.LayerNorm, nn.RMSNorm, and module that computes an RMS norm with gains, over hidden
    units, becomes an nn.RMSNorm without parameters. Gains and shifts go into the linear maps that
    read the norm, which get a bias where there was none; centring goes into all that writes the
    stream, embeddings included. Tensors that are both read and written with (a tied head) are
    untied. Everything is computed in float64 and then rounded to the tensors' own types. Equal
    means in eval mode: dropout on the stream undoes its centring in train mode.

    Args:
        model: any module that torch.export can follow.
        example_inputs: as for `permutation_spec`.
        batch_norm: whether to fold batch norms, as they are in eval mode, into the linear layers
            before them.
        balanced: whether to give each unit of kind `scaled` the scale at which the weights that
            write it and those that read it have one Euclidean length.

    Returns:
        A copy with other modules and tensors, so it has a spec of its own: `permutation_spec`.

    Raises:
        ValueError: in one line, the first norm for which the graph does not prove it safe, and why
            (a network with its norms after the additions, as BERT, is the usual case); there is
            nothing to fold; or the outputs of the two differ by more than 1e-8 in float64.
    """
    check_network("model", model)
    check_inputs("example inputs", model, example_inputs)
    check_state("model", model)
    original = untied(copy_of(model).eval())
    finding, graph = finding_of(original, example_inputs)
    folds = [fold for found in norms_of(original) if (fold := safe(finding, graph, *found))]
    dtypes = {name: tensor.dtype for name, tensor in tensors_of(original)}
    before = outputs_of(original, example_inputs)
    doubled = original.double()
    for fold in folds:
        fold_gain(doubled, finding, fold)
    centre(doubled, {writer for fold in folds for writer in fold.writers})
    for fold in folds:
        doubled.set_submodule(fold.norm.path, fold.norm.plain(fold.units))
    folded = fold_batch_norms(doubled, graph) if batch_norm else 0
    if not folds and not folded and not balanced:
        raise ValueError(f"canonical: {type(model).__name__} has no norm over hidden units to fold")
    check_equal(before, doubled, example_inputs)
    usual = next((dtype for dtype in dtypes.values() if dtype.is_floating_point), torch.float32)
    for name, tensor in tensors_of(doubled):
        tensor.data = tensor.data.to(dtypes.get(name, usual))
    if balanced:
        balance(doubled, example_inputs)
        check_equal(before, doubled, example_inputs, ROUNDED)
    modes = {name: module.training for name, module in model.named_modules()}
    for name, module in doubled.named_modules():
        module.training = modes.get(name, model.training)
    return doubled


def untied(model: nn.Module) -> nn.Module:
    """The model itself, whose parameters under several names are now separate ones."""
    seen = set[int]()
    for module in model.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            if id(parameter) in seen:
                setattr(module, name, nn.Parameter(parameter.detach().clone()))
            seen.add(id(parameter))
    return model


def tensors_of(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers by name."""
    return [*model.named_parameters(), *model.named_buffers()]


def safe(finding: Finding, graph: fx.Graph, norm: Norm, units: int) -> Fold | None:
    """What folding a norm changes; None if it is over no hidden units.

    Raises:
        ValueError: the graph does not prove it safe.
    """
    try:
        ends = ends_of(graph, norm.path)
        if ends is None or not any(x.families for x in carried_in(finding.carried[ends[0]])):
            return None
        source, out = ends
        affine = norm.gain is not None or norm.shift is not None
        readers = [*readers_of(finding, out)] if affine else []
        if not norm.centred:
            return Fold(norm, units, readers, [])
        norms = [n for n in graph.nodes if "layer_norm" in str(n.target)]
        strand = strand_of(finding, source)
        return Fold(norm, units, readers, writers_of(finding, graph, strand, norms))
    except Unsafe as unsafe:
        raise ValueError(f"canonical: norm {norm.path!r} cannot be folded: {unsafe}") from None


def fold_gain(model: nn.Module, finding: Finding, fold: Fold) -> None:
    """Multiply the gain into what reads the norm, and add what its shift becomes to the biases."""
    for reader in fold.readers:
        module, name = holder(model, finding, reader)
        weight: Tensor = getattr(module, name)
        rows = weight.detach().movedim(reader.dim, -1)
        shift = fold.norm.shift
        if shift is not None and bool(shift.any()):
            added = rows.flatten(1, -2).sum(1) if rows.dim() > 2 else rows
            add_to_bias(model, finding, reader, module, added @ shift)
        scaled = rows if fold.norm.gain is None else rows * fold.norm.gain
        setattr(module, name, nn.Parameter(scaled.movedim(-1, reader.dim).contiguous()))


def holder(model: nn.Module, finding: Finding, reader: Reader) -> tuple[nn.Module, str]:
    """The module that holds a reader's weight, and its name there.

    Raises:
        ValueError: the module that reads with it does not hold it.
    """
    path = module_path(reader.node)
    full = finding.parameters[reader.weight.name]
    module = model.get_submodule(path)
    for name, _ in module.named_parameters(recurse=False):
        if (f"{path}.{name}" if path else name) == full:
            return module, name
    raise ValueError(
        f"canonical: {full!r} cannot take a gain: module {path!r}, which reads with it, does not "
        "hold it"
    )


def add_to_bias(
    model: nn.Module, finding: Finding, reader: Reader, module: nn.Module, added: Tensor
) -> None:
    """Add to the bias of what reads a norm, or give it one.

    Raises:
        ValueError: it has none and is of a kind that takes none.
    """
    if reader.bias is not None:
        bias = model.get_parameter(finding.parameters[reader.bias.name])
        bias.data = bias.data + added.reshape(bias.shape)
    elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        module.bias = nn.Parameter(added.clone())
    else:
        raise ValueError(
            f"canonical: a shift cannot be folded into {module_path(reader.node)!r}, a "
            f"{type(module).__name__} without a bias"
        )


def centre(model: nn.Module, writers: set[tuple[str, int]]) -> None:
    """Subtract from each tensor its mean over the units of the stream that it writes."""
    for name, dim in sorted(writers):
        tensor = model.state_dict(keep_vars=True)[name]
        tensor.data = tensor.data - tensor.data.mean(dim, keepdim=True)


def outputs_of(model: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
    """The tensors that a network returns in eval mode, computed in float64."""
    given = pytree.tree_map_only(Tensor, in_double, tuple(inputs))
    with InDouble():  # type: ignore[no-untyped-call]
        run = Comparison(dict, model, {}, given, 0, training=False)
        return run.outputs(model.state_dict())


def check_equal(
    before: Sequence[Tensor], model: nn.Module, inputs: Sequence[Any], tolerance: float = TOLERANCE
) -> None:
    """Refuse a network whose outputs in float64 are not those of before.

    Raises:
        ValueError: they differ.
    """
    gap = relative_gap(before, outputs_of(model, inputs))
    if not gap <= tolerance:
        raise ValueError(
            f"canonical: the outputs would change by {gap:.2g} of their scale, which is a bug of "
            "llfc and not of the model"
        )
