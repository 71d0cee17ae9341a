"""Networks in MLflow: a run for each, with how it was trained, whichever sweeps it is in."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from analysis.runs import schema
from analysis.runs.mlflow import search
from analysis.runs.params import network_params
from llfc.networks.history import Epoch, epochs_of
from llfc.specs import Network, Trial, fingerprint
from sweeps.record.one_run import is_abandoned, log_metrics, one_run
from sweeps.record.titles import title_of


class NetworkRuns:
    """Writes them, and says which are there.

    Args:
        client: of the tracking store.
        place: gives the id of the experiment that they are in, made if need be.
        tags: of what writes them.
    """

    def __init__(
        self, client: MlflowClient, place: Callable[[], str], tags: Mapping[str, str]
    ) -> None:
        self._client, self._place, self._tags = client, place, tags
        self._known: dict[str, str] = {}  # the ids of runs by the network's fingerprint

    def log(self, network: Network, history: Mapping[str, Any]) -> None:
        """Write how `network` was trained, once.

        Args:
            network: what was trained.
            history: what `llfc.networks.history.read_history` gave; nothing is written if nothing.
        """
        name, epochs = fingerprint(network), epochs_of(dict(history))
        if name in self._known or not epochs:
            return
        for run in list(
            search(self._client, self._place(), schema.tagged(schema.FINGERPRINT, name))
        ):
            if run.info.status == schema.FINISHED:
                self._known[name] = run.info.run_id
            elif is_abandoned(run):
                self._client.delete_run(run.info.run_id)
        if name not in self._known:
            tags = {
                **self._tags,
                schema.NOTE: title_of(network),
                schema.KIND: schema.NETWORK,
                schema.DEVICE: str(history.get("device", "")),
            }
            params, place = network_params(network), self._place()
            with one_run(self._client, place, network, tags, params, schema.FINISHED) as run_id:
                log_metrics(self._client, run_id, _metrics(epochs))
            self._known[name] = run_id

    def links(self, trial: Trial) -> dict[str, str]:
        """The tags that lead from a trial's run to those of its networks, as far as there are."""
        ends = {schema.NETWORK_A: trial.pair.a, schema.NETWORK_B: trial.pair.b}
        runs = {tag: self._known.get(fingerprint(network)) for tag, network in ends.items()}
        known = {tag: run for tag, run in runs.items() if run}
        if not known:
            return {}
        place = self._place()
        links = [
            f"[{tag[-1].upper()}](#/experiments/{place}/runs/{run})" for tag, run in known.items()
        ]
        return {**known, schema.NOTE: f"{title_of(trial)}\n\nNetworks: {', '.join(links)}"}


def _metrics(epochs: Sequence[Epoch]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [
        Metric(name, value, now, epoch.epoch)
        for epoch in epochs
        for name, value in asdict(epoch).items()
        if name != "epoch" and not math.isnan(value)
    ]
