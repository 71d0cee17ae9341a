"""Layerwise linear feature connectivity: from inner products to numbers for each layer.

A layer is linearly connected where `f(alpha) = c ((1 - alpha) f(A) + alpha f(B))`, c > 0, for every
image; f is its feature, flattened whole, neither pooled nor centred. Everything measured follows
from eight inner products per image and layer, so features are never cached. Two of them are of
differences, so that small numbers are not differences of large ones: the residual is accurate to
the rounding of the features themselves (about 1e-7 in float32), `cos_error` and the baseline to
that rounding times the residual, coefficients and cosines to the rounding of a sum.

A feature that is zero has no direction; the following conventions keep every layer's mean defined:
two zero features have cosine 1, coefficient 1 and residual 0, as they agree; a zero and a non-zero
feature have cosine 0, coefficient 0 and residual 1. A sum of two features that cancel up to
rounding counts as zero. The uses of these conventions are counted.

Reference:
    Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear Feature
    Connectivity, NeurIPS 2023. https://arxiv.org/abs/2307.08286
"""

# Shape suffixes: P = positions on the line, L = layers, N = images of a batch.

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llfc.connectivity.moments import Moments
from llfc.connectivity.probes import Probe
from llfc.results import Array, LayerProfile, averaged_layers, midpoint

QUANTITIES = ("cos_error", "coef", "residual", "cos_a", "cos_b", "baseline")
FLOAT32 = float(torch.finfo(torch.float32).eps)
FLOOR = 16  # roundings of the three inner products that a cosine is of
CANCELLED = 16  # roundings of the sum of squares that two features which cancel may leave


