"""Training of networks and pairs: a shared trunk that forks into branches, or two roots.

Every distinct network is trained exactly once.

The trunk that simply continues is a network too (its root, see llfc.specs.Network), so a branch
only has to be trained from its fork on, where the root's training state was kept. A fork may lie
within an epoch: the branch goes on with the rest of an order of its own for that epoch, as in the
code of Frankle et al. (2020), and so may see some inputs of that epoch twice and others not at all.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from llfc.codec import to_plain
from llfc.data.datasets import Data
from llfc.networks.architectures import architecture_of, build_network, check_fits
from llfc.networks.checkpoints import RUNNING, SECONDS, Checkpoints, checkpoints_of, named, parts
from llfc.networks.code import share_code
from llfc.networks.history import History
from llfc.networks.steps import fork_step, in_epochs, steps_per_epoch
from llfc.networks.store import STATES, Store
from llfc.networks.training import OnEpoch, TrainState, initial_state, train
from llfc.oneline import in_one_line
from llfc.seeds import stream
from llfc.specs import Network, fingerprint

Place = tuple[int, int]  # whole epochs, and steps of the next


def train_network(
    network: Network,
    store: Store,
    dataset: Data,
    *,
    device: torch.device | str = "cpu",
    keep_epochs: Iterable[int] = (),
    keep_steps: Iterable[int] = (),
    on_epoch: OnEpoch | None = None,
    checkpoint_seconds: float = SECONDS,
    code: str = "",
) -> None:
    """Train `network` and put it into `store`, unless it is there already.

    Args:
        network: what to train; a spawn step that is a whole epoch is taken as that (`in_epochs`).
            Of a branch, the trunk up to its fork is taken from the store, or trained again from the
            last state kept before it if that was not kept.
        store: where trained networks and training states are.
        dataset: the data set that the network names, limited as it says; of it `shared_data` leaves
            a half.
        device: where to train.
        keep_epochs: epochs after which the root's training state is kept for branches.
        keep_steps: the same in optimiser steps from the start.
        on_epoch: called after every epoch with its number, counted from 1, and its mean loss.
        checkpoint_seconds: between two states that are kept while it trains, from which a training
            that was killed goes on, with the same result; infinity for none. One state of each
            training lies in the store, and none when it is done.
        code: a digest of the code that trains; nothing goes on from a state that other code left.

    Raises:
        ValueError: if the loss is not finite, or the store cannot be written.
    """
    if network.weights is not None:
        raise ValueError(f"checkpoint {network.weights} is not in the store: run the sweep again")
    share_code(network, store)
    inputs = dataset.inputs_of(network)
    network = in_epochs(network, inputs)
    run = _Training(network, store, dataset.to(device), on_epoch)
    run.checkpoint_seconds, run.code = checkpoint_seconds, code
    if not network.is_branch:
        for step in sorted({epoch * run.steps for epoch in keep_epochs} | set(keep_steps)):
            run.trunk(step)
    if store.has(network):
        return
    epochs = network.recipe.epochs
    end, fork = epochs * run.steps, fork_step(network, inputs)
    if fork is None:
        state = run.on(run.latest(end), end, _branch_name(network))
    elif fork == end and (weights := store.load_weights(network.root)):
        state = TrainState(epochs, weights, {})
    else:
        state = run.on(run.trunk(fork), end, _branch_name(network))
    store.save_network(network, state.weights)
    run.forget()


def untrained(network: Network, dataset: Data) -> nn.Module:
    """`network` with its first weights, which are its root's, on the CPU and in training mode.

    Raises:
        ValueError: if its architecture does not take such data.
    """
    check_fits(network.architecture, network.norm, [dataset.kind], network.options)
    return build_network(
        network.architecture,
        width=network.width,
        norm=network.norm,
        input_shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        generator=stream(network.seed, f"init/{network.member}"),
        **network.options,
    )


def load_network(
    network: Network, store: Store, dataset: Data, *, device: torch.device | str = "cpu"
) -> nn.Module:
    """`network` as it was trained, in evaluation mode.

    A spawn step that is a whole epoch is taken as that, as by `train_network`.

    Raises:
        ValueError: if it is not in the store, or was trained on images of another shape.
    """
    share_code(network, store)
    network = in_epochs(network, dataset.inputs_of(network))
    weights = store.load_weights(network)
    if weights is None:
        raise ValueError(f"network {fingerprint(network)} is not in the store {store.root}")
    model = untrained(network, dataset)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"network {fingerprint(network)} in the store {store.root} does not fit"
            f" data set {dataset.name}: {in_one_line(error)}"
        ) from None
    return model.to(device).eval()


def has_state(branch: Network, store: Store) -> bool:
    """Whether `branch` can leave its root without training that again; it is `in_epochs`."""
    if branch.spawn_epoch == 0 or not branch.is_branch:
        return True
    return store.has_tensors(STATES, _state_name(branch.root, _fork_name(branch)))


class _Training:
    """The training of one network: where its states come from and where they go."""

    def __init__(
        self, network: Network, store: Store, dataset: Data, on_epoch: OnEpoch | None
    ) -> None:
        self.network, self.root, self.store = network, network.root, store
        self.dataset, self.on_epoch = dataset, on_epoch
        self.checkpoint_seconds, self.code = SECONDS, ""
        self.steps = steps_per_epoch(network.recipe, dataset.inputs_of(network))
        self.model = untrained(network, dataset).to(dataset.device)
        self._history: History | None = None
        self._seen: tuple[Network, Place] | None = None  # whose history it is, and up to where

    def trunk(self, step: int) -> TrainState:
        """The root's state after `step` steps, from the store or trained and kept."""
        latest = self.latest(step)
        epoch, rest = divmod(step, self.steps)
        if (latest.epoch, latest.step) == (epoch, rest):
            return latest
        state = self.on(latest, step, _trunk_name(self.root))
        name = _state_name(self.root, _step_name(step) if rest else epoch)
        tensors, record = named(state), {**to_plain(self.root), "epoch": epoch}
        if rest:
            tensors, record = {**tensors, "loss": state.loss}, {**record, "step": rest}
        self.store.put_tensors(STATES, name, tensors, record)
        return state

    def latest(self, step: int) -> TrainState:
        """The root's last state in the store at or before `step`; that of step 0 is drawn."""
        named_as = re.compile(rf"{fingerprint(self.root)}-(step)?(\d+)")
        kept = {}
        for found in filter(None, map(named_as.fullmatch, self.store.names(STATES))):
            kept[int(found[2]) * (1 if found[1] else self.steps)] = found[0]
        for earlier in sorted((place for place in kept if 0 < place <= step), reverse=True):
            tensors = self.store.get_tensors(STATES, kept[earlier])
            if tensors is not None:
                epoch, rest = divmod(earlier, self.steps)
                loss = tensors.get("loss", torch.zeros(()))
                return TrainState(epoch, *parts(tensors), rest, loss)
        return initial_state(untrained(self.network, self.dataset))

    def on(self, start: TrainState, until: int, branch: str) -> TrainState:
        """The state after `until` steps of the training that stands at `start`.

        It goes on from where it was killed, if it was.
        """
        checkpoints = self.checkpoints(branch)
        end = divmod(until, self.steps)
        begin = checkpoints.latest(start, end)
        history = None
        trained = self.network if branch == _branch_name(self.network) else self.root
        dataset = self.dataset.seen_by(trained)
        if not self.store.has(trained):  # whose trunk's state alone was lost
            history = self.history(trained, dataset, (begin.epoch, begin.step), end)

        def after_epoch(epoch: int, loss: float) -> None:
            if history is not None:
                history.after_epoch(epoch, loss)
            if self.on_epoch is not None:
                self.on_epoch(epoch, loss)

        return train(
            self.model,
            dataset,
            self.network.recipe,
            start=begin,
            until_epoch=end[0],
            until_step=end[1],
            seed=self.network.seed,
            branch=branch,
            draws=architecture_of(self.network.architecture).own,
            name=f"of network {fingerprint(self.network)}",
            on_epoch=after_epoch,
            observer=_Observer(checkpoints, history),
        )

    def history(self, trained: Network, dataset: Data, begin: Place, end: Place) -> History:
        """The history of the training of `trained` that goes on from `begin` to `end`."""
        if self._history is None or self._seen != (trained, begin):
            self._history = History(trained, self.store, dataset, self.model, begin)
        self._seen = trained, end
        return self._history

    def checkpoints(self, branch: str) -> Checkpoints:
        """The states of one branch while it is trained."""
        return checkpoints_of(
            self.root, branch, self.store, code=self.code, seconds=self.checkpoint_seconds
        )

    def forget(self) -> None:
        """Remove the states of what was trained here, or before a kill: it is done."""
        for branch in {_trunk_name(self.root), _branch_name(self.network)}:
            self.checkpoints(branch).remove()


