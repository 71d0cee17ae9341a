"""A cluster file is looked at before `ray up` is: what is to be changed is told, a line each."""

import socket
from pathlib import Path
from threading import Thread

import pytest

from sweeps.__main__ import main
from sweeps.forecast import cluster_file
from sweeps.forecast.cluster_file import check_cluster_file

FILES = Path(__file__).parents[3] / "sweeps/cluster"


@pytest.fixture
def greeting(monkeypatch):
    """Answers at 127.0.0.1 with what it is set to say, on the port that is looked at."""
    said = [b"SSH-2.0-here\r\n"]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(said[0])

        Thread(target=answer, daemon=True).start()
        monkeypatch.setattr(cluster_file, "SSH", server.getsockname()[1])
        yield said
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def edited(tmp_path, greeting, monkeypatch):
    """`onprem.yaml` as somebody has edited it, whose machines are this one."""
    key = tmp_path / "key"
    key.touch()
    for name in (".git", ".ray/auth_token"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    text = (FILES / "onprem.yaml").read_text()
    for old, new in {
        "tracking.example": "10.1.2.3",
        "10.0.0.1": "127.0.0.1",
        "[10.0.0.2, 10.0.0.3]": "[127.0.0.1]",
        "~/.ssh/id_ed25519": str(key),
    }.items():
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return file


def test_an_edited_file_is_ready(edited, capsys):
    assert check_cluster_file(edited) == []
    main(["cluster", str(edited)])
    assert f"ray up {edited}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("setup_commands:", "setup_comands:", "'setup_comands'"),
        ("http://10.1.2.3", "http://tracking.example", "tracking.example is to be replaced"),
        ("/key", "/nokey", "nokey does not exist"),
        ("~/.ray/auth_token: ~/.ray/auth_token", "~/.ray/auth_token: ~/x/auth_token", "generate"),
        ("type: local", "type: 3", "provider.type: 3"),
        ("upscaling_speed: 1.0", "upscaling_speed: fast", "upscaling_speed: 'fast'"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_else(edited, capsys, old, new, told):
    edited.write_text(edited.read_text().replace(old, new, 1))
    with pytest.raises(SystemExit, match="2"):
        main(["cluster", str(edited)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {edited}: ")
    assert told in line


def test_a_machine_without_an_ssh_server_is_told_once_for_each_that_is_listed(edited, greeting):
    greeting[0] = b"HTTP/1.1 400\r\n"
    for line in check_cluster_file(edited):
        assert "127.0.0.1 does not answer" in line
    assert len(check_cluster_file(edited)) == 2


def test_a_name_that_begins_as_ours_do_is_the_readers(edited):
    edited.write_text(edited.read_text().replace("10.1.2.3", "my-project-42"))
    assert check_cluster_file(edited) == []


def test_what_is_no_text_is_refused(tmp_path, capsys):
    (tmp_path / "other.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SystemExit, match="2"):
        main(["cluster", str(tmp_path / "other.yaml")])
    assert "other.yaml is not a text in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["- a", "a: [", "", "auth: 3", "provider: [1]\nfile_mounts: x"])
def test_what_is_no_cluster_file_is_refused_without_a_traceback(tmp_path, capsys, text):
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["cluster", str(tmp_path / "other.yaml")])
    assert "other.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["onprem.yaml", "aws.yaml", "gcp.yaml"])
def test_our_own_files_lack_only_what_is_the_readers(name, monkeypatch):
    monkeypatch.setattr(cluster_file, "_silent", lambda _: [])
    lines = check_cluster_file(FILES / name)
    assert lines
    assert all("is to be replaced" in line or "does not exist" in line for line in lines)
