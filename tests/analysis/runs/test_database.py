"""Addresses of MLflow's databases, what is broken, and the server that shows one."""

import shlex
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from analysis import ui
from analysis.runs.database import address_of, fault_of, path_of
from analysis.runs.mlflow import load_runs
from analysis.runs.server import way_to

NAMES = ["a b", "100%", "p%41q", "h#1", "q?x", "q?mode=ro", "été", "a+b", "it's", "a@b:c", "日本"]


@pytest.mark.parametrize("name", NAMES)
def test_an_address_leads_to_its_file(name):
    path = Path("/runs") / name / "mlflow.db"
    assert path_of(address_of(path)) == path
    assert make_url(address_of(path)).database == str(path)
    typed = way_to(address_of(path))
    assert shlex.split(typed) == [f"MLFLOW_TRACKING_URI={address_of(path)}", "make", "ui"]


@pytest.mark.parametrize(
    "address", ["http://host/x.db", "postgresql://me@host/runs", "sqlite://", "sqlite:///:memory:"]
)
def test_other_addresses_have_no_file(address):
    assert path_of(address) is None


def database(path, *statements):
    with closing(sqlite3.connect(path)) as opened:
        for statement in statements:
            opened.execute(statement)
        opened.commit()
    return path


VERSION = ["create table alembic_version (version_num text)"]
EXPERIMENTS = ["create table experiments (name text)"]
WHOLE = [
    *VERSION,
    *EXPERIMENTS,
    "insert into alembic_version values ('x')",
    "insert into experiments values ('Default')",
]


@pytest.mark.parametrize(
    "statements",
    [VERSION, [*VERSION, "create table _alembic_tmp_runs (x text)"], EXPERIMENTS, WHOLE[:3]],
)
def test_a_database_that_was_half_made_is_named_with_what_to_do(tmp_path, statements):
    path = database(tmp_path / "mlflow.db", *statements)
    said = fault_of(path)
    assert said.startswith(f"{path} is not a complete MLflow database (")
    assert "move it away" in said
    assert "\n" not in said
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not a complete MLflow database"):
        load_runs(address_of(path), "width")  # a reader must not go on making it
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database at all, but for its name " * 9])
def test_a_file_that_is_no_database_is_broken(tmp_path, content):
    path = tmp_path / "mlflow.db"
    path.write_bytes(content)
    assert "move it away" in fault_of(path)


def test_a_database_that_is_whole_or_locked_is_not_broken(tmp_path):
    path = database(tmp_path / "mlflow.db", *WHOLE)
    assert fault_of(path) == ""
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin exclusive")
        assert fault_of(path) == ""


@pytest.fixture
def served(monkeypatch):
    """What `serve` would have become."""
    found = []
    monkeypatch.setattr(ui.os, "execve", lambda path, command, environment: found.append(command))
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_database_is_served_and_the_address_is_printed(tmp_path, served, capsys):
    path = database(tmp_path / "mlflow.db", *WHOLE)
    port = free_port()
    assert ui.main(["--tracking-uri", address_of(path), "--port", str(port)]) == 0
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}\n"
    (command,) = served
    assert command[command.index("--backend-store-uri") + 1] == address_of(path)


def test_a_busy_port_is_one_line_at_once(tmp_path, served, capsys):
    path = database(tmp_path / "mlflow.db", *WHOLE)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        assert ui.main(["--tracking-uri", address_of(path), "--port", port]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: port {port} of 127.0.0.1 cannot be opened (Address")
    assert said.err.count("\n") == 1
    assert not served


def test_of_a_server_the_address_is_printed_and_no_other_is_started(monkeypatch, served, capsys):
    monkeypatch.setattr(ui, "check_server", lambda uri: None)
    assert ui.main(["--tracking-uri", "http://me:secret@host:5000"]) == 0
    assert capsys.readouterr().out == "http://me:***@host:5000\n"
    assert not served
    assert way_to("https://host:5000") == "https://host:5000"


@pytest.mark.parametrize("statements", [None, VERSION])
def test_no_database_is_begun_by_looking_at_it(tmp_path, served, capsys, statements):
    path = tmp_path / "mlflow.db"
    if statements:
        database(path, *statements)
    assert ui.main(["--tracking-uri", address_of(path), "--port", str(free_port())]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(path) in said
    assert said.count("\n") == 1
    assert path.exists() == bool(statements)
    assert not served
