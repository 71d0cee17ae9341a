"""REPAIR and RESCALE: give the channels of a blend the spread that those of its ends have.

Averaging the weights of two networks averages pre-activations that agree only in part, so their
variance collapses, the more so with depth. Both corrections follow each pre-activation by an affine
map, channel by channel, that brings it back to what lies between the two ends.

A pre-activation is the output of a batch norm; of another norm directly after a linear layer or a
convolution; or of a linear layer or a convolution that no norm directly follows. The head, the last
linear layer or convolution to run, is left as it is.
"""

# Shape suffixes: C = channels of a layer.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from llfc.connectivity.blend import Affine, Corrected, Corrections, Line
from llfc.connectivity.layerwise import Moments
from llfc.connectivity.probes import LINEAR
from llfc.connectivity.samples import Batches

NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
Seen = dict[str, list[Moments]]  # a module's name -> its channels' moments, one a call


def repair(line: Line, train: Batches | None, example: Tensor, at: Iterable[int]) -> Corrections:
    r"""Each channel's mean and standard deviation become the blend of those at the two ends.

    .. math:: \mu_\alpha = (1 - \alpha)\mu_A + \alpha\mu_B, \qquad
              \sigma_\alpha = (1 - \alpha)\sigma_A + \alpha\sigma_B

    of every pre-activation over the training data; see the module for what one is. One pass: each
    batch goes through A, through B and through each blend, whose layers are corrected towards the
    ends' own statistics on that very batch before the next layer is measured. What is then set is
    that of all batches together. It is exact on a single batch, and leaves a network alone that is
    blended with itself whatever the batches. A batch of a single image is left out. The ends, which
    are what is aimed at, are left as they are.

    On batch norms, this is `reset`, up to the norms' eps and one part in the number of samples a
    channel, where A's and B's running statistics are those of the data and their scales have one
    sign.

    Raises:
        ValueError: if there is no training data.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR: REnormalizing Permuted Activations for
        Interpolation Repair, ICLR 2023. https://arxiv.org/abs/2211.08403
    """
    return _renormalised(line, train, example, at, shift=True)


def rescale(line: Line, train: Batches | None, example: Tensor, at: Iterable[int]) -> Corrections:
    """Each channel's standard deviation becomes the blend of those at the two ends; no shift.

    As `repair`, but the channel is only multiplied, so its mean is scaled with it.

    Raises:
        ValueError: if there is no training data.

    Reference:
        Qu & Horváth, Rethinking Model Re-Basin and Linear Mode Connectivity, 2024.
        https://arxiv.org/abs/2402.05966
    """
    return _renormalised(line, train, example, at, shift=False)


