"""The readable name of each number, with its unit and its definition."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.runs.schema import CHANCE_ERROR, DIST_COM, DIST_H, WEIGHTS, llfc_summary
from llfc.results import BARRIERS

# Where a profile is read, between the first layer after an activation at 0 and the last at 1, where
# it is `last`.
DEPTHS = (0.25, 0.5, 0.75)

# What is nearer to 0 is shown as 0: features are float32 numbers.
FEATURE_ROUNDING = 1e-7
MOST_DIGITS = 6

# What a profile of layers is summed up to, and over which of them.
SUMMED = {"error": "LLFC error", "baseline": "baseline", "ratio": "LLFC error / baseline"}
SUMMED_OVER = {
    **{"mean": "mean over layers", "max": "worst layer", "last": "last layer"},
    **{f"depth_{depth}": f"at depth {depth}" for depth in DEPTHS},
}
UNITS: Mapping[str, str] = {"loss": "nats", "error": "share of samples"}
OWN_UNIT = "in its own unit"  # of a regression, and of a task of one's own
LABELS: Mapping[str, str] = {
    **{
        name: "{2} barrier of the {0} {1} ({3})".format(*name.split("_"), UNITS[name.split("_")[1]])
        for name in BARRIERS
    },
    **{
        llfc_summary(what, place): f"{thing} ({where})"
        for what, thing in SUMMED.items()
        for place, where in SUMMED_OVER.items()
    },
    llfc_summary("ratio", "mean"): f"{SUMMED['ratio']} (sums over layers)",
    WEIGHTS: "1 − cos of the weights",
    DIST_H: "Dist_H (mean over layers)",
    DIST_COM: "Dist_com (mean over layers)",
}
DEFINITIONS: Mapping[str, str] = {
    "chord barrier": (
        "The largest height, over α in [0, 1], of the loss of the blend (1 − α) A + α B above the"
        " straight line between the losses of A and B. Zero means linearly connected. If a"
        " correction recomputes the statistics of the blends, A and B keep those that they were"
        " trained with (REPAIR's convention); the barrier with A and B corrected too (the"
        " convention of Garipov et al.) is among each trial's metrics, under the name that ends in"
        " _corrected."
    ),
    "LLFC error": (
        "1 − cos between a layer's features in the blend and the blend of that layer's features in"
        " A and in B, averaged over test images, at α = 1/2. Zero means that the features move"
        " linearly. A and B are corrected in the same way as the blend."
    ),
    "mean over layers": (
        "Over the layers after an activation function or a residual block, each counted once. The"
        " logits are reported apart, as `last`, and pre-activations, which are probed in some"
        " networks only, are in no mean: the first of them is linear by definition."
    ),
    "baseline": (
        "1 − cos between the layer's features in A and in B, averaged over test images. If A and B"
        " agree to begin with, a small LLFC error says nothing; so both are shown."
    ),
    "correlation within a seed": (
        "How closely two numbers go together over the trials of one seed, across the grid; averaged"
        " over seeds on Fisher's z scale. Trials of one seed share networks and are not"
        " independent; seeds are."
    ),
    "within a cell": (
        "A cell of the grid is one setting of everything but the seed: within it, trials differ by"
        " chance alone. A correlation over the grid may be entirely between cells."
    ),
    "95 % interval": (
        "Student's t interval over the seeds' own correlations (Ibragimov & Müller 2010). In"
        " simulated sweeps whose trials share networks it covers the true value in 93 to 98 % of"
        " them, from three seeds on. It is for new seeds of the same grid. For other families of"
        " networks the families would be the sample, and its coverage is far lower. The"
        " correlation over all trials has no interval: none that was tried covers it as often."
    ),
}


def units(trials: pd.DataFrame | None) -> Mapping[str, str]:
    """The units of the loss and of the error of `trials`; of classes where chance is known.

    A number that no trial has is in no store, and then no column of a frame.
    """
    known = [True] if trials is None else trials.reindex(columns=[CHANCE_ERROR]).notna().to_numpy()
    if np.all(known):
        return UNITS
    some = np.any(known)
    return {what: f"{unit}, or {OWN_UNIT}" if some else OWN_UNIT for what, unit in UNITS.items()}


def of_classes(trials: pd.DataFrame) -> bool:
    """Whether all of `trials` have error rates and losses in nats."""
    return units(trials) == UNITS


def label(column: str, trials: pd.DataFrame | None = None) -> str:
    """The name of `column` for people, with its unit; the column's own name if it has no other.

    Of classes, if no `trials` say otherwise.

    >>> label("test_error_mean"), label("matching_moved")
    ('mean barrier of the test error (share of samples)', 'matching_moved')
    >>> label("test_loss_chord", pd.DataFrame({"test_error_chance": [float("nan")]}))
    'chord barrier of the test loss (in its own unit)'
    """
    text = LABELS.get(column, column)
    unit = _unit(column)
    if unit and text.endswith(f"({UNITS[unit]})"):
        text = f"{text.removesuffix(f'({UNITS[unit]})')}({units(trials)[unit]})"
    return text


def phrase(column: str) -> str:
    """The name of `column` inside a sentence: with an article, without its unit.

    >>> phrase("test_loss_chord")
    'the chord barrier of the test loss'
    """
    return f"the {label(column).removesuffix(f' ({UNITS.get(_unit(column))})')}"


def heading(column: str, trials: pd.DataFrame | None = None) -> str:
    """The name of `column` at the beginning of a line.

    >>> heading("test_loss_chord")
    'Chord barrier of the test loss (nats)'
    """
    text = label(column, trials)
    return text[0].upper() + text[1:]


def three_digits(value: float) -> str:
    """`value` to three digits, or a dash where there is none; rounding errors of float32 are 0.

    >>> [three_digits(value) for value in (0.12345, float("nan"), 1234.5, -2e-9)]
    ['0.123', '–', '1.23e+03', '0']
    """
    if pd.isna(value):
        return "–"
    return "0" if abs(value) < FEATURE_ROUNDING else f"{value:.3g}"


def decimals(value: float, digits: int = 2) -> str:
    """`value` to so many decimals, to more where it would read as 1 and is below; 0 has no sign.

    >>> decimals(0.825), decimals(0.9973), decimals(1 - 1e-15), decimals(-0.0004, 3)
    ('0.82', '0.997', '1.00', '0.000')
    """
    below = abs(value) < 1 - FEATURE_ROUNDING
    while digits < MOST_DIGITS and below and float(f"{abs(value):.{digits}f}") == 1:
        digits += 1
    text = f"{value:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def mean_sd(mean: float, sd: float) -> str:
    """A mean and its spread, both to the spread's second digit; the mean alone without a spread.

    >>> mean_sd(1.4362, 0.0182), mean_sd(0.5, float("nan")), mean_sd(3e-5, 1e-6)
    ('1.436 ± 0.018', '0.5', '3e-05 ± 1e-06')
    """
    if pd.isna(sd):
        return three_digits(mean)
    digits = 1 - math.floor(math.log10(sd)) if sd > 0 else 3
    if digits > 5:
        return f"{three_digits(mean)} ± {three_digits(sd)}"
    return f"{mean:.{max(digits, 0)}f} ± {sd:.{max(digits, 0)}f}"


def _unit(column: str) -> str:
    return next((word for word in column.split("_") if word in UNITS), "")
