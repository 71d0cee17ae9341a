"""Ray itself: started here or joined where it runs, room for a worker, and whether it answers."""

import logging
import os
import secrets
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import ray
from filelock import FileLock
from tenacity import RetryCallState, Retrying, stop_after_attempt

from llfc.atomic import made_whole
from sweeps.grid.settings import Settings
from sweeps.record.commit import PACKAGES
from sweeps.run.pool import Registry, WorkerPool
from sweeps.run.resources import (
    Resources,
    cores,
    lacking,
    node_counts,
    refusal,
    share_of,
    workers_on,
)

CLUSTER_PATIENCE = 10.0  # seconds for a cluster to answer at all
NODE_PATIENCE = 2.0  # seconds for a node that was up a moment ago
HEAD_RESOURCE = "node:__internal_head__"  # what Ray's head alone has 1 of
# Seconds for which a head may be away; after 60 Ray ends this process itself, without our line.
AWAY = 40.0
# Tries to start Ray here: it gives its own processes 15 to 30 seconds to come up, which a busy
# machine may not hold.
STARTS = 3
# Seconds for which workers that are up wait for those that are being started.
STARTING = 30.0


def start(settings: Settings) -> int:
    """Start Ray here, or connect to a cluster; the number of workers that its nodes hold now.

    Raises:
        ValueError: if Ray does not start or answer, or no worker of the asked size fits a node.
    """
    local = settings.address is None
    if local:  # with a token of its own, Ray would not join a cluster that has none
        _own_token(Path.home() / ".ray" / "auth_token")
    else:
        _check_answer(str(settings.address))
    retrying = Retrying(
        stop=stop_after_attempt(STARTS if local else 1),
        before_sleep=_clear_up,
        reraise=True,
    )
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        retrying(
            ray.init,
            address="local" if local else settings.address,
            num_cpus=cores() if local else None,
            include_dashboard=False if local else None,
            runtime_env=_as_here() if local else _code(),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises a bare Exception where a node does not come up
        where = "here" if local else f"at {settings.address}"
        raise ValueError(f"Ray cannot be started {where}: {error}") from error
    except SystemExit:  # by Ray's own handler of SIGTERM
        raise KeyboardInterrupt from None
    finally:
        # Ray's own would end its processes under a sweep that has not stopped.
        signal.signal(signal.SIGTERM, on_sigterm)
    return _await_room(settings, 0 if local else settings.node_timeout)


def _own_token(path: Path) -> None:
    """Ray's token at `path`, whole, for its user alone: Ray itself makes it for all to read."""
    with suppress(OSError):  # a home that cannot be written, or another's file: Ray's own affair
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):  # another driver may have just begun with the token it made
            if path.is_file() and path.stat().st_size:
                path.chmod(0o600)
                return
            with made_whole(path) as beside:
                beside.touch(0o600)
                beside.write_text(secrets.token_hex(32))


def _as_here() -> dict[str, Any] | None:
    """What Ray must be told to start workers by this Python: it gives the path to a shell."""
    quoted = shlex.quote(sys.executable)
    return None if quoted == sys.executable else {"py_executable": quoted}


def _code() -> dict[str, Any]:
    """The code of this driver, for the workers of a cluster, whatever code lies on its nodes."""
    return {"py_modules": list(PACKAGES), "excludes": ["__pycache__", "/results/", "*.ipynb"]}


def _clear_up(state: RetryCallState) -> None:
    """What came up by half must be gone before the next try."""
    ray.shutdown()
    print("warning: Ray did not start in time, trying again", file=sys.stderr)