@torch.no_grad()
def preactivations(model: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Names of the modules whose outputs are the pre-activations of `model`, in forward order."""
    runs: list[_Run] = []
    handles = [
        module.register_forward_hook(
            lambda module, inputs, output, name=name: runs.append(
                _Run(name, module, inputs[0], inputs[0]._version, output, output._version)
            )
        )
        for name, module in model.named_modules()
        if isinstance(module, (*LINEAR, *NORMS))
    ]
    try:
        model(example)
    finally:
        for handle in handles:
            handle.remove()
    linear = [run for run in runs if isinstance(run.module, LINEAR)]
    norms = [run for run in runs if isinstance(run.module, NORMS)]
    chosen = {
        run.name
        for run in norms
        if isinstance(run.module, _BatchNorm) or any(run.follows(layer) for layer in linear)
    }
    chosen |= {run.name for run in linear[:-1] if not any(norm.follows(run) for norm in norms)}
    return tuple(dict.fromkeys(run.name for run in runs if run.name in chosen))


@dataclass(frozen=True, eq=False)
class _Run:
    """A call of a module: its tensors, kept so that they can be told apart, and their versions."""

    name: str
    module: nn.Module
    read: Tensor
    read_version: int
    gave: Tensor
    gave_version: int

    def follows(self, other: "_Run") -> bool:
        """Whether this reads just what `other` gave, which nothing has changed in place since."""
        return self.read is other.gave and self.read_version == other.gave_version


def _renormalised(
    line: Line, train: Batches | None, example: Tensor, at: Iterable[int], *, shift: bool
) -> Corrections:
    correction = "repair" if shift else "rescale"
    if train is None:
        raise ValueError(f"correction {correction!r} needs train images, got None")
    names = preactivations(line.a, example)
    corrected = dict.fromkeys(at, Corrected())
    inner = [position for position in corrected if position in line.inner]
    ends: tuple[Seen, Seen] = ({}, {})
    blends: dict[int, Seen] = {position: {} for position in inner}
    for images, _ in train if inner and names else ():
        if len(images) > 1:
            of_a, of_b = (_seen(model, names, images) for model in (line.a, line.b))
            _pool(ends[0], of_a)
            _pool(ends[1], of_b)
            for position, pooled in blends.items():
                towards = _Towards(of_a, of_b, float(line.alpha[position]), shift)
                _pool(pooled, _seen(line.at(position), names, images, towards))
    if inner and names and not ends[0]:
        raise ValueError(f"correction {correction!r} needs train batches of at least 2 images")
    for position, pooled in blends.items():
        affines = _affines(line, pooled, ends, float(line.alpha[position]), shift)
        corrected[position] = Corrected(affines=affines)
    return Corrections(corrected, len(names))


@dataclass(frozen=True)
class _Towards:
    """What corrects a blend's layers on a batch towards the ends' on the same batch."""

    of_a: Seen
    of_b: Seen
    alpha: float
    shift: bool

    def __call__(self, name: str, call: int, seen: Moments, dim: int) -> Affine:
        ends = self.of_a[name][call], self.of_b[name][call]
        return affine(seen, *ends, self.alpha, shift=self.shift, dim=dim)


def affine(
    seen: Moments, of_a: Moments, of_b: Moments, alpha: float, *, shift: bool, dim: int
) -> Affine:
    """The map of channels with moments `seen` to the mean and deviation between the two ends'.

    A constant channel has no spread to scale: it is at most shifted.
    """
    target_C = torch.lerp(of_a.std(), of_b.std(), alpha)
    std_C = seen.std()
    constant = seen.constant()
    scale_C = torch.where(constant, 1.0, target_C / torch.where(constant, 1.0, std_C))
    if not shift:
        return Affine(scale_C, torch.zeros_like(scale_C), dim)
    # From the difference of the means, which is exactly zero where nothing is to be done.
    mean_C = torch.lerp(of_a.mean, of_b.mean, alpha)
    return Affine(scale_C, (mean_C - seen.mean) + seen.mean * (1 - scale_C), dim)


def _affines(
    line: Line, found: Seen, ends: tuple[Seen, Seen], alpha: float, shift: bool
) -> dict[str, Affine]:
    affines = {}
    for name, (seen,) in found.items():
        dim = channels(line.a.get_submodule(name))
        of_a, of_b = (end[name][0] for end in ends)
        affines[name] = affine(seen, of_a, of_b, alpha, shift=shift, dim=dim)
    return affines


def _pool(pooled: Seen, batch: Mapping[str, Sequence[Moments]]) -> None:
    """Add a batch's moments, all calls of a module together."""
    for name, calls in batch.items():
        for moments in calls:
            pooled[name] = [pooled[name][0].merged(moments) if name in pooled else moments]


def _seen(
    model: nn.Module, names: Sequence[str], images: Tensor, towards: _Towards | None = None
) -> Seen:
    """The moments of each module's channels on a batch, before `towards` corrects them."""
    seen: Seen = {name: [] for name in names}

    def hear(name: str, module: nn.Module, output: Tensor) -> Tensor:
        dim = channels(module)
        moments = channel_moments(output, dim)
        seen[name].append(moments)
        if towards is None:
            return output
        return towards(name, len(seen[name]) - 1, moments, dim)(output)

    with _hearing(model, names, hear):
        model(images)
    return seen


@contextmanager
def _hearing(
    model: nn.Module, names: Sequence[str], hear: Callable[[str, nn.Module, Tensor], Tensor]
) -> Iterator[None]:
    handles = []
    try:
        for name in names:
            handles.append(
                model.get_submodule(name).register_forward_hook(
                    lambda module, inputs, output, name=name: hear(name, module, output)
                )
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def channels(module: nn.Module) -> int:
    """Which dimension of the module's output is its channels."""
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return -len(module.normalized_shape)
    return -1 if isinstance(module, nn.Linear | nn.Bilinear) else 1


def channel_moments(output: Tensor, dim: int) -> Moments:
    """Mean and spread of each channel over all else, in float64."""
    others = [d for d in range(output.ndim) if d != dim % output.ndim]
    var_C, mean_C = torch.var_mean(output, others, correction=0)
    count = output.numel() // output.shape[dim]
    return Moments(count, mean_C.double(), var_C.double() * count)
