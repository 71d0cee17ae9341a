"""What each number is called for people, with its unit and its definition."""

from collections.abc import Mapping

import pandas as pd

from llfc.results import BARRIERS

# The pair of numbers that the study's question is about.
BARRIER = "test_loss_chord"
LLFC = "llfc_error_mean"

UNITS: Mapping[str, str] = {"loss": "nats", "error": "share of images"}
LABELS: Mapping[str, str] = {
    **{
        name: "{2} barrier of the {0} {1} ({3})".format(*name.split("_"), UNITS[name.split("_")[1]])
        for name in BARRIERS
    },
    "llfc_error_mean": "LLFC error (mean over layers)",
    "llfc_error_max": "LLFC error (worst layer)",
    "llfc_error_last": "LLFC error (last layer)",
    "llfc_baseline_mean": "baseline (mean over layers)",
    "llfc_ratio_mean": "LLFC error / baseline (mean over layers)",
}
DEFINITIONS: Mapping[str, str] = {
    "chord barrier": (
        "The largest height, over α in [0, 1], of the loss of the blend (1 − α) A + α B above the"
        " straight line between the losses of A and B. Zero means linearly connected."
    ),
    "LLFC error": (
        "1 − cos between a layer's features in the blend and the blend of that layer's features in"
        " A and in B, averaged over test images, at α = 1/2. Zero means that the features move"
        " linearly."
    ),
    "baseline": (
        "1 − cos between the layer's features in A and in B, averaged over test images. Where A and"
        " B agree already, a small LLFC error says nothing; so both are shown."
    ),
    "interval": (
        "95 % percentile bootstrap over seeds: whole seeds are drawn with replacement, each with"
        " all its trials, because trials of one seed share networks and are not independent."
    ),
}


def label(column: str) -> str:
    """The name of `column` for people, with its unit; the column's own name if it has no other.

    >>> label("test_error_mean"), label("matching_moved")
    ('mean barrier of the test error (share of images)', 'matching_moved')
    """
    return LABELS.get(column, column)


def number(value: float) -> str:
    """`value` to three digits, or a dash where there is none.

    >>> number(0.12345), number(float("nan")), number(1234.5)
    ('0.123', '–', '1.23e+03')
    """
    return "–" if pd.isna(value) else f"{value:.3g}"
