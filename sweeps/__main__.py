"""What concerns more than one sweep: run a study, see how far it is, stop, check a cluster file."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llfc.names import counted, lookup
from sweeps import SWEEPS
from sweeps.cli import run
from sweeps.forecast.cluster_file import check_cluster_file
from sweeps.grid.study_file import sweeps_in


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what `arguments` say; exits with 2 on bad input, and `run` as `sweeps.cli.run`."""
    parser = argparse.ArgumentParser(prog="python -m sweeps", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    study = _add(commands, "run", _run, "run every sweep of a study file, with any sweep's options")
    study.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file")
    status = _add(commands, "status", _status, "how far the sweeps of a storage are")
    cancel = _add(commands, "cancel", _cancel, "stop a sweep, as Ctrl-C does, from another shell")
    cancel.add_argument("sweep", help="its name")
    cluster = _add(commands, "cluster", _cluster, "would `ray up` take this cluster file?")
    cluster.add_argument("file", type=Path, help="YAML file, such as sweeps/cluster/onprem.yaml")
    for command in (status, cancel):
        command.add_argument(
            "--storage",
            default=os.environ.get("LLFC_STORAGE") or "runs",
            help="folder or URI of the sweep's files [runs; LLFC_STORAGE]",
        )
    given, others = parser.parse_known_args(arguments)
    if others and given.do is not _run:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    try:
        given.do(given, others)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def _add(
    commands: Any, name: str, do: Callable[[argparse.Namespace, Sequence[str]], None], text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, allow_abbrev=False
    )
    command.set_defaults(do=do)
    return command


def _run(given: argparse.Namespace, others: Sequence[str]) -> None:
    run(sweeps_in(given.config, SWEEPS), ["--config", str(given.config), *others])


def _status(given: argparse.Namespace, others: Sequence[str]) -> None:
    from llfc.networks.store import Store
    from sweeps.grid.settings import Settings
    from sweeps.run.board import statuses

    found = statuses(Store(Settings(storage=given.storage).store))
    if not found:
        raise ValueError(f"storage {given.storage} has no sweep that has trained or measured yet")
    for status in found:
        print("\n".join(_lines(status)))


def _lines(status: Mapping[str, Any]) -> Sequence[str]:
    done, total = status["done"], status["total"]
    ago = max(0, round(time.time() - status["at"]))
    worked = sum(done.values()) / max(status["elapsed"], 1) * 3600
    counts = [f"{stage} {done[stage]}/{total[stage]}" for stage in done]
    runs = status["doing"] == "running"
    said = [*counts, *[f"running {status['running']}"] * runs, f"failed {status['failed']}"]
    if runs:
        said += [f"{counted(round(worked), 'job')} an hour", status["left"]]
    said.append(f"{status['doing']}, last sign of life {ago} s ago on {status['host']}")
    lines = [*status["training"], *status.get("searching", ())] if runs else []
    return [f"{status['sweep']}: {' · '.join(said)}", *(f"  {one}" for one in lines)]


def _cancel(given: argparse.Namespace, others: Sequence[str]) -> None:
    from llfc.networks.store import Store
    from sweeps.grid.settings import Settings
    from sweeps.run.board import cancel, statuses

    store = Store(Settings(storage=given.storage).store)
    running = {one["sweep"]: one for one in statuses(store) if one["doing"] == "running"}
    if not running:
        raise ValueError(f"storage {given.storage} has no running sweep")
    lookup("running sweep", given.sweep, running)
    cancel(store, given.sweep)
    print(
        f"{given.sweep} is asked to stop; it does within half a minute,"
        " and the same command resumes it"
    )


def _cluster(given: argparse.Namespace, others: Sequence[str]) -> None:
    wrong = check_cluster_file(given.file)
    for line in wrong:
        print(f"error: {given.file}: {line}", file=sys.stderr)
    if wrong:
        raise SystemExit(2)
    print(f"{given.file} is as Ray takes it, and what it names is there: ray up {given.file}")


if __name__ == "__main__":
    main()
