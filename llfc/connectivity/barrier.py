"""From a curve along the line to one number; one function per definition.

A curve is a loss, or an error rate, at positions `alpha` that ascend from 0 (A) to 1 (B).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from llfc.results import BARRIERS, METRICS, SPLITS, Array, midpoint

Values = Sequence[float] | Array


def chord_barrier(alpha: Values, curve: Values) -> float:
    r"""How far the curve rises above the straight line between its two ends.

    .. math:: \max_\alpha L(\alpha) - \bigl[(1 - \alpha) L(0) + \alpha L(1)\bigr]

    Zero means linearly connected; it is never negative, as both ends lie on the chord. NaN if the
    curve was not measured.

    Args:
        alpha: positions, shape [P].
        curve: loss, or error rate, at each position, shape [P].

    Raises:
        ValueError: if `alpha` does not run from 0 to 1; an end that was not evaluated would move
            the chord, and the result would still look plausible.

    Reference:
        Entezari, Sedghi, Saukh & Neyshabur, The Role of Permutation Invariance in Linear Mode
        Connectivity of Neural Networks, ICLR 2022. https://arxiv.org/abs/2110.06296

    >>> chord_barrier([0, 0.5, 1], [1.0, 4.0, 3.0])
    2.0
    """
    return float(excess(alpha, curve).max())


def mean_barrier(alpha: Values, curve: Values) -> float:
    r"""How far the curve rises above the mean of its two ends.

    .. math:: \max_\alpha L(\alpha) - \tfrac12 \bigl[L(0) + L(1)\bigr]

    At least half the difference of the ends, so positive on a straight line that is not level. On
    the error rate, it is the instability of Frankle et al., who call a network stable below 0.02.

    Reference:
        Frankle, Dziugaite, Roy & Carbin, Linear Mode Connectivity and the Lottery Ticket
        Hypothesis, ICML 2020. https://arxiv.org/abs/1912.05671
        Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023. https://arxiv.org/abs/2209.04836

    >>> mean_barrier([0, 0.5, 1], [1.0, 2.0, 3.0])
    1.0
    """
    _, values = _checked(alpha, curve)
    return float(values.max() - (values[0] + values[-1]) / 2)


def midpoint_gap(alpha: Values, curve: Values) -> float:
    r"""How far the curve lies above its chord in the middle; negative where it lies below.

    .. math:: L(\tfrac12) - \tfrac12 \bigl[L(0) + L(1)\bigr]

    Read at the position nearest to 1/2, against the chord there.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR: REnormalizing Permuted Activations for
        Interpolation Repair, ICLR 2023. https://arxiv.org/abs/2211.08403

    >>> midpoint_gap([0, 0.5, 1], [1.0, 1.0, 3.0])
    -1.0
    """
    return float(excess(alpha, curve)[midpoint(alpha)])


def excess_area(alpha: Values, curve: Values) -> float:
    """The area between the curve and its chord, by the trapezoidal rule; negative below the chord.

    >>> excess_area([0, 0.5, 1], [1.0, 4.0, 3.0])
    1.0
    """
    position, _ = _checked(alpha, curve)
    return float(np.trapezoid(excess(alpha, curve), position))


def excess(alpha: Values, curve: Values) -> Array:
    """The curve minus its chord at each position, shape [P]; exactly zero at both ends."""
    position, values = _checked(alpha, curve)
    # Differences first: a level curve then leaves no rounding error to pass for a barrier.
    rise: Array = (values - values[0]) - position * (values[-1] - values[0])
    rise[[0, -1]] = np.where(np.isnan(rise[[0, -1]]), np.nan, 0.0)
    return rise


def all_barriers(curve: Mapping[str, Array]) -> dict[str, float]:
    """Every one of `llfc.results.BARRIERS`: chord and mean, of loss and error, train and test."""
    definitions = {"chord": chord_barrier, "mean": mean_barrier}
    found = {}
    for name in BARRIERS:
        column, _, definition = name.rpartition("_")
        found[name] = definitions[definition](curve["alpha"], curve[column])
    return found


def curve_summaries(curve: Mapping[str, Array]) -> dict[str, float]:
    """The further scalars of each curve, by `{split}_{metric}_{which}`.

    `a`, `b` and `mid` are its values at A, at B and at the position nearest to 1/2; `gap` is
    `midpoint_gap` and `area` is `excess_area`.
    """
    alpha = curve["alpha"]
    found: dict[str, float] = {}
    for column in (f"{split}_{metric}" for split in SPLITS for metric in METRICS):
        values = curve[column]
        found |= {
            f"{column}_a": float(values[0]),
            f"{column}_b": float(values[-1]),
            f"{column}_mid": float(values[midpoint(alpha)]),
            f"{column}_gap": midpoint_gap(alpha, values),
            f"{column}_area": excess_area(alpha, values),
        }
    return found


def corrected_summaries(
    curve: Mapping[str, Array], corrected: Mapping[str, Array]
) -> dict[str, float]:
    """The scalars of each curve by both conventions of correction, as `{split}_{metric}_{which}`.

    `a_corrected`, `b_corrected`, `chord_corrected`, `mean_corrected` and `gap_corrected` are the
    values at A and B, the two barriers and the midpoint gap with the ends corrected in the same way
    as the networks between them, the convention of Garipov et al.; without `_corrected` the ends
    are as trained, the convention of Jordan et al. (REPAIR). `floor` is the larger of the chord
    barriers of A with itself and of B with itself, ends as trained, which are due to the correction
    alone: a barrier below it says nothing. If a correction does not change the ends, the
    conventions agree and the floor is 0.

    Args:
        curve: columns of CURVE, the ends as trained.
        corrected: the same columns, all networks corrected alike.

    Reference:
        Garipov, Izmailov, Podoprikhin, Vetrov & Wilson, Loss Surfaces, Mode Connectivity, and Fast
        Ensembling of DNNs, NeurIPS 2018. https://arxiv.org/abs/1802.10026
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR, ICLR 2023.
        https://arxiv.org/abs/2211.08403
    """
    alpha = curve["alpha"]
    found: dict[str, float] = {}
    for column in (f"{split}_{metric}" for split in SPLITS for metric in METRICS):
        values = corrected[column]
        found |= {
            f"{column}_a_corrected": float(values[0]),
            f"{column}_b_corrected": float(values[-1]),
            f"{column}_chord_corrected": chord_barrier(alpha, values),
            f"{column}_mean_corrected": mean_barrier(alpha, values),
            f"{column}_gap_corrected": midpoint_gap(alpha, values),
            f"{column}_floor": float(np.maximum((values - curve[column])[[0, -1]].max(), 0)),
        }
    return found


def lemma1_slack(error: Values) -> float:
    """How far the worst error on the line stays below the sum of the ends' errors.

    If LLFC holds at the output layer, every network on the line errs only where A or B errs, so
    the slack is not negative. Where it is negative, LLFC does not hold there.

    Args:
        error: error rate at each position from A to B, all corrected alike, shape [P].

    Reference:
        Zhou et al., Going Beyond Linear Mode Connectivity, NeurIPS 2023, Lemma 1.
        https://arxiv.org/abs/2307.08286

    >>> lemma1_slack([0.25, 0.375, 0.25])
    0.125
    """
    values = np.asarray(error, dtype=np.float64)
    return float(values[0] + values[-1] - values.max())


def _checked(alpha: Values, curve: Values) -> tuple[Array, Array]:
    position = np.asarray(alpha, dtype=np.float64)
    values = np.asarray(curve, dtype=np.float64)
    if position.shape != values.shape or position.ndim != 1 or not len(position):
        raise ValueError(
            f"alpha and curve must have one shape [P], got {position.shape} and {values.shape}"
        )
    if not (position[0] == 0 and position[-1] == 1 and (np.diff(position) > 0).all()):
        raise ValueError(f"alpha must ascend from 0 to 1, got {position.tolist()}")
    return position, values
