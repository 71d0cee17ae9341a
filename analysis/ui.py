"""`python -m analysis.ui`: browse the runs in MLflow, on a new server or the running one."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence

from analysis.runs.database import DEFAULT_URI, check_address, fault_of, path_of
from analysis.runs.server import check_server, is_server, without_password

HOST = "127.0.0.1"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the runs, or say where they are served; 2 and one line if that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m analysis.ui", description=__doc__)
    usual = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    where = "address of MLflow's store (default: $MLFLOW_TRACKING_URI, otherwise %(default)s)"
    parser.add_argument("--tracking-uri", default=usual, help=where.replace("%(default)s", usual))
    parser.add_argument("--port", type=int, default=5000, help="(default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        serve(options.tracking_uri, options.port)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def serve(tracking_uri: str, port: int) -> None:
    """Become MLflow's server of the database at `tracking_uri`; of a server, print the address.

    Raises:
        ValueError: if there is no such database or server, or the port is not free.
    """
    if is_server(tracking_uri):
        check_server(tracking_uri)
        print(without_password(tracking_uri))
        return
    _check_port(port)
    _check_database(tracking_uri)
    print(f"http://{HOST}:{port}", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, command, {**os.environ, **quiet})


def _check_database(tracking_uri: str) -> None:
    """Refuse a missing or broken database: MLflow itself would create a new one."""
    check_address(tracking_uri)
    path = path_of(tracking_uri)
    if path is None:
        return
    if not path.is_file():
        raise ValueError(
            f"there are no runs yet, as there is no file {path}: run a sweep first, or set"
            " MLFLOW_TRACKING_URI to where they are"
        )
    if fault := fault_of(path):
        raise ValueError(fault)


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ValueError(f"the port must be in [1, 65535], got {port}")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ValueError(
                f"port {port} of {HOST} cannot be opened ({error.strerror}): choose another,"
                " as in `make ui PORT=5001`"
            ) from None


if __name__ == "__main__":
    sys.exit(main())