@dataclass(frozen=True)
class _Observer:
    """Keeps states, and writes the history if there is one."""

    checkpoints: Checkpoints
    history: History | None

    def after_step(self, epoch: int, step: int, loss: torch.Tensor) -> bool:
        if self.history is not None:
            self.history.after_step(epoch, step, loss)
        return self.checkpoints.after_step(epoch, step, loss)

    def keep(self, state: TrainState) -> None:
        if self.history is not None:  # who goes on from the state finds all epochs before it there
            self.history.write(state.epoch, state.step, state.loss)
        self.checkpoints.keep(state)


def forget_finished(networks: Iterable[Network], store: Store) -> None:
    """Remove the states of trainings that were killed between their end and their states' removal.

    Args:
        networks: that nobody trains now, `in_epochs`; those that are not in the store are passed.
        store: where they are.
    """
    if store.names(RUNNING):
        for network in filter(store.has, networks):
            checkpoints_of(network.root, _branch_name(network), store).remove()


def _state_name(root: Network, fork: int | str) -> str:
    return f"{fingerprint(root)}-{fork}"


def _trunk_name(network: Network) -> str:
    return f"{network.member}"


def _branch_name(network: Network) -> str:
    trunk = _trunk_name(network)
    if not network.is_branch:
        return trunk
    own = "" if network.shared_data is None else f"/shared{network.shared_data}"
    return f"{trunk}/{_fork_name(network)}{own}"


def _fork_name(branch: Network) -> str:
    return str(branch.spawn_epoch) if branch.spawn_step is None else _step_name(branch.spawn_step)


def _step_name(step: int) -> str:
    return f"step{step}"
