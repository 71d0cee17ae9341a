"""Where the units of each cluster are read, and reading them batch by batch.

What is read are values of the exported graph, which is run in place of the model, node by node: so
what no module returns is read like what one does, and the model itself is not touched.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from llfc.modules import batch_dependence, check_inputs, device_of, eval_copy
from llfc.modules.inputs import Inputs, on_device, positional
from llfc.symmetry.derive import derive
from llfc.symmetry.graph.export import program_of
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.spec.axes import Axis, axis_size
from llfc.symmetry.spec.blocks import Cluster, blocks, root

Shapes = tuple[tuple[torch.Size, torch.dtype], ...]


@dataclass(frozen=True)
class Tap:
    """A part of a value on which the units of one cluster lie.

    Attributes:
        cluster: whose units.
        value: its name in the exported graph.
        dims: the dimensions that, read together, are laid out as `axis`.
        axis: where units lie.
        part: which of the axis's blocks.
        others: dimensions on which units lie whose order is not known.
    """

    cluster: Cluster
    value: str
    dims: tuple[int, ...]
    axis: Axis
    part: int
    others: tuple[int, ...]

    def lies_in(self, value: Tensor) -> bool:
        """Whether the value has the dimensions of the spec's, and as many positions on `dims`."""
        if value.ndim <= max((*self.dims, *self.others)):
            return False
        return math.prod(value.shape[dim] for dim in self.dims) == axis_size(self.axis)

    def of(self, value: Tensor) -> Tensor:
        """A copy of the cluster's features in a value, [units, samples].

        All positions and images are samples; over units of other groups the mean is taken, as their
        order is not known before they are matched.
        """
        block = blocks(self.axis)[self.part]
        if self.others:
            value = value.mean(self.others, keepdim=True)
        feature = value.movedim(self.dims, tuple(range(len(self.dims))))
        feature = feature.flatten(0, len(self.dims) - 1)
        units = block.of(feature, 0).reshape(len(block.positions), -1)
        return units.clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class Taps:
    """The taps of a cluster: where it is read, and where its units first are.

    Attributes:
        last: after all that is computed on its units; several where values part, as queries and
            keys do.
        every: all the way.
        first: before an activation function, say, that makes units alike.
    """

    last: tuple[Tap, ...]
    every: tuple[Tap, ...]
    first: Tap


def taps(spec: PermutationSpec) -> dict[Cluster, Taps]:
    """For each cluster that can be read, where.

    A block with two clusters is not read: the units of the one are in an unknown order while those
    of the other are matched.
    """
    every: dict[Cluster, dict[Tap, None]] = {}
    last: dict[Cluster, dict[Tap, None]] = {}
    for group, features in spec.features.items():
        for feature in features:
            for part, block in enumerate(blocks(feature.axis)):
                cluster = block.clusters[0] if len(block.clusters) == 1 else ()
                if not any(group in factor.groups for factor in cluster[1:] or cluster):
                    continue
                found = Tap(
                    cluster, feature.value, feature.dims, feature.axis, part, feature.others
                )
                every.setdefault(cluster, {})[found] = None
                if feature.last:
                    last.setdefault(cluster, {})[found] = None
    return {
        cluster: Taps(tuple(found), way := tuple(every[cluster]), way[0])
        for cluster, found in last.items()
    }


def unread_groups(spec: PermutationSpec, read: Collection[Cluster]) -> dict[str, str]:
    """The groups that are in no cluster that is read, each with the reason."""
    names = {name for cluster in read for factor in cluster for name in factor.groups}
    return {group: _reason(spec, group) for group in spec.groups if group not in names}


def _reason(spec: PermutationSpec, group: str) -> str:
    if spec.features.get(group):
        return "no feature tells its units apart from those of other groups that lie among them"
    return "no value of the network's graph in eval mode carries its units"


def batch_definitions(
    a: nn.Module, b: nn.Module, batches: Iterable[Inputs]
) -> tuple[Iterable[Inputs], dict[str, str]]:
    """All of `batches`, and an entry of `Permutation.definitions` if features depend on them.

    Seen on the first batch, by what the networks give. Costs two forward passes of each network.

    Args:
        a: a network; it is not run itself.
        b: another.
        batches: inputs as both take them; may be iterated over once.
    """
    rest = iter(batches)
    batch = next(rest, None)
    if batch is None:
        return (), {}
    gap = max(batch_dependence(eval_copy(net), on_device(batch, device_of(net))) for net in (a, b))
    if not gap:
        return chain([batch], rest), {}
    reason = (
        f"what the networks give for an image changes by {gap:.2g} of its scale with the other"
        " images in its batch: units are matched for the given batches only, unless batch norms"
        " have running statistics"
    )
    return chain([batch], rest), {"features": reason}


