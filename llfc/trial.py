"""One trial of a study: two networks from the store, and what `connect` finds between them."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from llfc.connection import BATCH_SIZE, connect
from llfc.connectivity.probes import choose_probes
from llfc.connectivity.samples import Samples
from llfc.data.batches import CropFlip
from llfc.data.datasets import Data, limited
from llfc.matching.cached import cached_permutation
from llfc.matching.matchers import known_to
from llfc.modules import copy_of
from llfc.networks.code import share_code
from llfc.networks.history import training_table
from llfc.networks.spawning import load_network, untrained
from llfc.networks.steps import in_epochs
from llfc.networks.store import Store
from llfc.networks.training import check_batches
from llfc.results import TRAINING, Connection, Table
from llfc.seeds import stream
from llfc.specs import ALL, Trial, fingerprint
from llfc.symmetry import permutation_spec
from llfc.symmetry.canonical import canonical
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.transform.misalignment import check_group, misaligned
from llfc.tasks import measured_as

# By form, architecture, width, norm, options, input shape and number of classes.
_specs: dict[tuple[Any, ...], PermutationSpec] = {}


def run_trial(
    trial: Trial, store: Store, dataset: Data, *, device: torch.device | str = "cpu"
) -> Connection:
    """What `trial` finds, with the networks that are in `store`.

    The permutation is left there too, for the trials that differ in what comes after it.

    Args:
        trial: which pair, brought into one basis how, measured how.
        store: where the pair's two networks are, and permutations are cached.
        dataset: the data set that the pair names, limited as pair and trial say; of its training
            inputs those are used that at least one of the two networks was trained on.
        device: where to compute.

    Raises:
        ValueError: if a network is not in the store, or the trial cannot be measured; the message
            begins with the trial's name.
    """
    trial = replace(trial, pair=in_epochs(trial.pair, dataset.inputs_of(trial.pair.a)))
    share_code(trial, store)
    a, b = (
        _in_form(trial, load_network(network, store, dataset), dataset).to(device)
        for network in (trial.pair.a, trial.pair.b)
    )
    dataset = dataset.to(device).seen_by(trial.pair.a, trial.pair.b)
    dataset = limited(dataset, "train", trial.limit_measured, "limit_measured")
    spec = _spec(a, trial, dataset)
    task = measured_as(dataset.task, trial.task)
    train = dataset.batches("train", BATCH_SIZE)
    images = (images for images, _ in train)
    try:
        aligned = cached_permutation(trial, a, b, spec, images, store, task)
        found = connect(
            a,
            b,
            test=dataset.batches("test", BATCH_SIZE),
            train=train,
            statistics=_statistics(trial, dataset),
            task=task,
            matching=misaligned(
                aligned, spec, trial.misalignment, trial.misaligned, trial.pair.seed
            ),
            correction=trial.correction,
            alphas=trial.alphas,
            probes=trial.probes,
            measures=trial.measures,
            spec=spec,
            seed=trial.pair.seed,
        )
    except ValueError as error:
        raise ValueError(f"trial {fingerprint(trial)}: {error}") from error
    training = _training(trial, store)
    return replace(found, tables={**found.tables, **training})


def _training(trial: Trial, store: Store) -> dict[str, Table]:
    """The table of how both networks were trained; none where the store does not know."""
    networks = {"a": trial.pair.a, "b": trial.pair.b}
    parts = {name: training_table(network, store) for name, network in networks.items()}
    rows = {name: len(part["epoch"]) for name, part in parts.items() if part}
    if not rows:
        return {}
    columns = {c: np.concatenate([parts[name][c] for name in rows]) for c in TRAINING}
    return {
        "training": {"network": [n for n, count in rows.items() for _ in range(count)], **columns}
    }


def _statistics(trial: Trial, dataset: Data) -> Samples:
    """The training images as a batch of training sees them: of all classes, cropped and flipped.

    Otherwise even a network blended with itself would be worse, as its own statistics are of such
    batches. A folder's images come class by class. Jordan et al. (REPAIR, ICLR 2023) reset on
    augmented images too.
    """
    count, seed = dataset.count("train"), trial.pair.seed
    order = torch.randperm(count, generator=stream(seed, "order/statistics"))
    crop_flip = None
    if trial.pair.recipe.augment:
        crop_flip = CropFlip.draw(count, stream(seed, "augment/statistics"))
    return dataset.batches("train", BATCH_SIZE, order=order, crop_flip=crop_flip)


def check_trial(trial: Trial, dataset: Data) -> None:
    """See that the network of `trial` takes the data and has the probes, before it is trained.

    Raises:
        ValueError: if a probe's name or pattern matches nothing, a batch is too small, there are
            fewer training images than are to be measured on or they cannot be divided as the pair
            says, the task is none of the data set's, or one that the matcher is not for, or the
            network has no such form, or no such group of units.
    """
    known_to(trial.matching, measured_as(dataset.task, trial.task))
    model = untrained(trial.pair.a, dataset)
    if trial.pair.checkpoints is None:
        for network in (trial.pair.a, trial.pair.b):
            check_batches(model, dataset.inputs_of(network), network.recipe.batch_size)
    images, _ = next(iter(dataset.batches("test", 2)))
    model = _in_form(trial, model.eval(), dataset)
    choose_probes(model, images, trial.probes)
    if trial.misaligned != ALL:
        check_group(_spec(model, trial, dataset), trial.misaligned)
    seen = dataset.seen_by(trial.pair.a, trial.pair.b)
    limited(seen, "train", trial.limit_measured, "limit_measured")


def _in_form(trial: Trial, model: nn.Module, dataset: Data) -> nn.Module:
    """A network, on the CPU, in the form in which `trial` measures it.

    Raises:
        ValueError: if it has no such form; the message begins with the trial's name.
    """
    if trial.form == "trained":
        return model
    try:
        return canonical(model, dataset.example())
    except ValueError as error:
        raise ValueError(f"trial {fingerprint(trial)}: {error}") from error


def _spec(a: nn.Module, trial: Trial, dataset: Data) -> PermutationSpec:
    """The symmetry of A, derived once in a process for all networks that differ in weights alone.

    On the CPU, so that it is the same one whatever the device.
    """
    network, shape = trial.pair.a, dataset.input_shape
    made = trial.form, network.architecture, network.width, network.norm, *network.options.items()
    plan = (*made, shape, dataset.num_classes)
    if plan not in _specs:
        _specs[plan] = permutation_spec(copy_of(a).cpu(), dataset.example())
    return _specs[plan]
