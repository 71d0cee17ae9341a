"""One trained network, and all that determines its weights."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from llfc.names import lookup
from llfc.specs.fields import ADDED_LATER, BY_CONTENT, at_least, positive_width
from llfc.specs.recipe import Recipe

NORMS = ("batch", "group", "layer", "none", "rms")
POSITIONS = ("learned", "rotary")
ACTIVATIONS = ("relu", "tanh", "gelu")
# What the training data of a pair that shares a part of them are divided by.
SPLITTINGS = ("samples", "classes")
# What an architecture may be asked for beside width and norm, if it knows of it.
OPTIONS = ("depth", "heads", "positions", "activation")


@dataclass(frozen=True, kw_only=True)
class Network:
    """One trained network: everything that determines its weights.

    A root has an initialisation and a data order of its own, drawn from its `seed` and `member`. A
    branch shares its root's first `spawn_epoch` epochs, or `spawn_step` optimiser steps, weights
    and optimiser state included, and then sees data in an order of its own. The root that simply
    continues is the other branch, so it needs no record of its own.

    One with `shared_data` is trained on half of the data; that share of it is in the half that its
    pair's A is trained on, which itself has 1. See `Pair`, and `llfc.data.splits.Splits.seen_by`.

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
    activation: str | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    weights: str | None = dataclasses.field(default=None, metadata={**ADDED_LATER, **BY_CONTENT})
    shared_data: float | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    split_by: str = dataclasses.field(default="samples", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", positive_width(self.width))
        lookup("norm", self.norm, dict.fromkeys(NORMS))
        for name in ("depth", "heads"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 1)
        for name, choices in (("positions", POSITIONS), ("activation", ACTIVATIONS)):
            if getattr(self, name) is not None:
                lookup(name, getattr(self, name), dict.fromkeys(choices))
        if self.limit_train is not None:
            at_least("limit_train", self.limit_train, 1)
        at_least("seed", self.seed, 0)
        lookup("split_by", self.split_by, dict.fromkeys(SPLITTINGS))
        if self.shared_data is not None:
            object.__setattr__(self, "shared_data", float(self.shared_data))
            if not 0 <= self.shared_data <= 1:
                raise ValueError(f"shared_data must be in [0, 1] or None, got {self.shared_data}")
        elif self.split_by != "samples":
            raise ValueError(f"split_by {self.split_by} needs shared_data, got None")
        if self.spawn_epoch is not None and not 0 <= self.spawn_epoch <= self.recipe.epochs:
            raise ValueError(
                f"spawn_epoch must be None or in [0, epochs={self.recipe.epochs}],"
                f" got {self.spawn_epoch}"
            )
        if self.spawn_step is not None:
            at_least("spawn_step", self.spawn_step, 0)
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
        if not self.is_branch:
            return self
        whole = None if self.shared_data is None else 1.0
        return dataclasses.replace(self, spawn_epoch=None, spawn_step=None, shared_data=whole)

    @property
    def is_branch(self) -> bool:
        """Whether it shares a root's beginning."""
        return self.spawn_epoch is not None or self.spawn_step is not None
