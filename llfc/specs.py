"""What is run: recipes, networks, pairs and trials; and how each is named.

Plain frozen records, validated when made. A record's name is its fingerprint, computed from all
its fields, so neither a changed default nor a changed learning rate can pass for an old run.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llfc.names import lookup

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
NORMS = ("batch", "group", "layer", "none", "rms")
PRECISIONS = ("bfloat16", "float32")
POSITIONS = ("learned", "rotary")
# What an architecture may be asked for beside width and norm, if it knows of it.
OPTIONS = ("depth", "heads", "positions")

# Version numbers of the methods, raised when a change moves numbers: of how networks are trained;
# of how symmetries are derived and permutations found; of how pairs are measured. The name of
# anything cached contains those it depends on, so that outdated networks, permutations or results
# are not reused.
TRAINING, MATCHING, MEASURING = 4, 2, 2

# The metadata of a field that its record did not have at first. At its default it is left out of
# the fingerprint, and records written without it are read: what was cached before is still found.
ADDED_LATER: Mapping[str, bool] = {"added_later": True}

# Of a name in such a field only what follows its @ counts, which says what is in a file.
BY_CONTENT: Mapping[str, bool] = {"by_content": True}

DEFAULT_MEASURES: tuple[str, ...] = ("conditions",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: images per step; the last, smaller batch of an epoch is used too.
        optimizer: one of OPTIMIZERS.
        lr: peak learning rate.
        momentum: momentum of SGD; the others ignore it.
        weight_decay: L2 penalty on every parameter; for adamw decoupled decay, by which every step
            multiplies each parameter by 1 - lr * weight_decay.
        schedule: learning-rate schedule after the warm-up, one of SCHEDULES.
        milestones: fractions of the epochs after which the step schedule divides the learning rate
            by ten.
        warmup: fraction of the epochs over which the learning rate rises linearly from zero.
        augment: whether training images are randomly cropped (padding 4) and flipped horizontally.
        precision: precision of matrix products and convolutions during training (torch.autocast),
            one of PRECISIONS; weights, reductions and all measurements are float32.
        nesterov: whether SGD's momentum is Nesterov's; the others ignore it.
        clip: largest Euclidean norm of all gradients together, to which they are scaled down before
            a step; None for no clipping.
    """

    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[float, ...] = ()
    warmup: float = 0.0
    augment: bool = False
    precision: str = "float32"
    nesterov: bool = dataclasses.field(default=False, metadata=ADDED_LATER)
    clip: float | None = dataclasses.field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        for name in ("lr", "momentum", "weight_decay", "warmup"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(map(float, self.milestones)))
        if self.clip is not None:
            object.__setattr__(self, "clip", float(self.clip))
        _at_least("epochs", self.epochs, 1)
        _at_least("batch_size", self.batch_size, 1)
        lookup("optimizer", self.optimizer, dict.fromkeys(OPTIMIZERS))
        lookup("schedule", self.schedule, dict.fromkeys(SCHEDULES))
        lookup("precision", self.precision, dict.fromkeys(PRECISIONS))
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, got {self.lr}")
        for name in ("momentum", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be a number >= 0, got {self.weight_decay}")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise ValueError(f"clip must be a positive number or None, got {self.clip}")
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0, got 0.0")
        if any(not 0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones must be fractions in (0, 1), got {self.milestones}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must be strictly increasing, got {self.milestones}")

    def unused(self) -> dict[str, str]:
        """The fields that have no effect given the others, and why.

        >>> Recipe(epochs=1, batch_size=1, optimizer="sgd", lr=0.1).unused()
        {'milestones': "only schedule 'step' has milestones, got 'constant'"}
        """
        found = {}
        if self.optimizer != "sgd":
            for name in ("momentum", "nesterov"):
                found[name] = f"only optimizer 'sgd' has {name}, got {self.optimizer!r}"
        if self.schedule != "step":
            found["milestones"] = f"only schedule 'step' has milestones, got {self.schedule!r}"
        return found


@dataclass(frozen=True, kw_only=True)
class Network:
    """One trained network: everything that determines its weights.

    A root has an initialisation and a data order of its own, drawn from its `seed` and `member`. A
    branch shares its root's first `spawn_epoch` epochs, or `spawn_step` optimiser steps, weights
    and optimiser state included, and then sees data in an order of its own. The root that simply
    continues is the other branch, so it needs no record of its own.

    One with `weights` was trained elsewhere, and is as its checkpoint says; its recipe is UNKNOWN.
    """

    architecture: str
    width: float
    norm: str
    dataset: str
    limit_train: int | None
    seed: int
    recipe: Recipe
    member: int = 0
    spawn_epoch: int | None = None
    spawn_step: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    depth: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    heads: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    positions: str | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    weights: str | None = dataclasses.field(default=None, metadata={**ADDED_LATER, **BY_CONTENT})

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", _width(self.width))
        lookup("norm", self.norm, dict.fromkeys(NORMS))
        for name in ("depth", "heads"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        if self.positions is not None:
            lookup("positions", self.positions, dict.fromkeys(POSITIONS))
        if self.limit_train is not None:
            _at_least("limit_train", self.limit_train, 1)
        _at_least("seed", self.seed, 0)
        if self.spawn_epoch is not None and not 0 <= self.spawn_epoch <= self.recipe.epochs:
            raise ValueError(
                f"spawn_epoch must be None or in [0, epochs={self.recipe.epochs}],"
                f" got {self.spawn_epoch}"
            )
        if self.spawn_step is not None:
            _at_least("spawn_step", self.spawn_step, 0)
            if self.spawn_epoch is not None:
                raise ValueError(
                    "spawn_epoch and spawn_step both say where a pair forks: one of them must be"
                    f" None, got {self.spawn_epoch} and {self.spawn_step}"
                )

    @property
    def options(self) -> dict[str, Any]:
        """Those of OPTIONS in which it is not as its architecture usually is."""
        given = {name: getattr(self, name) for name in OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def root(self) -> "Network":
        """The network whose first epochs this one shares: itself, if it is no branch."""
        return dataclasses.replace(self, spawn_epoch=None, spawn_step=None)

    @property
    def is_branch(self) -> bool:
        """Whether it shares a root's beginning."""
        return self.spawn_epoch is not None or self.spawn_step is not None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two networks that share a trunk, or two that are trained independently.

    Attributes:
        architecture: one of ARCHITECTURES, or a function of one's own as FILE.py:FUNCTION or
            MODULE:FUNCTION (docs/plugins.md); so are a data set, a matching and a correction.
        width: multiple of the architecture's standard width; a fraction as 0.0625 or 1/16.
        norm: normalisation layers, one of NORMS: with statistics over a batch, over each image's
            channels and positions (one group), over the channels at each position, none at all, or
            the root mean square over the channels at each position (transformers and the mixer).
        dataset: one of DATASETS, imagefolder:PATH or text:PATH; of tokens with options after it, as
            in king-james#context=32.
        limit_train: number of training images, or sequences of tokens, to use; None for all.
        seed: random seed of initialisations, data orders and everything else that is drawn; one
            pair per seed.
        spawn_epoch: number of epochs of the shared trunk, before the pair forks; None for two
            independently trained networks, or where spawn_step says it.
        spawn_step: the same in optimiser steps from the start, in place of spawn_epoch; what is a
            whole number of epochs is known by its spawn_epoch.
        recipe: how both networks are trained.
        depth: number of blocks, of a transformer or a mixer; None for the architecture's own.
        heads: number of heads at width 1, among which a transformer's channels are divided, so that
            wider ones have more heads of the same size; None for the architecture's own.
        positions: how a gpt knows them, one of POSITIONS: a learned vector is added at each, or
            queries and keys are rotated; None for the architecture's own.
        checkpoints: files of trained networks of this architecture (.safetensors, their index.json
            of shards, or .pt with tensors alone): every pair of them is measured, and none is
            trained; None to train.
    """

    architecture: str
    width: float
    norm: str
    dataset: str
    limit_train: int | None
    seed: int
    spawn_epoch: int | None
    recipe: Recipe
    spawn_step: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    depth: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    heads: int | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    positions: str | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    checkpoints: tuple[str, ...] | None = dataclasses.field(
        default=None, metadata={**ADDED_LATER, **BY_CONTENT}
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", _width(self.width))
        _ = self.b  # the networks' own rules are the pair's rules

    @property
    def a(self) -> Network:
        """The trunk continued to the end; alpha = 0."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        checkpoints = fields.pop("checkpoints")
        if checkpoints is not None:
            fields |= {"weights": checkpoints[0], "seed": 0}
        return Network(**fields).root

    @property
    def b(self) -> Network:
        """The branch, or the independent network; alpha = 1."""
        if self.checkpoints is not None:
            return dataclasses.replace(self.a, weights=self.checkpoints[1])
        forked = dataclasses.replace(
            self.a, spawn_epoch=self.spawn_epoch, spawn_step=self.spawn_step
        )
        return forked if forked.is_branch else dataclasses.replace(self.a, member=1)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One measurement: a pair, how it is aligned, and what is measured on the line between them.

    Attributes:
        pair: the two networks.
        matching: how B's units are permuted to align with A's, one of MATCHERS.
        correction: how activation statistics are corrected in every blend, and in A and B wherever
            their features are compared with a blend's; one of CORRECTIONS.
        alphas: number of positions on the line, both ends included; odd, so that 1/2 is one.
        probes: names of the modules whose features are compared; None for the architecture's
            default ones.
        measures: further measurements, beyond the curves and the LLFC errors along the line, each
            at an extra cost: none, or any of MEASURES.
        limit_test: number of test images to use; None for all.
        limit_measured: number of training images that matching, correction and the training curve
            use; None for all that the pair was trained on.
        task: what is measured, one of TASKS: the data set's own (None), or, for tokens, the same
            where layers are compared by whole sequences instead of by tokens; or a plug-in's.
    """

    pair: Pair
    matching: str = "none"
    correction: str = "none"
    alphas: int = 25
    probes: tuple[str, ...] | None = None
    measures: tuple[str, ...] = DEFAULT_MEASURES
    limit_test: int | None = None
    limit_measured: int | None = None
    task: str | None = dataclasses.field(default=None, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        # The order in which measures are named does not matter.
        object.__setattr__(self, "measures", tuple(sorted(set(self.measures))))
        if self.alphas < 3 or self.alphas % 2 == 0:
            raise ValueError(f"alphas must be odd and at least 3, got {self.alphas}")
        if self.limit_test is not None:
            _at_least("limit_test", self.limit_test, 1)
        if self.limit_measured is not None:
            _at_least("limit_measured", self.limit_measured, 1)


def fingerprint(record: Recipe | Network | Pair | Trial) -> str:
    """Twelve hex digits that name `record`: equal records have equal names, in every process.

    All fields count, including those of nested records and those left at their defaults; only a
    field that was added later counts from its first other value on (see ADDED_LATER).
    """
    method = [TRAINING, MATCHING, MEASURING] if isinstance(record, Trial) else TRAINING
    content = [method, type(record).__name__, _counted(record)]
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _counted(value: Any) -> Any:
    """`value` as plain values, without the later fields that are at their defaults."""
    if not dataclasses.is_dataclass(value):
        return value
    return {
        field.name: _content(given) if "by_content" in field.metadata else _counted(given)
        for field in dataclasses.fields(value)
        for given in [getattr(value, field.name)]
        if not ("added_later" in field.metadata and given == field.default)
    }


def _content(named: str | tuple[str, ...]) -> Any:
    """What follows the last @ in each name."""
    if isinstance(named, tuple):
        return [_content(name) for name in named]
    return named.rpartition("@")[2]


def permutation_name(trial: Trial) -> str:
    """Everything that determines the permutation of `trial`, apart from the trained weights."""
    return f"{fingerprint(trial.pair)}-{trial.matching}-{trial.limit_measured}-{MATCHING}"


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _width(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"width must be a positive number, got {value}")
    return float(value)


# Of a network that was trained elsewhere nobody knows how; it is not shown either.
UNKNOWN = Recipe(epochs=1, batch_size=2, optimizer="sgd", lr=1.0)
