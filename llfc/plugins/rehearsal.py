"""Before anything is trained, plug-ins do on a few inputs all that they will be asked for."""

import numpy as np
import torch
from torch import Tensor, nn

from llfc.connection import connect
from llfc.data.datasets import Data, limited, of_plugin
from llfc.matching.matchers import known_to, match
from llfc.names import readable
from llfc.networks.architectures import architecture_of
from llfc.networks.code import plugins_of
from llfc.networks.spawning import untrained
from llfc.networks.training import initial_state, train
from llfc.oneline import with_its_type
from llfc.results import Array
from llfc.specs import Network, Trial
from llfc.symmetry import permutation_spec
from llfc.symmetry.spec import Permutation
from llfc.symmetry.transform import Transform
from llfc.tasks import as_task, measured_as

FEW = 16  # inputs of each split
SEED = 0


def rehearse(trial: Trial, dataset: Data) -> None:
    """Build and train both networks of `trial` for a step, match and connect them; all of it twice.

    Nothing is done if `trial` names no plug-in.

    Args:
        trial: with the full names of its plug-ins, whose code is known in this process.
        dataset: its data set.

    Raises:
        ValueError: in one line, if a plug-in raises, returns what it must not, or does not do the
            same twice.
    """
    named = dict(plugins_of(trial))
    if not named and not of_plugin(trial.pair.dataset):
        return
    for split in ("train", "test"):
        dataset = limited(dataset, split, min(FEW, dataset.count(split)))
    architecture = f"architecture {readable(trial.pair.architecture)}"
    a, b = (_trained(network, dataset, architecture) for network in (trial.pair.a, trial.pair.b))
    (found, curve), (again, curve_again) = (_measured(trial, a, b, dataset) for _ in range(2))
    if found != again:
        raise ValueError(f"matching {readable(trial.matching)} must find the same twice for a seed")
    if not np.array_equal(curve, curve_again, equal_nan=True):
        correction = f"correction {readable(trial.correction)}"
        what = correction if "correction" in named else architecture
        raise ValueError(f"{what} must give the same loss twice in eval mode")


def _measured(
    trial: Trial, a: nn.Module, b: nn.Module, dataset: Data
) -> tuple[Permutation | Transform, Array]:
    """The map of units that `trial` asks for, and the loss along the line."""
    train_batches, test = (dataset.batches(split, FEW) for split in ("train", "test"))
    spec = permutation_spec(a, dataset.example())
    inputs = [inputs for inputs, _ in train_batches]
    task = measured_as(dataset.task, trial.task)
    found = match(trial.matching, a, b, spec, inputs, SEED, **known_to(trial.matching, task))
    connection = connect(
        a,
        b,
        test=test,
        train=train_batches,
        task=task,
        matching=found,
        correction=trial.correction,
        alphas=3,
        probes=trial.probes,
        measures=(),
        spec=spec,
        seed=SEED,
    )
    return found, connection.curve["test_loss"]


def _trained(network: Network, dataset: Data, what: str) -> nn.Module:
    """The network after a step of training on a few inputs, in eval mode."""
    first, again = (untrained(network, dataset) for _ in range(2))
    _check_same(first, again, f"{what} must build the same network")
    try:
        _check_output(first, dataset, what)
        for model in (first, again) if network.weights is None else ():
            _step(model, network, dataset, what)
    except ValueError:
        raise
    except Exception as error:  # whatever the network's own code raises
        raise ValueError(
            f"{what} raised {with_its_type(error)}, on {dataset.name} of input shape"
            f" {dataset.input_shape} with {dataset.num_classes} classes"
        ) from error
    _check_same(first, again, f"{what} must be trained to the same network")
    return first.eval()


@torch.no_grad()
def _check_output(model: nn.Module, dataset: Data, what: str) -> None:
    """See that a batch of each split is taken, and gives an output for each class."""
    task = as_task(dataset.task)
    for split in ("train", "test"):
        inputs, targets = next(iter(dataset.batches(split, FEW)))
        output = task.run(model, inputs)
        task.check(output, targets, split)
        if output.shape[-1] != dataset.num_classes:
            raise ValueError(
                f"{what} must return num_classes = {dataset.num_classes} logits of each sample,"
                f" got {output.shape[-1]}"
            )


def _step(model: nn.Module, network: Network, dataset: Data, what: str) -> None:
    train(
        model,
        dataset,
        network.recipe,
        start=initial_state(model),
        until_epoch=1,
        seed=SEED,
        branch="rehearsal",
        draws=architecture_of(network.architecture).own,
        name=f"of {what}",
    )


def _check_same(first: nn.Module, again: nn.Module, what: str) -> None:
    one, other = first.state_dict(), again.state_dict()
    for name in [*one, *(name for name in other if name not in one)]:
        if name not in one or name not in other or not _equal(one[name], other[name]):
            raise ValueError(f"{what} twice for one seed, but {name} differs")


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
