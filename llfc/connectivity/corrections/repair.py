"""REPAIR and RESCALE: give the channels of a blend the spread that those of its ends have.

Averaging the weights of two networks averages pre-activations that agree only in part, so their
variance collapses, the more so with depth. Both corrections follow each pre-activation by an affine
map, channel by channel, that brings it back to what lies between the two ends. `preactivations`
says what a pre-activation is.
"""

# Shape suffixes: C = channels of a layer.

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llfc.connectivity.blend import Affine, Corrected, Corrections, Line
from llfc.connectivity.corrections.preactivations import preactivations
from llfc.connectivity.moments import Moments
from llfc.connectivity.samples import Batches
from llfc.modules.inputs import Inputs, count_of, run
from llfc.modules.reals import lost
from llfc.modules.sites import Interposed, Site, Sites

Seen = dict[str, list[Moments]]  # a layer's name -> its channels' moments, one per call


def repair(line: Line, train: Batches | None, example: Inputs, at: Iterable[int]) -> Corrections:
    r"""Each channel's mean and standard deviation become the blend of those at the two ends.

    .. math:: \mu_\alpha = (1 - \alpha)\mu_A + \alpha\mu_B, \qquad
              \sigma_\alpha = (1 - \alpha)\sigma_A + \alpha\sigma_B

    of every pre-activation over the training data. One pass: each
    batch goes through A, through B and through each blend, whose layers are corrected towards the
    ends' own statistics on that very batch before the next layer is measured. What is then set is
    that of all batches together. It is exact on a single batch, and leaves a network alone that is
    blended with itself whatever the batches. A batch of a single image is left out. The ends, which
    are what is aimed at, are left as they are.

    On batch norms, this is `reset`, up to the norms' eps and one part in the number of samples per
    channel, where A's and B's running statistics are those of the data and their scales have one
    sign.

    Costs one pass over the training data of A, of B and of each network on the line. Use it beside
    `none`: it lowers most barriers, and asks another question than the plain line does.

    Raises:
        ValueError: if there is no training data.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR: REnormalizing Permuted Activations for
        Interpolation Repair, ICLR 2023. https://arxiv.org/abs/2211.08403
    """
    return _renormalised(line, train, example, at, shift=True)


def rescale(line: Line, train: Batches | None, example: Inputs, at: Iterable[int]) -> Corrections:
    """Each channel's standard deviation becomes the blend of those at the two ends; no shift.

    As `repair`, but the channel is only multiplied, so its mean is scaled with it.

    Costs what `repair` does. Use it to tell what the spread does from what the mean does.

    Raises:
        ValueError: if there is no training data.

    Reference:
        Qu & Horváth, Rethinking Model Re-Basin and Linear Mode Connectivity, 2024.
        https://arxiv.org/abs/2402.05966
    """
    return _renormalised(line, train, example, at, shift=False)


def _renormalised(
    line: Line, train: Batches | None, example: Inputs, at: Iterable[int], *, shift: bool
) -> Corrections:
    correction = "repair" if shift else "rescale"
    if train is None:
        raise ValueError(f"correction {correction!r} needs train images, got None")
    sites, left_out = preactivations(line.a, example)
    corrected = dict.fromkeys(at, Corrected())
    blends: dict[int, Seen] = {p: {} for p in corrected if p in line.inner and sites.at}
    ends: tuple[Seen, Seen] = ({}, {})
    for images, _ in train if blends else ():
        if count_of(images) > 1:
            of_a, of_b = (_seen(model, sites, images) for model in (line.a, line.b))
            _pool(ends[0], of_a)
            _pool(ends[1], of_b)
            for position, pooled in blends.items():
                towards = _Towards(of_a, of_b, float(line.alpha[position]), shift)
                _pool(pooled, _seen(line.at(position), sites, images, towards))
    if blends and not ends[0]:
        raise ValueError(f"correction {correction!r} needs train batches of at least 2 images")
    for position, pooled in blends.items():
        towards = _Towards(*ends, float(line.alpha[position]), shift)
        affines = {name: towards(name, 0, seen) for name, (seen,) in pooled.items()}
        corrected[position] = Corrected(affines=affines)
    return Corrections(corrected, sites, len(sites.names), left_out)


@dataclass(frozen=True)
class _Towards:
    """What corrects a blend's layers towards the ends'."""

    of_a: Seen
    of_b: Seen
    alpha: float
    shift: bool

    def __call__(self, name: str, call: int, seen: Moments) -> Affine:
        ends = self.of_a[name][call], self.of_b[name][call]
        return affine(seen, *ends, self.alpha, shift=self.shift)


def affine(seen: Moments, of_a: Moments, of_b: Moments, alpha: float, *, shift: bool) -> Affine:
    """The map of channels with moments `seen` to the mean and deviation between the two ends'.

    A constant channel has no spread to scale: it is at most shifted.
    """
    target_C = torch.lerp(of_a.std(), of_b.std(), alpha)
    std_C = seen.std()
    constant = seen.constant()
    scale_C = torch.where(constant, 1.0, target_C / torch.where(constant, 1.0, std_C))
    if not shift:
        return Affine(scale_C, torch.zeros_like(scale_C))
    # From the difference of the means, which is exactly zero where nothing is to be done.
    mean_C = torch.lerp(of_a.mean, of_b.mean, alpha)
    return Affine(scale_C, (mean_C - seen.mean) + seen.mean * (1 - scale_C))


def _pool(pooled: Seen, batch: Mapping[str, Sequence[Moments]]) -> None:
    """Add a batch's moments, all calls of a layer together."""
    for name, calls in batch.items():
        for moments in calls:
            pooled[name] = [pooled[name][0].merged(moments) if name in pooled else moments]


@torch.no_grad()
def _seen(model: nn.Module, sites: Sites, images: Inputs, towards: _Towards | None = None) -> Seen:
    """The moments of each pre-activation on a batch, before `towards` corrects them."""
    seen: Seen = {name: [] for name in sites.names}

    def receive(site: Site, output: Tensor) -> Tensor:
        moments = channel_moments(output, site.dim)
        calls = seen[site.name]
        calls.append(moments)
        if towards is None:
            return output
        return towards(site.name, len(calls) - 1, moments)(output, site.dim)

    with Interposed(sites, model, receive):
        run(model, images)
    return seen


def channel_moments(output: Tensor, dim: int) -> Moments:
    """Mean and spread of each channel over all else, in float64."""
    others = [d for d in range(output.ndim) if d != dim % output.ndim]
    var_C, mean_C = (found.double() for found in torch.var_mean(output, others, correction=0))
    # A variance that vanishes beside its mean is rounding; where the mean does as well, it is not.
    wrong_C = lost(var_C) & (lost(mean_C.square()) | ~var_C.isfinite())
    if output.dtype != torch.float64 and wrong_C.any():
        exact = torch.var_mean(output.double(), others, correction=0)
        var_C, mean_C = (
            torch.where(wrong_C, *each) for each in zip(exact, (var_C, mean_C), strict=True)
        )
    count = output.numel() // output.shape[dim]
    return Moments(count, mean_C, var_C * count)
