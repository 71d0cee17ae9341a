"""A model's graph, with the tensor of the state dict behind each placeholder."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from llfc.matching.symmetry.calls import written
from llfc.matching.symmetry.selfcheck import mode


@dataclass
class Graph:
    """An exported graph.

    Attributes:
        graph: the nodes.
        held: placeholder name -> name of its tensor in the state dict.
        constants: placeholder or attribute name -> a tensor that is in no state dict.
    """

    graph: fx.Graph
    held: dict[str, str]
    constants: dict[str, Tensor]

    @property
    def used(self) -> set[str]:
        """The placeholders on which an output, or what the graph writes to, depends."""
        live: set[fx.Node] = set()
        for node in reversed(self.graph.nodes):
            if node.op == "output" or node in live or any(written(node)):
                live |= {node, *node.all_input_nodes}
        return {node.name for node in live if node.op == "placeholder"}


@contextlib.contextmanager
def undisturbed(model: nn.Module, training: bool) -> Iterator[None]:
    """No fused attention, no warnings of the exporter, no draw from the caller's generators."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with mode(model, training), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def exported(model: nn.Module, inputs: Sequence[Tensor], training: bool) -> Graph:
    """The graph of a model, as `program_of` exports it."""
    program = program_of(model, inputs, training)
    graph = Graph(program.graph, {}, {})
    state = model.state_dict()
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT or not hasattr(spec.arg, "name"):
            continue
        if spec.target in state:
            graph.held[spec.arg.name] = str(spec.target)
        elif isinstance(found := program.constants.get(str(spec.target)), Tensor):
            graph.constants[spec.arg.name] = found
    return graph


def program_of(
    model: nn.Module, inputs: Sequence[Tensor], training: bool
) -> torch.export.ExportedProgram:
    """Export a model; the model, its mode and the random state are as before.

    Raises:
        ValueError: torch.export cannot follow the model.
    """
    buffers = {name: tensor.clone() for name, tensor in model.named_buffers()}
    try:
        with undisturbed(model, training):
            program = torch.export.export(model, tuple(inputs), strict=False)
    except Exception as error:  # whatever the exporter raises, the user should read one line
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(
            f"permutation spec: torch.export cannot follow {type(model).__name__}: {reason}"
        ) from error
    for name, tensor in model.named_buffers():
        if not torch.equal(tensor, buffers[name]):
            tensor.detach().copy_(buffers[name])
    return program


def owner_of(name: str) -> str:
    """What units are named after that a parameter gives rise to.

    >>> owner_of("layer1.0.conv1.weight"), owner_of("attention.in_proj_weight")
    ('layer1.0.conv1', 'attention.in_proj')
    """
    for tail in (".weight", ".bias", "_weight", "_bias"):
        if name.endswith(tail):
            return name.removesuffix(tail)
    return name
