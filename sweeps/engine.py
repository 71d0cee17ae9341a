"""Ray itself: started here or joined where it runs, room for a worker, and whether it answers."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import ray
from tenacity import RetryCallState, Retrying, stop_after_attempt

from sweeps.resources import Resources, refusal, share_of, workers_on
from sweeps.settings import Settings

PATIENCE = 10.0  # seconds for a cluster to answer at all
# Seconds for which a head may be away; after 60 Ray ends this process itself, without our line.
AWAY = 40.0
# Tries to start Ray here: it gives its own processes 15 to 30 seconds to come up, which a busy
# machine may not hold.
STARTS = 3


def start(settings: Settings) -> int:
    """Start Ray here, or connect to a cluster; the number of workers that its nodes hold now.

    Raises:
        ValueError: if Ray does not start or answer, or no worker of the asked size fits a node.
    """
    local = settings.address is None
    if not local:
        _check_answer(str(settings.address))
    retrying = Retrying(
        stop=stop_after_attempt(STARTS if local else 1),
        before_sleep=_clear_up,
        reraise=True,
    )
    try:
        retrying(
            ray.init,
            address="local" if local else settings.address,
            num_cpus=_cores() if local else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises a bare Exception where a node does not come up
        where = "here" if local else f"at {settings.address}"
        raise ValueError(f"Ray cannot be started {where}: {error}") from error
    return _await_room(settings, 0 if local else settings.node_timeout)


def _clear_up(state: RetryCallState) -> None:
    """What came up by half must be gone before the next try."""
    ray.shutdown()
    print("warning: Ray did not start in time, trying again", file=sys.stderr)


def _check_answer(address: str) -> None:
    """Ask once for an answer at `address`: Ray itself would try for minutes, with many warnings."""
    if address == "auto":  # Ray looks for it among its own processes, and says at once
        return
    if not _answers(address, PATIENCE):
        raise ValueError(
            f"address must be that of a running Ray cluster, got {address}, where none"
            f" answers within {PATIENCE:g} s"
        )


def _answers(address: str, seconds: float) -> bool:
    """Whether a head of Ray at `address` takes a call within `seconds`."""
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=seconds)
        except grpc.FutureTimeoutError:
            return False
    return True


@contextmanager
def watched() -> Iterator[None]:
    """While it lasts, a head that is gone ends this process with status 1 and one line.

    Nothing can be saved then that is not: what is done is in the store.
    """
    address = ray.get_runtime_context().gcs_address
    ended = threading.Event()

    def watch() -> None:
        heard = time.monotonic()
        while not ended.wait(PATIENCE / 2):
            if _answers(address, PATIENCE):
                heard = time.monotonic()
            elif time.monotonic() - heard > AWAY and not ended.is_set():
                print(
                    f"\nerror: the head of Ray at {address} has not answered for {AWAY:g} s;"
                    " run the same command again to finish the rest",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _await_room(settings: Settings, seconds: float) -> int:
    """How many workers the nodes hold; waits `seconds` for a node that holds one.

    Raises:
        ValueError: if there is still none; it says what a worker asks for and what the nodes have.
    """
    end = time.monotonic() + seconds
    told = False
    while True:
        here = nodes()
        share = share_of(settings, here)
        count = sum(workers_on(node, share) for node in here)
        if count:
            return count
        if time.monotonic() >= end:
            raise ValueError(refusal(share, here))
        if not told:
            print(f"waiting up to {seconds:g} s: {refusal(share, here)}", file=sys.stderr)
            told = True
        time.sleep(0.5)


def _cores() -> int:
    """The cores that this process may use; not every system says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def nodes() -> list[Resources]:
    """What each node has that is up now."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in found if node["Alive"]]
