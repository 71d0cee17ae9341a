"""How a network is trained."""

import dataclasses
import math
from dataclasses import dataclass

from llfc.names import lookup
from llfc.specs.fields import ADDED_LATER, at_least

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
PRECISIONS = ("bfloat16", "float32")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples per step, images or sequences of tokens; the last, smaller batch of an
            epoch is used too.
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
        at_least("epochs", self.epochs, 1)
        at_least("batch_size", self.batch_size, 1)
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


# Of a network that was trained elsewhere nobody knows how; it is not shown either.
UNKNOWN = Recipe(epochs=1, batch_size=2, optimizer="sgd", lr=1.0)
