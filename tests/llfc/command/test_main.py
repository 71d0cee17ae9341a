"""What the command refuses: one line, status 2, and nothing written."""

import os
import subprocess
import sys

import click
import pytest
import torch
from safetensors.torch import save_file

import llfc
from llfc.command.main import COMMANDS, command
from tests.helpers.command_files import status_of, written

A, B = "0.safetensors", "1.safetensors"
MODEL = ("--model", "mine.py:build")
DATA = ("--data", "mine.py:load")
MERGE, CONNECT = ("merge", A, B, *MODEL), ("connect", A, B, *MODEL, *DATA)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    torch.save({"x": object}, tmp_path / "code.pt")
    save_file({"0.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    (tmp_path / "there").mkdir()
    return tmp_path


def match(*more, a=A, b=B):
    return ("match", a, b, *more)


OUT = ("-o", "x.safetensors")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing command."),
        (("mach",), "No such command 'mach'."),
        (match(*MODEL), "Missing option '--output' / '-o'."),
        (match(*OUT), "--model is needed, as a checkpoint holds no code: FILE.py:FUNCTION,"),
        (match(*MODEL, "-o", "x.pt"), "x.pt must end in .safetensors"),
        (match(*MODEL, "-o", "no/x.safetensors"), "no/x.safetensors: there is no folder "),
        (match(*MODEL, "-o", A), "0.safetensors is an input: name another file to be written"),
        (match(*MODEL, *OUT), "the model's inputs are not known: say their shape, such as"),
        (match(*MODEL, *OUT, "--input", "2x4"), "input must be sizes such as 2,3,32,32, or"),
        (match(*MODEL, *OUT, "--input", "2,5"), "example inputs must fit the model, got (2, 5)"),
        (match(*MODEL, *OUT, "--matching", "none:effort=1"), "matching 'none' has no option"),
        (match(*MODEL, *OUT, "--matching", "weight"), "unknown matching 'weight': choose from"),
        (match(*MODEL, *OUT, "--device", "abacus"), "device 'abacus': "),
        (match("--model", "resnet", *OUT), "unknown model 'resnet': give FILE.py:FUNCTION,"),
        (match("--model", "there", *OUT), "unknown model 'there': there has no config.json; give"),
        (match("--model", "mine.py:biuld", *OUT), "architecture mine:biuld: no function 'biuld'"),
        (match("--model", "mine.py:number", *OUT), "model mine.py:number must be a torch.nn.Modu"),
        (match("--model", "mine.py:build#size=3", *OUT), "model mine:build takes no argument 'si"),
        (match(*MODEL, *OUT, b="no.pt"), "checkpoint no.pt: No such file or directory"),
        (match(*MODEL, *OUT, b="code.pt"), "checkpoint code.pt needs code to be read, which is"),
        (match(*MODEL, *OUT, b="there"), "checkpoint there: the folder has none of model.safet"),
        (match(*MODEL, *OUT, b="other.safetensors"), "checkpoint other.safetensors: 0.weight must"),
        (match(*MODEL, *OUT, "--data", "mnits"), "unknown dataset 'mnits': choose from"),
        ((*MERGE, *OUT, "--alpha", "2"), "--alpha must lie between 0 and 1 and is for two netwo"),
        ((*MERGE, *OUT, "--weights", ".5,.6"), "weights must lie between 0 and 1 and add up to"),
        ((*MERGE, *OUT, "--weights", "a,b"), "--weights must be numbers such as .5,.3,.2, got"),
        (("merge", A, *MODEL, *OUT), "merge needs at least two networks, got 1"),
        (
            ("merge", A, B, A, *MODEL, *OUT, "--matching", "weights:effort=2"),
            "matching of several networks must be one of weights, orthogonal, got 'weights:e",
        ),
        ((*CONNECT, "--out", "there"), "there is there already, and nothing is replaced: name"),
        ((*CONNECT, "--out", "new", "--measure", "x"), "unknown measure 'x': choose from"),
        ((*CONNECT, "--out", "new", "--correction", "x"), "unknown correction 'x': choose from"),
        ((*CONNECT, "--out", "new", "--limit-test", "3"), "data mine.py:load returns batches of"),
        (("connect", A, *MODEL, *DATA, "--out", "new"), "connect needs at least two networks,"),
        (("spec", "mine.py:build"), "the model's inputs are not known: say their shape, such as"),
        (("spec", "mine.py:build", "--save", "x.txt"), "x.txt must end in .json"),
        (("spec", "torchvision:resnet19"), "unknown model of torchvision 'resnet19': choose"),
    ],
)
def test_refused_in_one_line_with_nothing_written(folder, capsys, arguments, said):
    before = sorted(os.listdir())
    quiet = ("-q",) if arguments[1:] else ()
    assert status_of(*arguments, *quiet) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(f"llfc: {said}")
    assert found.err.count("\n") == 1
    assert [name for name in sorted(os.listdir()) if not name.startswith("__")] == before


def test_nothing_is_written_if_the_function_is_another(folder, capsys, monkeypatch):
    def other(a, b, *rest):
        raise ValueError("permuted, B's outputs are 0.3 of their scale away from its own")

    monkeypatch.setattr("llfc.command.match.permuted", other)
    assert status_of(*match(*MODEL, *OUT, "-q", "--input", "6,4")) == 2
    assert not (folder / "x.safetensors").exists()


def test_ctrl_c_leaves_nothing(folder, capsys, monkeypatch):
    def stopped(*rest, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("llfc.connect", stopped)
    assert status_of(*CONNECT, "--out", "new", "-q", "--matching", "none") == 130
    assert sorted(os.listdir()) == sorted({*os.listdir()} - {"new"})
    assert not list(folder.glob(".new*"))


def test_help_names_all_commands(capsys):
    assert status_of("--help") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("spec", "match", "connect", "merge"))


def test_help_says_of_each_command_what_it_says_of_itself():
    context = click.Context(command)
    for name, said in COMMANDS.items():
        assert command.get_command(context, name).help.partition("\n\n")[0].split() == said.split()


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["mach"]])
def test_what_needs_no_network_does_not_wait_for_pytorch(words):
    code = "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules));" + (
        f"from llfc.command.main import main; main({words})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_every_public_name_is_there_when_it_is_asked_for():
    assert {*llfc.__all__} <= {*dir(llfc)}
    assert all(getattr(llfc, name) is not None for name in llfc.__all__)
    with pytest.raises(AttributeError, match="module 'llfc' has no attribute 'conect'"):
        llfc.conect  # noqa: B018
