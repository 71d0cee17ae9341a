"""What is run: recipes, networks, pairs and trials; and what each is called.

Plain frozen records, validated when made. A record's name is its fingerprint, computed from all
its fields, so neither a changed default nor a changed learning rate can pass for an old run.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from llfc.names import lookup

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine", "step")
NORMS = ("batch", "group", "layer", "none")
PRECISIONS = ("bfloat16", "float32")

# Count the changes of method that move numbers: of how networks are trained; of how symmetries are
# derived and permutations found; of how pairs are measured. What is cached has in its name the
# counts of all that decides it, so old networks, permutations or results are then not reused.
TRAINING, MATCHING, MEASURING = 4, 2, 2

DEFAULT_MEASURES: tuple[str, ...] = ("conditions",)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: images per step; the last, smaller batch of an epoch is used too.
        optimizer: what takes the steps, one of OPTIMIZERS.
        lr: learning rate at its peak.
        momentum: of SGD; Adam ignores it.
        weight_decay: L2 penalty on every parameter.
        schedule: of the learning rate after the warm-up, one of SCHEDULES.
        milestones: shares of the epochs after which schedule step divides the learning rate by ten.
        warmup: share of the epochs over which the learning rate rises linearly from zero.
        augment: random crop (pad 4) and horizontal flip.
        precision: of products and convolutions while training (torch.autocast), one of PRECISIONS;
            weights, sums and all measurements are float32.
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

    def __post_init__(self) -> None:
        for name in ("lr", "momentum", "weight_decay", "warmup"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(map(float, self.milestones)))
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
        if any(not 0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones must be shares in (0, 1), got {self.milestones}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, got {self.milestones}")

    def unused(self) -> dict[str, str]:
        """The fields that decide nothing beside the others, and why.

        >>> Recipe(epochs=1, batch_size=1, optimizer="sgd", lr=0.1).unused()
        {'milestones': "only schedule 'step' has milestones, got 'constant'"}
        """
        found = {}
        if self.optimizer != "sgd":
            found["momentum"] = f"only optimizer 'sgd' has momentum, got {self.optimizer!r}"
        if self.schedule != "step":
            found["milestones"] = f"only schedule 'step' has milestones, got {self.schedule!r}"
        return found


@dataclass(frozen=True, kw_only=True)
class Network:
    """One trained network: all that decides its weights.

    A root (`spawn_epoch=None`) has an initialisation and a data order of its own, drawn from its
    `seed` and `member`. A branch (`spawn_epoch=k`) shares its root's first k epochs, weights and
    optimiser state included, and then sees data in an order of its own. The root that simply
    continues is the other branch, so it needs no record of its own.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", _width(self.width))
        lookup("norm", self.norm, dict.fromkeys(NORMS))
        if self.limit_train is not None:
            _at_least("limit_train", self.limit_train, 1)
        _at_least("seed", self.seed, 0)
        if self.spawn_epoch is not None and not 0 <= self.spawn_epoch <= self.recipe.epochs:
            raise ValueError(
                f"spawn_epoch must be None or in [0, epochs={self.recipe.epochs}],"
                f" got {self.spawn_epoch}"
            )

    @property
    def root(self) -> "Network":
        """The network whose first epochs this one shares: itself, if it shares none."""
        return dataclasses.replace(self, spawn_epoch=None)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two networks that share a trunk, or two that are trained independently.

    Attributes:
        architecture: one of ARCHITECTURES.
        width: multiple of the architecture's usual width; fractions allowed.
        norm: what normalises features, one of NORMS: statistics over a batch, over each image's
            channels and positions, over the channels of each position, or nothing.
        dataset: one of DATASETS, or imagefolder:PATH.
        limit_train: number of training images; None for all.
        seed: of initialisations, data orders and whatever else is drawn; a seed makes a pair.
        spawn_epoch: epochs of the shared trunk; None for two independent networks.
        recipe: how both are trained.
    """

    architecture: str
    width: float
    norm: str
    dataset: str
    limit_train: int | None
    seed: int
    spawn_epoch: int | None
    recipe: Recipe

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", _width(self.width))
        _ = self.b  # the networks' own rules are the pair's rules

    @property
    def a(self) -> Network:
        """The trunk continued to the end; alpha = 0."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Network(**fields | {"spawn_epoch": None})

    @property
    def b(self) -> Network:
        """The branch, or the independent network; alpha = 1."""
        if self.spawn_epoch is None:
            return dataclasses.replace(self.a, member=1)
        return dataclasses.replace(self.a, spawn_epoch=self.spawn_epoch)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One measurement: a pair, how it is brought into one basis, and what is measured on the line.

    Attributes:
        pair: the two networks.
        matching: how B's units are permuted towards A's, one of MATCHERS.
        correction: what is done to the statistics of each blend, and of A and B where their
            features are compared with its, one of CORRECTIONS.
        alphas: number of positions on the line, odd, both ends included.
        probes: names of the modules to probe; None for the architecture's usual ones.
        measures: what is measured beyond the walk along the line, at a cost: none, or of
            MEASURES.
        limit_test: number of test images used; None for all.
        limit_measured: number of the training images that matching, correction and the training
            curve use; None for all that the pair was trained on.
    """

    pair: Pair
    matching: str = "none"
    correction: str = "none"
    alphas: int = 25
    probes: tuple[str, ...] | None = None
    measures: tuple[str, ...] = DEFAULT_MEASURES
    limit_test: int | None = None
    limit_measured: int | None = None

    def __post_init__(self) -> None:
        # What is measured does not depend on the order in which it is named.
        object.__setattr__(self, "measures", tuple(sorted(set(self.measures))))
        if self.alphas < 3 or self.alphas % 2 == 0:
            raise ValueError(f"alphas must be odd and at least 3, got {self.alphas}")
        if self.limit_test is not None:
            _at_least("limit_test", self.limit_test, 1)
        if self.limit_measured is not None:
            _at_least("limit_measured", self.limit_measured, 1)


def fingerprint(record: Recipe | Network | Pair | Trial) -> str:
    """Twelve hex digits that name `record`: equal records, equal name, in every process.

    All fields count, those of nested records too, defaulted or not.
    """
    method = [TRAINING, MATCHING, MEASURING] if isinstance(record, Trial) else TRAINING
    content = [method, type(record).__name__, dataclasses.asdict(record)]
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def permutation_name(trial: Trial) -> str:
    """What decides the permutation that `trial` asks for, but for the networks' own numbers."""
    return f"{fingerprint(trial.pair)}-{trial.matching}-{trial.limit_measured}-{MATCHING}"


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def _width(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"width must be a positive number, got {value}")
    return float(value)