class FeatureReader:
    """Reads taps of one model, batch by batch."""

    def __init__(self, model: nn.Module, where: Collection[Tap]) -> None:
        self._model = eval_copy(model)
        self._wanted: dict[str, list[Tap]] = {}
        for tap in where:
            self._wanted.setdefault(tap.value, []).append(tap)
        self._device = device_of(model)
        self._programs: dict[Shapes, torch.export.ExportedProgram] = {}
        self._specs: dict[Shapes, PermutationSpec] = {}

    def __call__(self, batch: Inputs) -> dict[Tap, list[Tensor]]:
        """The features of each tap, [units, samples]; several where its value is made repeatedly.

        Raises:
            ValueError: the model does not take the batch, or runs other operators on it.
        """
        inputs = positional(self._model, on_device(batch, self._device))
        found: dict[Tap, list[Tensor]] = {tap: [] for taps in self._wanted.values() for tap in taps}

        def take(name: str, value: Any) -> None:
            for tap in self._wanted.get(name, ()):
                here = tap if tap.lies_in(value) else self._moved(tap, inputs)
                found[tap].append(here.of(value))

        program = self._program(inputs)
        with torch.no_grad():
            _Run(program.graph_module, take).run(*_arguments(program, inputs))
        missing = [tap.value for tap, features in found.items() if not features]
        if missing:
            raise ValueError(
                f"the model's graph has no value {missing[0]!r}: the spec is that of another model"
            )
        return found

    def _program(self, inputs: tuple[Any, ...]) -> torch.export.ExportedProgram:
        """The model's graph for inputs of these shapes."""
        key = _shapes(inputs)
        if key not in self._programs:
            try:
                self._programs[key] = program_of(self._model, inputs, training=False)
            except ValueError:
                _check_batch(self._model, inputs)  # which may be why
                raise
        return self._programs[key]

    def _moved(self, tap: Tap, inputs: tuple[Any, ...]) -> Tap:
        """The tap where more images, or larger ones, lie on one dimension with its units.

        Raises:
            ValueError: its units are not in the value.
        """
        key = _shapes(inputs)
        if key not in self._specs:
            self._specs[key] = derive(self._model, inputs, strict=False)
        for feature in self._specs[key].features.get(tap.cluster[-1].groups[0], ()):
            if (feature.value, feature.dims, feature.others) == (tap.value, tap.dims, tap.others):
                parts = blocks(feature.axis)
                if tap.part < len(parts) and parts[tap.part].clusters == (tap.cluster,):
                    return replace(tap, axis=feature.axis)
        raise ValueError(
            f"value {tap.value!r} of the model's graph does not carry the units of"
            f" {root(tap.cluster)!r} as the spec says: the spec is that of another model"
        )


def _shapes(inputs: tuple[Any, ...]) -> Shapes:
    leaves = pytree.tree_leaves(inputs)
    return tuple((x.shape, x.dtype) for x in leaves if isinstance(x, Tensor))


def _check_batch(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    try:
        check_inputs("a batch", model, inputs)
    except ValueError as error:
        raise ValueError(f"batches must be inputs that the models accept: {error}") from error


def _arguments(program: torch.export.ExportedProgram, inputs: tuple[Any, ...]) -> Iterator[Any]:
    """What the graph takes: the model's tensors and the inputs."""
    given = iter(pytree.tree_leaves(inputs))
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            yield next(given)
        else:
            name = str(spec.target)
            yield program.state_dict.get(name, program.constants.get(name))


class _Run(fx.Interpreter):
    """Runs a graph, and the graphs in it, and shows each value to `take` as soon as it is made."""

    def __init__(
        self, module: nn.Module, take: Callable[[str, Any], None], prefix: str = ""
    ) -> None:
        super().__init__(module)
        self._take, self._prefix = take, prefix
        self._inner = {id(part): name for name, part in module.named_children()}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node.op == "call_function":
            self._take(f"{self._prefix}{node.name}", value)
        return value

    def call_function(self, target: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        args = tuple(
            _Run(arg, self._take, f"{self._prefix}{self._inner[id(arg)]}.").run
            if isinstance(arg, fx.GraphModule)
            else arg
            for arg in args
        )
        return super().call_function(target, args, dict(kwargs))
