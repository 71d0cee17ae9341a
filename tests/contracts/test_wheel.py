"""The wheel, built and used where nothing is installed that it does not ask for."""

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import llfc

ROOT = Path(__file__).parents[2]


def required(names):
    """The distributions that `names` need, directly or through others, as they are installed."""
    waiting, found = list(names), {}
    while waiting:
        wanted = Requirement(waiting.pop())
        extras = ["", *wanted.extras]
        if wanted.marker and not any(wanted.marker.evaluate({"extra": e}) for e in extras):
            continue
        key = wanted.name, tuple(sorted(wanted.extras))
        if key in found:
            continue
        try:
            found[key] = distribution(wanted.name)
        except PackageNotFoundError:
            continue
        for line in found[key].requires or ():
            each = Requirement(line)
            if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras):
                each.marker = None
                waiting.append(str(each))
    return {each.name: each for each in found.values()}.values()


def linked(site, distributions):
    """Links in `site` to all that the distributions have installed."""
    for each in distributions:
        for file in each.files or ():
            top = file.parts[0]
            if top in ("..", "__pycache__") or (site / top).exists():
                continue
            (site / top).symlink_to(each.locate_file(top))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, and beside it the sdist, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    code = (
        "import sys; from hatchling import build; folder = sys.argv[1];"
        "print(build.build_sdist(folder)); print(build.build_wheel(folder))"
    )
    words = [sys.executable, "-c", code, str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"llfc", f"llfc-{llfc.__version__}.dist-info"}
    assert {
        "llfc/py.typed",
        "llfc/command/pair/page.html",
        "llfc/data/assets/fashion_mnist_small.npz",
        "llfc/data/assets/king_james.txt.xz",
    } <= {*names}
    (sdist,) = wheel.parent.glob("*.tar.gz")
    assert sdist.name == f"llfc-{llfc.__version__}.tar.gz"


@pytest.mark.slow
def test_it_is_used_in_an_environment_of_what_it_asks_for(wheel, tmp_path):
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    site = next((place / "lib").glob("python3*")) / "site-packages"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
        (metadata,) = (site / n for n in file.namelist() if n.endswith("/METADATA"))
    lines = metadata.read_text().split("\n\n")[0].splitlines()
    asked = [line.split(": ", 1)[1] for line in lines if line.startswith("Requires-Dist")]
    linked(site, required(line for line in asked if "extra ==" not in line))
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.ReLU(), nn.Linear(4, 10))\n"
    )
    code = """
import importlib.util, sys, torch, llfc, mine
from llfc.command.main import main
heavy = "ray mlflow pandas torchvision matplotlib sweeps analysis".split()
print(*[name for name in heavy if importlib.util.find_spec(name)])
for seed in (0, 1):
    torch.manual_seed(seed)
    torch.save(mine.build().state_dict(), f"{seed}.pt")
main("connect 0.pt 1.pt --model mine.py:build --data fashion-mnist-small --limit-train 20"
     " --limit-test 20 --alphas 3 --out pair".split())
"""
    environment = {**os.environ, "LLFC_DATA": str(tmp_path / "data"), "PYTHONPATH": str(tmp_path)}
    words = [place / "bin" / "python", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ""
    assert "no figures, as matplotlib is not installed" in done.stdout
    assert (tmp_path / "pair" / "index.html").is_file()


def test_the_version_is_said_once():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {llfc.__version__}\n" in citation
    assert f"## {llfc.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
