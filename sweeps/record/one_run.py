"""One run of MLflow, complete or absent, and whether a run was left by a driver that is gone."""

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from analysis.runs import schema
from llfc.specs import Network, Trial, fingerprint

BATCH = 1000  # metrics in one call, MLflow's own limit
ABANDONED_SECONDS = 600.0  # a run still RUNNING after this was left by a driver elsewhere


@contextmanager
def one_run(
    client: MlflowClient,
    experiment_id: str,
    record: Trial | Network,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    status: str,
) -> Iterator[str]:
    """A run of `record` that is RUNNING within and ends in `status`, or is not there; its id."""
    name = fingerprint(record)
    run = client.create_run(experiment_id, run_name=name, tags={**tags, schema.FINGERPRINT: name})
    run_id: str = run.info.run_id
    try:
        given = [Param(key, str(value)) for key, value in params.items()]
        client.log_batch(run_id, params=given)
        yield run_id
    except BaseException:
        with suppress(MlflowException):  # as on a full disk; removed when there is room again
            client.delete_run(run_id)
        raise
    # Not before it began, even if the clock was set back meanwhile.
    end = max(int(time.time() * 1000), run.info.start_time)
    client.set_terminated(run_id, status, end)


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Write any number of metrics."""
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + BATCH])


def is_abandoned(run: Run) -> bool:
    """Whether the driver that wrote a RUNNING `run` is dead."""
    host, _, process = run.data.tags.get(schema.DRIVER, ":0").rpartition(":")
    if host == socket.gethostname():
        return not _is_alive(int(process))
    return bool(time.time() - run.info.start_time / 1000 > ABANDONED_SECONDS)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
