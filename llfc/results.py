"""The results on the line between two networks; the one definition of their column names.

alpha = 0 is network A and alpha = 1 is network B, permuted. P is the number of positions.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llfc.codec import from_plain, to_json
from llfc.names import lookup
from llfc.oneline import with_its_type

Array = NDArray[np.float64]
# Columns of equal length by name; a column of text is a list.
Table = Mapping[str, Array | list[str]]

SPLITS = ("train", "test")
METRICS = ("loss", "error")
CURVE = ("alpha", "train_loss", "train_error", "test_loss", "test_error")
# Columns of a layer's profile that have one value per alpha.
PROFILE = ("cos_error", "cos_error_std", "coef", "residual", "cos_a", "cos_b")
# The barriers; "chord" and "mean" are the two definitions of llfc.connectivity.barrier.
BARRIERS = tuple(
    f"{split}_{metric}_{kind}"
    for split in SPLITS
    for metric in METRICS
    for kind in ("chord", "mean")
)
# The tables other than the curve and the layers' profiles, and their columns. Which of them exist
# depends on the measures taken. A column of text says what its row is about.
# Columns of how a network was trained, and by how many inputs of a split it is judged at most.
TRAINING = (
    "epoch", "loss", "train_loss", "train_error", "test_loss", "test_error", "judged", "lr"
)  # fmt: skip
MOST_JUDGED = 1000
TABLES: Mapping[str, Sequence[str]] = {
    # The test loss above its chord = d - j - e; see llfc.connectivity.logits.
    "logits": ("alpha", "excess", "d", "j", "e"),
    # Of the networks a and b, as they were trained; see llfc.networks.history.
    "training": ("network", *TRAINING),
    # On the test split: a, b, the blend nearest to alpha = 1/2 and the mean of a's and b's logits.
    "ensemble": ("network", "loss", "error", "ece"),
    # At random points as far from an end as the midpoint is; see random_direction.
    "random_direction": ("start", "loss", "error"),
    # Of the pairs "matched", "shuffled" and "unmatched"; see conditions.
    "additivity": ("layer", "pair", "dist", "cos", "coef", "signs"),
    "commutativity": ("layer", "pair", "dist_com", "dist_w", "dist_h"),
    "raw_commutativity": ("layer", "pair", "dist_com", "dist_w", "dist_h"),
    "norms": ("layer", "pair", "dist", "cos", "coef"),
    # Between A, B and the blend nearest to alpha = 1/2; see similarity.
    "similarity": ("layer", "variance_ratio", "cka_ab", "cka_a", "cka_b"),
    # `into` is a or b: the network whose layers after the probe are run; see stitching.
    "stitching": ("layer", "into", "loss", "error"),
    # `rest` is a or b: the network that all other layers are from; see layer_barriers.
    "layer_barriers": ("layer", "rest", "loss", "error", "loss_excess", "error_excess"),
    # At the blend nearest to alpha = 1/2, and how many images per bin; see per_image.
    "samples": ("layer", "image", "cos_error", "baseline", "coef"),
    "histogram": ("layer", "low", "high", "cos_error", "baseline"),
}


# Kinds of probed layers: the output of a linear map; that of an activation function or a residual
# block; an output after which there is no linear map; none of these.
LAYER_KINDS = ("pre-activation", "post-activation", "logits", "other")
# Kinds of what a result does not cover; see LeftOut.
LEFT_OUT = ("probe", "group", "parameter", "correction", "definition")
# The scalar that counts the entries of each kind.
LEFT_OUT_COUNTS = {kind: f"left_out_{kind}" for kind in LEFT_OUT}


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerProfile:
    """How linear one layer's features are on the line, averaged over test images.

    Attributes:
        name: the probed module's name in the network.
        cos_error: mean over images of 1 - cos(f(blend), interpolated feature), shape [P].
        cos_error_std: its standard deviation over images, shape [P].
        baseline: mean over images of 1 - cos(f(A), f(B)); without any blend, how far A and B
            disagree.
        baseline_std: its standard deviation over images.
        coef: mean of <f(blend), interpolated> / ||interpolated||², shape [P].
        residual: mean of ||f(blend) - interpolated|| / ||interpolated||, shape [P].
        cos_a: mean cosine between the blend's feature and A's, shape [P].
        cos_b: mean cosine between the blend's feature and B's, shape [P].
        kind: one of LAYER_KINDS.
        depth: the fraction of the network's linear maps that have run by then, in [0, 1]: the same
            for a pre-activation and its activation, 1 for the logits.
    """

    name: str
    cos_error: Array
    cos_error_std: Array
    baseline: float
    baseline_std: float
    coef: Array
    residual: Array
    cos_a: Array
    cos_b: Array
    kind: str = "other"
    depth: float = 1.0

    def __post_init__(self) -> None:
        lookup("kind of layer", self.kind, dict.fromkeys(LAYER_KINDS))


@dataclass(frozen=True)
class LeftOut:
    """Something that a result does not cover, although a reader might expect it to.

    Attributes:
        kind: one of LEFT_OUT: a module that was not probed, a group of units for which no feature
            was read, a parameter that the spec keeps fixed or does not contain, a layer that the
            correction skipped, or a convention that replaced an undefined value.
        name: the module, group, tensor or definition.
        reason: why it was left out, in one line.
    """

    kind: str
    name: str
    reason: str

    def __post_init__(self) -> None:
        lookup("kind of what was left out", self.kind, dict.fromkeys(LEFT_OUT))


@dataclass(frozen=True, kw_only=True, eq=False)
class Connection:
    """What was measured on the line between two networks.

    Attributes:
        curve: the columns of CURVE, each of shape [P]; errors are rates in [0, 1]; the ends are A
            and B as trained.
        barriers: a number for each name in BARRIERS, of these curves.
        layers: one profile per probed layer, in forward order, with A and B corrected in the same
            way as the blends.
        summaries: further scalars by name: midpoint gaps, barriers between corrected ends (see
            `llfc.connectivity.barrier.corrected_summaries`), LLFC summaries, checks.
        matching: the matcher's record: objective before and after, units moved, seconds, ...
        tables: further results of the measures, by name; TABLES has their columns.
        left_out: what was not probed, read, moved, corrected or defined, and why.
    """

    curve: Mapping[str, Array]
    barriers: Mapping[str, float]
    layers: tuple[LayerProfile, ...]
    summaries: Mapping[str, float] = field(default_factory=dict)
    matching: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def scalars(self) -> dict[str, float]:
        """Every scalar under its column name; the matcher's are prefixed with `matching_`.

        Those of LEFT_OUT_COUNTS count the entries of `left_out` of each kind.
        """
        matching = {f"matching_{name}": value for name, value in self.matching.items()}
        kinds = Counter(entry.kind for entry in self.left_out)
        left_out = {name: float(kinds[kind]) for kind, name in LEFT_OUT_COUNTS.items()}
        return {**self.barriers, **self.summaries, **matching, **left_out}


def midpoint(alpha: Sequence[float] | Array) -> int:
    """The index of the position nearest to 1/2; of two equally near, the first.

    >>> midpoint([0, 0.25, 0.75, 1])
    1
    """
    return int(np.abs(np.asarray(alpha) - 0.5).argmin())


def averaged_layers(kinds: Sequence[str]) -> list[int]:
    """The indices of the layers over which means over layers are taken, given all layers' kinds.

    Those after an activation function or a residual block, and those of no known kind: one per
    depth, so that families of networks are comparable. Not the logits, which have a scalar of their
    own, nor pre-activations, which are probed in some families only, and of which the first is
    linear by definition. If there are no such layers, the pre-activations; if there are none of
    these either, all.

    >>> averaged_layers(["pre-activation", "post-activation", "logits"])
    [1]
    """
    for wanted in (("post-activation", "other"), ("pre-activation",)):
        found = [index for index, kind in enumerate(kinds) if kind in wanted]
        if found:
            return found
    return list(range(len(kinds)))


def connection_to_json(found: Connection) -> str:
    """`found` as JSON text; numbers survive exactly."""
    return to_json(found)


def connection_from_json(text: str) -> Connection:
    """The connection that `connection_to_json` wrote.

    Raises:
        ValueError: in one line, if it is anything else: an unknown table or column, a value of the
            wrong type, columns of different lengths.
    """
    try:
        found = from_plain(Connection, json.loads(text))
        _check(found)
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a connection ({with_its_type(error)})") from None
    return found


def _check(found: Connection) -> None:
    """Check that columns and tables are known, and a table's columns of equal length."""
    if missing := {*CURVE} - {*found.curve} or {*BARRIERS} - {*found.barriers}:
        raise ValueError(f"no {min(missing)}")
    _check_columns(found.curve, CURVE)
    for layer in found.layers:
        profile = {name: getattr(layer, name) for name in PROFILE}
        _check_columns({"alpha": found.curve["alpha"], **profile}, ("alpha", *PROFILE))
    for name, table in found.tables.items():
        _check_columns(table, lookup("table", name, TABLES))
    for name in (*found.barriers, *found.summaries, *found.matching):
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not the name of a number")


def _check_columns(table: Table, names: Sequence[str]) -> None:
    if further := table.keys() - {*names}:
        raise ValueError(f"{min(further)!r} is not a column here")
    if len({len(column) for column in table.values()}) > 1:
        raise ValueError("columns of different lengths")
