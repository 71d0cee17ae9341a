"""Where a branch leaves its trunk: after so many epochs, or after so many optimiser steps.

What is a whole epoch is counted in epochs, so that one network has one name. How many steps an
epoch has is known once the data set is: of all of its training inputs, in batches of the recipe's
size, of which the last may be smaller.
"""

import dataclasses
from typing import TypeVar

from llfc.specs import Network, Pair, Recipe

Spawned = TypeVar("Spawned", Network, Pair)


def steps_per_epoch(recipe: Recipe, inputs: int) -> int:
    """Optimiser steps of an epoch over `inputs` training inputs."""
    return -(-inputs // recipe.batch_size)


def in_epochs(record: Spawned, inputs: int) -> Spawned:
    """`record`, with a spawn step that is a whole epoch's end as that spawn epoch.

    Args:
        record: a network or a pair.
        inputs: training inputs of its data set, limited as it says.

    Raises:
        ValueError: if the spawn step lies after the last step of the training.
    """
    if record.spawn_step is None:
        return record
    epochs, steps = record.recipe.epochs, steps_per_epoch(record.recipe, inputs)
    if record.spawn_step > epochs * steps:
        raise ValueError(
            f"spawn_step must be None or in [0, {epochs * steps}], as {epochs} epochs of {steps}"
            f" steps are trained, got {record.spawn_step}"
        )
    epoch, rest = divmod(record.spawn_step, steps)
    return record if rest else dataclasses.replace(record, spawn_epoch=epoch, spawn_step=None)


def fork_step(record: Network | Pair, inputs: int) -> int | None:
    """Steps of the trunk before the fork, counted from the start; None if there is no fork."""
    if record.spawn_epoch is None:
        return record.spawn_step
    return record.spawn_epoch * steps_per_epoch(record.recipe, inputs)
