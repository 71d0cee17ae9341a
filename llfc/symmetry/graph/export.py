"""A model's graph, with the tensor of the state dict behind each placeholder."""

import contextlib
import io
import logging
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from llfc.devices import fused_attention_disabled
from llfc.modules import in_mode, twice
from llfc.symmetry.rules.operators import written


@dataclass
class Graph:
    """An exported graph.

    Attributes:
        graph: the nodes.
        state_names: placeholder name -> name of its tensor in the state dict.
        constants: placeholder or attribute name -> a tensor that is in no state dict.
    """

    graph: fx.Graph
    state_names: dict[str, str]
    constants: dict[str, Tensor]

    @property
    def used(self) -> set[str]:
        """The placeholders on which an output, or what the graph writes to, depends."""
        live: set[fx.Node] = set()
        for node in reversed(self.graph.nodes):
            if node.op == "output" or node in live or any(written(node)):
                live |= {node, *node.all_input_nodes}
        return {node.name for node in live if node.op == "placeholder"}


# What the exporter says of a network whose code it cannot trace, and what to change in it.
HINTS = {
    "data-dependent": "its code branches on values of tensors, or takes sizes from them, of which "
    "one graph cannot be made: torch.where or torch.cond can say it",
    "Cache": "a cache of keys and values is no tensor: configure the network with use_cache=False",
    "is not a known type": "return tensors, or lists, tuples and dicts of them",
    "Unsupported input type": "give tensors, numbers, None, or lists, tuples and dicts of them",
    ".numpy()": "compute with torch alone",
    "not implemented for 'Half'": "upcast the network to float32 first",
    "not implemented for 'BFloat16'": "upcast the network to float32 first",
}


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Silence stderr and logging: a failing export prints its graph many times."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def undisturbed(model: nn.Module, training: bool) -> Iterator[None]:
    """No fused attention, no word of the exporter, no draw from the caller's generators."""
    with fused_attention_disabled(), in_mode(model, training):
        with torch.random.fork_rng(devices=[]), silent():
            yield


def exported(model: nn.Module, inputs: Sequence[Any], training: bool) -> Graph:
    """The graph of a model, as `program_of` exports it."""
    program = program_of(model, inputs, training)
    graph = Graph(program.graph, {}, {})
    state = model.state_dict()
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT or not hasattr(spec.arg, "name"):
            continue
        if spec.target in state:
            graph.state_names[spec.arg.name] = str(spec.target)
        elif isinstance(found := program.constants.get(str(spec.target)), Tensor):
            graph.constants[spec.arg.name] = found.to_dense() if found.is_sparse else found
    return graph


def program_of(
    model: nn.Module, inputs: Sequence[Any], training: bool
) -> torch.export.ExportedProgram:
    """Export a model; the model, its mode and the random state are as before.

    In train mode a single example is given twice where the model does not take it alone.

    Raises:
        ValueError: torch.export cannot trace the model; in one line, where in its code and why.
    """
    buffers = {name: tensor.clone() for name, tensor in model.named_buffers()}
    try:
        with undisturbed(model, training):
            try:
                return torch.export.export(model, tuple(inputs), strict=False)
            except Exception:  # "Expected more than 1 value per channel when training"
                if not training or (more := twice(inputs)) is inputs:
                    raise
                return torch.export.export(model, tuple(more), strict=False)
    except Exception as error:  # whatever the exporter raises, the user should read one line
        called, reason = type(model).__name__, reason_of(error)
        raise ValueError(
            f"permutation spec: torch.export cannot trace {called}: {reason}"
        ) from error
    finally:
        for name, tensor in model.named_buffers():
            if not torch.equal(tensor, buffers[name]):
                tensor.detach().copy_(buffers[name])


def reason_of(error: Exception) -> str:
    """Why the export failed, where in the network's code, and how to avoid it if known."""
    text = str(error).strip()
    sentence = text.partition("\n")[0].partition(" (unhinted: ")[0].partition(". ")[0]
    reason = sentence[:200].rstrip(".") or type(error).__name__
    own = [Path(torch.__file__).parent, Path(__file__).parent.parent]
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).exists()
        and not any(Path(frame.filename).is_relative_to(folder) for folder in own)
    ]
    if frames:
        last = frames[-1]
        reason += f", at {Path(last.filename).name}:{last.lineno} in {last.name}"
    hints = [hint for words, hint in HINTS.items() if words in text]
    return "; ".join([reason, *hints[:1]])


def owner_of(name: str) -> str:
    """What units are named after that a parameter gives rise to.

    >>> owner_of("layer1.0.conv1.weight"), owner_of("attention.in_proj_weight")
    ('layer1.0.conv1', 'attention.in_proj')
    """
    for tail in (".weight", ".bias", "_weight", "_bias"):
        if name.endswith(tail):
            return name.removesuffix(tail)
    return name
