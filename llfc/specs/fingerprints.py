"""The names of records: digests of all their fields and of the versions of the methods."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from llfc.names import divided
from llfc.specs.network import Network
from llfc.specs.pair import Pair
from llfc.specs.recipe import Recipe
from llfc.specs.trial import Trial

# Version numbers of the methods, raised when a change moves numbers: of how networks are trained;
# of how symmetries are derived and permutations found; of how pairs are measured. The name of
# anything cached contains those it depends on, so that outdated networks, permutations or results
# are not reused.
TRAINING, MATCHING, MEASURING = 4, 2, 3
# The same for single matchers, where what the others find did not move.
REVISED: Mapping[str, int] = {"learned": 2, "orthogonal": 1, "orthogonal-activations": 1}


def fingerprint(record: Recipe | Network | Pair | Trial) -> str:
    """Twelve hex digits that name `record`: equal records have equal names, in every process.

    All fields count, including those of nested records and those left at their defaults; only a
    field that was added later counts from its first other value on (see ADDED_LATER).
    """
    method: Any = TRAINING
    if isinstance(record, Trial):
        method = [TRAINING, MATCHING, MEASURING, *_revision(record)]
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
    form = [] if trial.form == "trained" else [trial.form]
    task = [trial.task] if trial.task is not None and "@" in trial.task else []  # of one's own
    pair, matching, limit = fingerprint(trial.pair), trial.matching, trial.limit_measured
    return "-".join(map(str, [pair, matching, limit, *form, *task, MATCHING, *_revision(trial)]))


def _revision(trial: Trial) -> list[int]:
    """The version of the trial's matcher, if it was revised by itself."""
    name = divided(trial.matching)[0]
    return [REVISED[name]] if name in REVISED else []
