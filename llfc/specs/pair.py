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
        activation: function of a perceptron's hidden units, one of ACTIVATIONS; None for the
            architecture's own.
        checkpoints: files of trained networks of this architecture (.safetensors, their index.json
            of shards, or .pt with tensors alone): every pair of them is measured, and none is
            trained; None to train.
        shared_data: share of the training data that the two networks have in common, from 0 to 1.
            Each is trained on half of the data, whatever the share: A on one half, drawn with the
            seed, B on that share of A's half and for the rest on the other. The trunk of a spawned
            pair is trained on A's half, and B goes on with its own data. What is measured on
            training data is measured on what at least one of the two was trained on. 1 is the same
            half for both, None all of the data.
        split_by: what shared_data is a share of, one of SPLITTINGS: of samples, where each half has
            every class's share, and tokens are divided in contiguous blocks of text; or of classes,
            where each network sees half of the classes, of each as many images as the smallest has.
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
    activation: str | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    checkpoints: tuple[str, ...] | None = dataclasses.field(
        default=None, metadata={**ADDED_LATER, **BY_CONTENT}
    )
    shared_data: float | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    split_by: str = dataclasses.field(default="samples", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", positive_width(self.width))
        if self.shared_data is not None:
            object.__setattr__(self, "shared_data", float(self.shared_data))
        _ = self.b  # the networks' own rules are the pair's rules

    @property
    def a(self) -> Network:
        """The trunk continued to the end; alpha = 0."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        checkpoints = fields.pop("checkpoints")
        if checkpoints is not None:
            fields |= {"weights": checkpoints[0], "seed": 0}
        if self.shared_data is not None:
            fields["shared_data"] = 1.0
        return Network(**fields).root

    @property
    def b(self) -> Network:
        """The branch, or the independent network; alpha = 1."""
        if self.checkpoints is not None:
            return dataclasses.replace(self.a, weights=self.checkpoints[1])
        forked = dataclasses.replace(
            self.a,
            spawn_epoch=self.spawn_epoch,
            spawn_step=self.spawn_step,
            shared_data=self.shared_data,
        )
        return forked if forked.is_branch else dataclasses.replace(forked, member=1)
