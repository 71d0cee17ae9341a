"""Every name under which a sweep is in MLflow, once: `sweeps.record` writes, `analysis.runs` reads.

A sweep is an experiment that is called as it is. A run of kind TRIAL is a trial, FINISHED with all
that it found, or FAILED with its REASON; the run of kind SWEEP has the sweep's report. In the
experiment NETWORKS every network has a run of kind NETWORK with metrics by epoch. Parameters are a
trial's fields (`analysis.runs.params`), scalars the numbers of `llfc.results.Connection`.
"""

from llfc.results import BARRIERS

# Tags of a run. SWEEP_NAME to DRIVER say what wrote it, DEVICE and NODE where it was measured,
# MADE_FROM, of the sweep's own run, what its report rests on.
KIND = "llfc.kind"
FINGERPRINT = "llfc.fingerprint"
# Of a trial's run: the ids of the runs of its networks.
NETWORK_A, NETWORK_B = "llfc.network_a", "llfc.network_b"
REASON = "llfc.reason"
SWEEP_NAME = "llfc.sweep"
COMMIT = "llfc.commit"
SOURCES = "llfc.sources"
VERSIONS = "llfc.versions"
COMMAND = "llfc.command"
DRIVER = "llfc.driver"
DEVICE = "llfc.device"
NODE = "llfc.node"
# Of the experiment: what the sweep asks, in a sentence.
QUESTION = "llfc.question"
# Of the experiment of a search: its axis, resolution and threshold, as JSON.
SEARCH = "llfc.search"
# Optimiser steps of an epoch, by which spawn epochs and spawn steps are placed on one axis.
STEPS = "llfc.steps_per_epoch"
MADE_FROM = "llfc.report"
# The tags that say what made a result.
MADE_BY = (COMMIT, SOURCES, VERSIONS, COMMAND)
# Where numbers come from, as columns of a frame: the name of a column, and its tag.
PROVENANCE = {
    "commit": COMMIT,
    "device": DEVICE,
    "versions": VERSIONS,
    "command": COMMAND,
}
# MLflow's own: what its pages show as the description, in Markdown, of an experiment or a run; and
# which of their two faces they show, training runs or prompts.
NOTE = "mlflow.note.content"
EXPERIMENT_KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"

# The experiment with a run for every network, of whichever sweeps; no sweep is called so.
NETWORKS = "networks"

# Kinds of runs, and MLflow's statuses of one.
TRIAL, SWEEP, NETWORK = "trial", "sweep", "network"
FINISHED, FAILED, RUNNING = "FINISHED", "FAILED", "RUNNING"

# Artifacts of a trial's run: everything found, as JSON; the tables as CSV; the figures as PNG.
CONNECTION = "connection.json"
TABLES, FIGURES = "tables", "figures"
# Tables that every trial has, beside those of `llfc.results.TABLES`.
CURVE_TABLE, LAYER_TABLE, LEFT_OUT_TABLE = "curve", "layers", "left_out"
# Metrics with steps: a position on the line, a layer. A scalar has no "/" in its name.
CURVE_SERIES, LAYER_SERIES = "curve", "layer"


def llfc_summary(what: str, place: str) -> str:
    """A profile of layers as one scalar.

    Args:
        what: `error`; `baseline`, of A's features and B's; or `ratio`, of the two.
        place: `mean`, `max` or `last` of the layers, or `depth_` and a relative depth.
    """
    return f"llfc_{what}_{place}"


# The pair of numbers that the study's question is about: a barrier, and an LLFC summary.
BARRIER = BARRIERS[BARRIERS.index("test_loss_chord")]
LLFC = llfc_summary("error", "mean")
# Further scalars that an answer rests on.
BASELINE = llfc_summary("baseline", "mean")
WEIGHT_COS = "weight_cos"
ENDS_ERROR = ("test_error_a", "test_error_b")
CHANCE_ERROR = "test_error_chance"
# The mean barrier of the error rate is Frankle et al.'s instability; and its standard error.
INSTABILITY = "test_error_mean"
INSTABILITY_SE = "test_error_mean_se"
STABLE = 0.02  # below which they call a pair stable
DIST_H, DIST_COM = "commutativity_dist_h_mean", "commutativity_dist_com_mean"
ADDITIVITY = "additivity_dist_mean"
# Weights by their angle, as a column of frames: their distance grows with the size of the networks.
WEIGHTS = "weight_cos_distance"


def series(group: str, column: str, *words: str) -> str:
    """The name of a metric that has a step for each row of a table or a profile.

    >>> series(CURVE_SERIES, "test_loss")
    'curve/test_loss'
    """
    return "/".join((group, column, *words))


def is_scalar(metric: str) -> bool:
    """Whether a metric is one number, rather than a series."""
    return "/" not in metric


def report_name(sweep: str) -> str:
    """What the run with the report of `sweep` is called."""
    return f"report of {sweep}"


def tagged(tag: str, value: str) -> str:
    """MLflow's filter for runs whose `tag` is `value`.

    >>> tagged(KIND, TRIAL)
    "tags.`llfc.kind` = 'trial'"
    """
    return f"tags.`{tag}` = '{value}'"


def in_status(status: str) -> str:
    """MLflow's filter for runs in `status`."""
    return f"status = '{status}'"