@dataclass(frozen=True)
class InnerProducts:
    """The inner products of a batch, in float64, with g = (1 - alpha) f(A) + alpha f(B).

    Attributes:
        aa: <f(A), f(A)>, shape [L, N].
        bb: <f(B), f(B)>, shape [L, N].
        ab: <f(A), f(B)>, shape [L, N].
        step: ||f(A) - f(B)||², shape [L, N].
        ff: <f(alpha), f(alpha)>, shape [P, L, N].
        fa: <f(alpha), f(A)>, shape [P, L, N].
        fb: <f(alpha), f(B)>, shape [P, L, N].
        gap: ||f(alpha) - g||², shape [P, L, N].
    """

    aa: Tensor
    bb: Tensor
    ab: Tensor
    step: Tensor
    ff: Tensor
    fa: Tensor
    fb: Tensor
    gap: Tensor

    @staticmethod
    def terms(alpha_P: Tensor, f: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Those of one layer by their definition, from features in float64.

        Args:
            alpha_P: positions from 0 to 1, shape [P], float64.
            f: the networks' features there, shape [P, N, D].
            a: A's, shape [1, N, D].
            b: B's.

        Returns:
            `aa`, `bb`, `ab` and `step`, shape [4, 1, N]; `ff`, `fa`, `fb` and `gap`, [4, P, N].
        """
        gap = f - torch.lerp(a, b, alpha_P[:, None, None])
        ends = (a * a, b * b, a * b, (a - b).square())
        between = (f * f, f * a, f * b, gap.square())
        of_ends, of_between = (
            torch.stack([products.sum(-1) for products in each]) for each in (ends, between)
        )
        return of_ends, of_between


def quantities(
    alpha_P: Tensor, products: InnerProducts, eps: float
) -> tuple[dict[str, Tensor], Tensor]:
    r"""What one batch says about each layer, image by image.

    With :math:`g = (1-\alpha) f(A) + \alpha f(B)`: `cos_error` 1 - cos(f, g), which is 2
    for opposite features; `coef` <f, g> / ||g||²; `residual` ||f - g|| / ||g||; `cos_a` and `cos_b`
    the cosine of f with f(A) and f(B) alone; `baseline` 1 - cos(f(A), f(B)).

    Args:
        alpha_P: positions, shape [P], float64.
        products: the batch's inner products.
        eps: rounding error of the features' type, relative to 1.

    Returns:
        Each of QUANTITIES by name, [P, L, N], `baseline` [L, N]; and how many definitions for zero
        features stood in, a count.
    """
    alpha = alpha_P[:, None, None]
    # Interpolated, which is exact at both ends and where A = B, as expanded squares are not.
    ag, bg = (
        torch.lerp(products.aa, products.ab, alpha),
        torch.lerp(products.ab, products.bb, alpha),
    )
    gg = torch.lerp(ag, bg, alpha)
    largest = (1 - alpha).square() * products.aa + alpha.square() * products.bb
    cancelled = (gg <= CANCELLED * eps * largest) & largest.isfinite()
    gg = torch.where(cancelled, 0.0, gg)
    fg = torch.lerp(products.fa, products.fb, alpha)
    ff = products.ff
    some = ~cancelled  # and not gg > 0, which would take what is not a number for zero
    both_zero = ((ff == 0) & ~some).double()
    found = {
        "cos_error": cosine_error(fg, ff, gg, products.gap),
        "coef": torch.where(some, fg / gg, both_zero),
        "residual": torch.where(some, (products.gap / gg).sqrt(), 1 - both_zero),
        "cos_a": cosine(products.fa, ff, products.aa),
        "cos_b": cosine(products.fb, ff, products.bb),
        "baseline": cosine_error(products.ab, products.aa, products.bb, products.step),
    }
    return found, (cancelled | (ff == 0)).sum()


def cosine(product: Tensor, squares: Tensor, other_squares: Tensor) -> Tensor:
    """Cosines from inner products; 1 for two zero features and 0 for a single one."""
    zero, other_zero = squares <= 0, other_squares <= 0
    defined = (zero & other_zero).to(product.dtype)
    # One root of the product, not two: the cosine of a feature with itself is then 1.
    found: Tensor = torch.where(
        zero | other_zero, defined, product / (squares * other_squares).sqrt()
    )
    return found


def cosine_error(product: Tensor, squares: Tensor, other_squares: Tensor, gap: Tensor) -> Tensor:
    """1 - cos of two vectors from <x, y>, ||x||², ||y||² and ||x - y||²; zeros as in `cosine`.

    Of vectors that are close, from (||x - y||² - (||x|| - ||y||)²) / (2 ||x|| ||y||), which keeps
    the digits that 1 - cos would lose.
    """
    x, y = squares.sqrt(), other_squares.sqrt()
    of_close = (gap - (x - y).square()).clamp(min=0) / (2 * x * y)
    return torch.where(gap < x * y / 4, of_close, 1 - cosine(product, squares, other_squares))


@dataclass(frozen=True)
class LayerMoments:
    """Running moments of every measure, from which the profiles of all layers follow.

    Attributes:
        moments: of each of QUANTITIES; empty before the first batch.
        zeros: how many definitions for zero features stood in.
    """

    moments: Mapping[str, Moments]
    zeros: Tensor | int = 0

    def update(self, alpha_P: Tensor, products: InnerProducts, eps: float) -> "LayerMoments":
        """These moments with one more batch in them."""
        values, zeros = quantities(alpha_P, products, eps)
        batch = {name: Moments.of(values[name]) for name in QUANTITIES}
        merged = {
            name: self.moments[name].merged(batch[name]) if self.moments else batch[name]
            for name in QUANTITIES
        }
        return LayerMoments(merged, self.zeros + zeros)

    def differ(self, other: "LayerMoments", layer: int) -> float:
        """The largest difference of a mean of that layer, over measures and positions.

        Args:
            other: of one layer, on the same images at the same positions.
            layer: that layer's place among these.
        """
        means = (
            (self.moments[k].mean[..., layer], other.moments[k].mean[..., 0]) for k in QUANTITIES
        )
        return max(float((mine - theirs).abs().max()) for mine, theirs in means)

    def profiles(self, probes: Sequence[Probe], alpha: Array) -> tuple[LayerProfile, ...]:
        """One profile per layer.

        Raises:
            ValueError: if a layer's features are not finite.
        """
        means = {name: self.moments[name].mean.cpu() for name in QUANTITIES}
        spreads = {name: self.moments[name].std().cpu() for name in ("cos_error", "baseline")}
        for name in ("coef", "residual"):
            _check_finite(means[name], [probe.name for probe in probes], alpha)
        return tuple(
            LayerProfile(
                name=probe.name,
                kind=probe.kind,
                depth=probe.depth,
                baseline=float(means["baseline"][layer]),
                baseline_std=float(spreads["baseline"][layer]),
                cos_error=means["cos_error"][:, layer].numpy(),
                cos_error_std=spreads["cos_error"][:, layer].numpy(),
                coef=means["coef"][:, layer].numpy(),
                residual=means["residual"][:, layer].numpy(),
                cos_a=means["cos_a"][:, layer].numpy(),
                cos_b=means["cos_b"][:, layer].numpy(),
            )
            for layer, probe in enumerate(probes)
        )


def summarise(
    layers: Sequence[LayerProfile], alpha: Array, eps: float = FLOAT32
) -> dict[str, float]:
    """The LLFC scalars of a trial, all at the position nearest to alpha = 1/2.

    `llfc_error_mean` is the mean `cos_error` over the layers that `averaged_layers` names, as are
    `llfc_baseline_mean`, `llfc_coef_mean` and `llfc_residual_mean` of their columns;
    `llfc_error_max` is the largest and `llfc_error_last` the last layer's `cos_error`, of all that
    are probed. `llfc_ratio_mean` is `llfc_error_mean` over `llfc_baseline_mean`: a mean of ratios
    would be ruled by the layers where A and B agree already, whose baselines are next to nothing.

    The ratio is 0 where both means are below FLOOR roundings: the cosine of two equal features is
    1 but for the rounding of its three inner products, each of which is a sum in the features' own
    type. A and B then agree, and so does the blend, as far as their type can tell.

    Args:
        layers: profiles in forward order.
        alpha: positions.
        eps: rounding error of the features' type, relative to 1.
    """
    at = midpoint(alpha)
    every = np.array([layer.cos_error[at] for layer in layers])
    counted = [layers[index] for index in averaged_layers([layer.kind for layer in layers])]
    error = float(np.mean([layer.cos_error[at] for layer in counted]))
    baseline = float(np.mean([layer.baseline for layer in counted]))
    return {
        "llfc_error_mean": error,
        "llfc_error_max": float(every.max()),
        "llfc_error_last": float(every[-1]),
        "llfc_baseline_mean": baseline,
        "llfc_ratio_mean": _ratio(error, baseline, FLOOR * eps),
        "llfc_coef_mean": float(np.mean([layer.coef[at] for layer in counted])),
        "llfc_residual_mean": float(np.mean([layer.residual[at] for layer in counted])),
    }


def _ratio(error: float, baseline: float, floor: float) -> float:
    if max(error, baseline) <= floor:
        return 0.0
    return error / baseline if baseline > 0 else math.inf


def _check_finite(means: Tensor, names: Sequence[str], alpha: Array) -> None:
    wrong = (~means.isfinite()).nonzero().tolist()
    if wrong:
        position, layer = wrong[0]
        raise ValueError(
            f"features of layer {names[layer]!r} are not finite at alpha {alpha[position]:g}"
        )
