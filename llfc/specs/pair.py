"""Two networks: forked from a trunk, trained independently, or trained elsewhere."""

import dataclasses
from dataclasses import dataclass

from llfc.specs.fields import ADDED_LATER, BY_CONTENT, positive_width
from llfc.specs.network import Network
from llfc.specs.recipe import Recipe


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
        object.__setattr__(self, "width", positive_width(self.width))
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