def _check_answer(address: str) -> None:
    """Ask once for an answer at `address`: Ray itself would try for minutes, with many warnings."""
    if address == "auto":  # Ray looks for it among its own processes, and says at once
        return
    if not _answers(address, CLUSTER_PATIENCE):
        raise ValueError(
            f"address must be that of a running Ray cluster, but none answered at {address}"
            f" within {CLUSTER_PATIENCE:g} s"
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
        answered = time.monotonic()
        while not ended.wait(CLUSTER_PATIENCE / 2):
            if _answers(address, CLUSTER_PATIENCE):
                answered = time.monotonic()
            elif time.monotonic() - answered > AWAY and not ended.is_set():
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


def nodes() -> list[Resources]:
    """What each node has that is up now."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in found if node["Alive"]]


def _is_up(node_id: str) -> bool:
    """Whether the node answers: Ray itself calls it alive for some seconds after it is lost."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return any(
        _answers(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}", NODE_PATIENCE)
        for node in found
        if node["NodeID"] == node_id and node["Alive"]
    )


class RayPool(WorkerPool):
    """The workers that Ray's nodes hold.

    Attributes:
        name: by which workers find the registry.
    """

    def __init__(self, share: Resources) -> None:
        self._share = share
        self.name = f"registry-{os.getpid()}-{time.time_ns()}"
        # On the head, the one node without which there is no sweep: the driver's may leave.
        actor: Any = ray.remote(num_cpus=0, resources={HEAD_RESOURCE: 0.001})(Registry)
        self._registry = actor.options(name=self.name).remote(STARTING)
        self._wanted = 0
        self._looked = float("-inf")
        self.look()

    def look(self) -> bool:
        """See, every other second, which nodes there are; whether they are others than before."""
        now = time.monotonic()
        if now - self._looked < 2.0:
            return False
        self._looked, before, here = now, self.text, nodes()
        self.capacity = sum(workers_on(node, self._share) for node in here)
        self.text = node_counts(here, self.capacity)
        return before not in ("", self.text)

    def want(self, jobs: int) -> None:
        if (count := min(jobs, self.capacity)) != self._wanted:
            self._wanted = count
            self._registry.want.remote(count)

    def lost(self, worker: str | None) -> str:
        node, node_id = "", ""
        with suppress(Exception):  # the registry is lost too, and nobody knows
            node, node_id = ray.get(self._registry.gone.remote(worker), timeout=CLUSTER_PATIENCE)
        if not node:
            return super().lost(worker)
        return f"a worker on node {node}" if _is_up(node_id) else f"node {node}"

    def why_none_starts(self) -> str:
        free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        placed = _placed()
        if not placed and (short := lacking(self._share, free)):
            return f"no node has room for a worker now: {short}"
        told = f"{placed} have reserved resources and are still starting; " if placed else ""
        return told + _last_words()


def _placed() -> int:
    """The number of workers of this driver for which a node has reserved resources, up or not."""
    job = ray.get_runtime_context().get_job_id()
    groups = ray.util.placement_group_table()
    # The id of what a driver asks for ends with the driver's own.
    return sum(name.endswith(job) and group["state"] == "CREATED" for name, group in groups.items())


def _last_words() -> str:
    """Where Ray's logs are, and the last line in them that is not Ray's own mark of a log."""
    node: Any = ray._private.worker.global_worker.node
    logs = Path(node.get_logs_dir_path())
    where = f"Ray's logs are in {logs}"
    with suppress(OSError):  # another user's, or just renamed
        newest = sorted(logs.glob("*.err"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest:
            words = map(str.strip, path.read_text(errors="replace").split("\n"))
            if lines := [word for word in words if word and not word.startswith(":")]:
                return f"{where}, whose last line is: {lines[-1]}"
    return where


def register(name: str, node: str) -> Any:
    """Say in a worker that it is up on `node`; the registry called `name`, None if it is lost."""
    context = ray.get_runtime_context()
    try:
        registry = ray.get_actor(name)
        ray.get(registry.up.remote(context.get_actor_id(), node, context.get_node_id()))
        return registry
    except (ValueError, ray.exceptions.RayError):
        return None


def await_others(registry: Any) -> None:
    """Wait in a worker until all are up that there is work for."""
    with suppress(ray.exceptions.RayError):
        while registry is not None and not ray.get(
            registry.complete.remote(), timeout=CLUSTER_PATIENCE
        ):
            time.sleep(0.1)
