"""Ctrl-C and SIGTERM end a sweep in one line, also while its libraries are imported."""

import subprocess
import sys

import pytest

from sweeps.cli import main
from sweeps.width import WIDTH


@pytest.mark.parametrize("module", ["sweeps.grid.options", "sweeps.run.study"])
def test_ctrl_c_while_the_libraries_load_is_one_line(module, capsys, monkeypatch):
    """For seconds after the command is typed nothing else happens."""

    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == module:
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        main(WIDTH, [])
    assert stop.value.code == 130
    said = capsys.readouterr().err
    assert said == "interrupted: run the same command again to finish the rest\n"


def test_nothing_slow_is_loaded_before_ctrl_c_is_heard():
    code = "import sweeps.cli, sys; print(*({*sys.argv[1:]} & sys.modules.keys()))"
    slow = ["torch", "numpy", "ray", "mlflow", "pandas"]
    said = subprocess.run(
        [sys.executable, "-c", code, *slow], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ""


# The libraries, which take seconds to load, are left out with the modules that want them.
HANGING = """
import os, signal, sys, time, types
import sweeps.cli
from sweeps.smoke import SMOKE

def run_sweep(*given):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(float(sys.argv[1]))
        raise

def parse(sweep, arguments):
    return types.SimpleNamespace(dry_run=False, name=None), sweep, []

sys.modules["sweeps.grid.options"] = types.SimpleNamespace(parse=parse)
sys.modules["sweeps.run.study"] = types.SimpleNamespace(run_sweep=run_sweep)
sweeps.cli.GRACE = 0.5
sweeps.cli.main(SMOKE, [])
"""


@pytest.mark.parametrize("seconds", [0, 60])
def test_sigterm_is_ctrl_c_that_comes_to_an_end(seconds):
    """Whether what Ctrl-C has to tidy up is quick or hangs."""
    command = [sys.executable, "-c", HANGING, str(seconds)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert run.returncode == 143
    assert run.stderr == "interrupted: run the same command again to finish the rest\n"
