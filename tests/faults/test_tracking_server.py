"""Nothing lost when MLflow's server goes away, fails or takes its time.

Every sweep here finds its results measured, and has only to log them, through a go-between that
does to the server's answers what is asked.
"""

import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.helpers.disturbed_sweeps import (
    PATIENCE,
    TRIALS,
    Place,
    assert_as_undisturbed,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

TOLD = "; retrying for 120 seconds"
AWAY = 40  # seconds of trouble: longer than any one call is tried


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def server(folder, port):
    """MLflow's own server, with database and artifacts in `folder`."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    run = subprocess.Popen(
        ["env", *(f"{k}={v}" for k, v in environment.items()), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + PATIENCE
    while not answers(port):
        assert run.poll() is None, "the server did not start"
        assert time.monotonic() < end, "the server does not answer"
        time.sleep(0.2)
    try:
        yield run
    finally:
        end_of(run)


def end_of(run):
    subprocess.run(["pkill", "-KILL", "-s", str(run.pid)], check=False)
    run.wait()


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Between(BaseHTTPRequestHandler):
    """Passes a call on; says 500 while `server.failing`, first waits `server.slow` seconds."""

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls += 1
        if self.server.failing:
            status, headers, answer = 500, [], b"no"
        else:
            time.sleep(self.server.slow)
            connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            said = connection.getresponse()
            status, headers, answer = said.status, said.getheaders(), said.read()
            connection.close()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def log_message(self, *words):
        pass


@contextmanager
def between(port):
    """The go-between before the server at `port`."""
    here = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    here.behind, here.failing, here.slow, here.calls = port, False, 0.0, 0
    thread = threading.Thread(target=here.serve_forever)
    thread.start()
    try:
        yield here
    finally:
        here.shutdown()
        thread.join()
        here.server_close()


def measured(folder, undisturbed, port):
    """A place where everything is measured and nothing logged, tracked at `port`."""
    shutil.copytree(undisturbed.folder / "store", folder / "store")
    return Place(folder, f"http://127.0.0.1:{port}", folder / "mlflow.db")


def assert_finished(run, place, undisturbed, *, told):
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    assert "0 networks trained, 0 trials measured" in out
    assert err.count(TOLD) == told, err
    assert "Traceback" not in out + err
    assert_as_undisturbed(place, undisturbed)


def test_a_server_that_is_killed_and_comes_back(tmp_path, undisturbed):
    port = free_port()
    place = measured(tmp_path, undisturbed, port)
    with server(tmp_path, port) as first:
        run = place.start()
        wait_until(run, lambda: place.statuses())
        end_of(first)
        time.sleep(AWAY)
        with server(tmp_path, port):
            assert_finished(run, place, undisturbed, told=1)


def test_a_server_that_fails_for_a_while(tmp_path, undisturbed):
    port = free_port()
    with server(tmp_path, port), between(port) as here:
        place = measured(tmp_path, undisturbed, here.server_port)
        run = place.start()
        wait_until(run, lambda: place.statuses())
        here.failing, before = True, here.calls
        time.sleep(AWAY)
        assert here.calls > before, "nobody asked"
        here.failing = False
        assert_finished(run, place, undisturbed, told=1)


def test_a_server_that_takes_its_time(tmp_path, undisturbed):
    port = free_port()
    with server(tmp_path, port), between(port) as here:
        here.slow = 2.0
        place = measured(tmp_path, undisturbed, here.server_port)
        run = place.start()
        wait_until(run, lambda: place.statuses().get("FINISHED"))
        here.slow = 0.0
        assert_finished(run, place, undisturbed, told=0)


def test_a_server_that_is_down_from_the_start_to_the_end(tmp_path, undisturbed):
    place = measured(tmp_path, undisturbed, free_port())
    run = place.start()
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 2, err
    assert len(err.splitlines()) == 1, err
    assert place.tracking in err
    assert "Traceback" not in out
    assert len(place.kept("connections")) == TRIALS, "what was measured is kept"
