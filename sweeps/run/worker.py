"""What a worker does with a job: plain values in, plain values out. No Ray and no MLflow here."""

import contextlib
import functools
import threading
import time
import traceback
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from analysis.runs import schema
from llfc.codec import from_plain
from llfc.data.datasets import Data, load_dataset
from llfc.devices import keep_freed_memory
from llfc.networks.spawning import train_network
from llfc.networks.steps import steps_per_epoch
from llfc.networks.store import Store, StoreWarning
from llfc.oneline import with_its_type
from llfc.plugins import is_plugin
from llfc.specs import Network, Trial
from llfc.trial import run_trial
from sweeps.record.measurement import Measurement, draw, save
from sweeps.run.plan import Stage

_ONE_LOADS = threading.Lock()  # what all threads then use


def work(jobs: Sequence[Mapping[str, Any]], place: Mapping[str, Any]) -> dict[str, Any]:
    """Do `jobs` at once, in threads of this process, and leave what they make in the store.

    Args:
        jobs: what `Job.to_plain` wrote of each; several if they train networks.
        place: `store`, `data_root` and `cache` (folders), `device`, `threads`,
            `checkpoint_seconds` and `provenance` (what is stored beside a result: where it is
            from).

    Returns:
        `warnings`, `seconds` that it took, and `ended`, for each job: `failed` (the reason, or an
        empty string), and of a trial `barrier` (the chord barrier of the test loss).
    """
    begun = time.monotonic()
    torch.set_num_threads(place["threads"])
    keep_freed_memory()
    # Of all threads: what Python does with warnings is one for the process.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", StoreWarning)
        ended = _at_once(jobs, place)
    return {
        "ended": ended,
        "warnings": [str(warning.message) for warning in caught],
        "seconds": time.monotonic() - begun,
    }


def _at_once(jobs: Sequence[Mapping[str, Any]], place: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How each job ended; plug-ins, which may draw from what all threads share, come one by one."""
    ended: list[dict[str, Any]] = [{"failed": "its thread was ended"}] * len(jobs)

    def end(number: int) -> None:
        ended[number] = _ended(jobs[number], place)

    alone = [n for n, job in enumerate(jobs) if len(jobs) == 1 or _draws(job)]
    # Daemons, which do not keep a process that is told to end.
    threads = [
        threading.Thread(target=end, args=(n,), daemon=True)
        for n in range(len(jobs))
        if n not in alone
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in alone:
        end(number)
    return ended


def _draws(job: Mapping[str, Any]) -> bool:
    return is_plugin("architecture", job["record"]["architecture"])


def _ended(job: Mapping[str, Any], place: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job: how it ended."""
    try:
        return {"failed": "", "barrier": _do(job, place, choose_device(place["device"]))}
    except Exception as error:
        # An error must not end the worker, which other jobs wait for; the driver reports it.
        _keep_trace(job["name"], place["store"])
        return {"failed": with_its_type(error), "barrier": None}


def _keep_trace(name: str, store: str) -> None:
    with contextlib.suppress(ValueError):  # a full disk must not hide what went wrong before
        Store(store).put_text("failures", name, traceback.format_exc())


def _do(job: Mapping[str, Any], place: Mapping[str, Any], device: torch.device) -> float | None:
    store = Store(place["store"])
    if job["stage"] == Stage.NETWORKS:
        network = from_plain(Network, job["record"])
        dataset = _dataset_of(network, None, place, device)
        _train(network, store, dataset, place, device, job["keep_epochs"], job["keep_steps"])
        return None
    trial = from_plain(Trial, job["record"])
    for network in (trial.pair.a, trial.pair.b):
        if not store.has(network):  # it was there when the sweep was planned: damaged since
            _train(network, store, _dataset_of(network, None, place, device), place, device)
    dataset = _dataset_of(trial.pair.a, trial.limit_test, place, device)
    found = run_trial(trial, store, dataset, device=device)
    steps = steps_per_epoch(trial.pair.recipe, dataset.inputs_of(trial.pair.a))
    tags = {**place["provenance"], schema.DEVICE: describe(device), schema.STEPS: f"{steps}"}
    save(store, trial, Measurement.of(found, tags, draw(trial, found)))
    return found.barriers[schema.BARRIER]


def _train(
    network: Network,
    store: Store,
    dataset: Data,
    place: Mapping[str, Any],
    device: torch.device,
    keep_epochs: Iterable[int] = (),
    keep_steps: Iterable[int] = (),
) -> None:
    train_network(
        network,
        store,
        dataset,
        device=device,
        keep_epochs=keep_epochs,
        keep_steps=keep_steps,
        checkpoint_seconds=place["checkpoint_seconds"],
        code=place["provenance"].get(schema.SOURCES, ""),
    )


def _dataset_of(
    network: Network, limit_test: int | None, place: Mapping[str, Any], device: torch.device
) -> Data:
    with _ONE_LOADS:
        return _dataset(
            network.dataset,
            network.limit_train,
            limit_test,
            place["data_root"],
            place["cache"],
            device,
        )


@functools.lru_cache(maxsize=2)
def _dataset(
    name: str,
    limit_train: int | None,
    limit_test: int | None,
    data_root: str | None,
    cache: str,
    device: torch.device,
) -> Data:
    """A worker's data set stays on its device from one job to the next."""
    return load_dataset(
        name,
        data_root=None if data_root is None else Path(data_root),
        limit_train=limit_train,
        limit_test=limit_test,
        cache=Path(cache),
        progress=False,
    ).to(device)


def choose_device(name: str) -> torch.device:
    """The device called `name`; auto is the GPU if this process may see one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def describe(device: torch.device) -> str:
    """A device as a reader of results wants it named."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
