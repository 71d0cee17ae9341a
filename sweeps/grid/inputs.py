"""The data sets that trials name: folders and texts by their content, each loaded once."""

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from llfc.data.datasets import Data, load_dataset, resolve_dataset
from llfc.networks.steps import in_epochs
from llfc.specs import Network, Trial
from sweeps.grid.settings import Settings

# A data set's name and how many of its training images are used.
DataKey = tuple[str, int | None]


def resolved(trials: Sequence[Trial], settings: Settings) -> list[Trial]:
    """The trials with their image folders and texts named by their content."""
    shown = sys.stderr.isatty()
    say = partial(print, file=sys.stderr)

    datasets = dict.fromkeys(trial.pair.dataset for trial in trials)
    names = {
        name: resolve_dataset(name, settings.cache, progress=shown, say=say) for name in datasets
    }
    pairs = (dataclasses.replace(t.pair, dataset=names[t.pair.dataset]) for t in trials)
    found = (dataclasses.replace(t, pair=pair) for t, pair in zip(trials, pairs, strict=True))
    return list(dict.fromkeys(found))  # two paths may be of one folder


def data_key(network: Network) -> DataKey:
    """By which `load_each` finds the data set that `network` is trained on."""
    return network.dataset, network.limit_train


def counted_in_epochs(
    trials: Sequence[Trial], settings: Settings
) -> tuple[list[Trial], Mapping[DataKey, Data]]:
    """The trials with every spawn step that is a whole epoch as that, and data sets read for it.

    Raises:
        ValueError: if a spawn step lies after the last step of the training.
    """
    read = load_each([trial for trial in trials if trial.pair.spawn_step is not None], settings)
    pairs = (
        t.pair
        if t.pair.spawn_step is None
        else in_epochs(t.pair, read[data_key(t.pair.a)].inputs_of(t.pair.a))
        for t in trials
    )
    found = (dataclasses.replace(t, pair=pair) for t, pair in zip(trials, pairs, strict=True))
    return list(dict.fromkeys(found)), read  # a step and an epoch may be one place


def load_each(
    trials: Iterable[Trial], settings: Settings, read: Mapping[DataKey, Data] | None = None
) -> dict[DataKey, Data]:
    """Every data set of the sweep, read once here: a missing one is said before anything runs.

    Those that are `read` already are taken as they are.
    """
    read = read or {}
    wanted = {data_key(trial.pair.a): trial.limit_test for trial in trials}
    return {
        (name, limit): read.get((name, limit))
        or load_dataset(
            name,
            data_root=settings.data_root,
            limit_train=limit,
            limit_test=limit_test,
            cache=settings.cache,
            progress=sys.stderr.isatty(),
        )
        for (name, limit), limit_test in wanted.items()
    }
