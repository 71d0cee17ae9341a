"""What stands in the texts is run, or at least understood."""

import contextlib
import io
import re
import shlex
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

import llfc
from llfc.__main__ import main
from sweeps import SWEEPS
from sweeps.grid.options import parse
from tests.helpers.small_networks import mlp, samples

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [ROOT / "docs/command.md", *sorted((ROOT / "docs/tutorials").glob("*.md"))]
CHECKPOINTS = ROOT / "docs/tutorials/checkpoints.md"
# What is no command of the project, or needs another machine.
ELSEWHERE = ("(umask", ".venv/bin/ray ", "ray ", "chmod ", "pip install", "cd ", "git clone")


def blocks(page, language):
    found = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def commands(text):
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run(page):
    """Run a page's Python and its `llfc` commands in the order of the page; the names it leaves."""
    names = {"__name__": "page"}
    pattern = r"^```(python|sh)(?: title=\"(.+?)\")?\n(.*?)^```"
    for language, title, text in re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE):
        if title:
            Path(title).write_text(text)
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            for line in commands(text):
                if line.startswith("llfc "):
                    with pytest.raises(SystemExit) as stop:
                        main(shlex.split(line)[1:])
                    assert stop.value.code == 0, line
    return names


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_every_table_begins_with_its_heading(page):
    """A blank line within a table ends it: what follows is shown with its bars."""
    tables = re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE)
    for table in tables:
        assert re.match(r"\|.*\n\|[-| :]+\|\n", table), table.splitlines()[0]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of its own that has the repository's results, and a figure that nobody keeps."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("mine", None)
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in RUN if page != CHECKPOINTS], ids=lambda page: page.stem
)
def test_a_page_runs_from_top_to_bottom(page, place):
    run(page)


@pytest.mark.slow
def test_the_files_of_the_tutorial_are_what_it_says(place):
    names = run(CHECKPOINTS)
    assert (place / "b-matched.safetensors").is_file()
    assert (place / "line.svg").is_file()
    assert names["better"].record["objective"] >= names["perm"].record["objective"] * (1 - 1e-6)
    chords = [names[name].barriers["test_loss_chord"] for name in ("found", "plain")]
    assert chords[0] < chords[1]


def test_the_readmes_python_runs():
    (block,) = blocks(ROOT / "README.md", "python")
    images, labels = samples(8, (6,))[0], torch.arange(8) % 4
    names = {"model_a": mlp(0), "model_b": mlp(1), "images": images, "labels": labels}
    exec(block, names)
    assert names["found"].curve["test_loss"].shape == (25,)
    assert names["llfc"] is llfc


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_of_the_project_and_their_options_exist(page):
    """Targets, scripts and tables exist, and what a sweep is given is what it takes."""
    for line in commands("\n".join(blocks(page, "sh"))):
        if not line.startswith(ELSEWHERE):
            understood(line)


def understood(line):
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets, line
        given = [word.removeprefix("ARGS=").split() for word in words if word.startswith("ARGS=")]
        if words[1].startswith("sweep-") and given:
            asked(words[1].removeprefix("sweep-").replace("-", "_"), given[0])
    elif words[0] == "python" or words[0] == ".venv/bin/python":
        if words[1] == "-m":
            assert (ROOT / words[2] / "__main__.py").is_file(), line
        else:
            assert (ROOT / words[1]).is_file(), line
            asked(Path(words[1]).stem, words[2:])
    else:
        assert words[0] == "llfc", f"what is this? {line}"


def asked(sweep, words):
    """Refused words are an error; functions and files that only a reader has are not looked for."""
    theirs = ("mine.py", "runs/", ".pt", ".safetensors", "imagefolder:", "text:", "--help")
    if any(part in word for word in words for part in theirs):
        words = [word for word in words if word.startswith("--")]
        helped = parse_help(sweep)
        assert all(word in helped for word in words), words
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert parse(SWEEPS[sweep], words)[2]


def parse_help(sweep):
    """All options of a sweep, as its help says them."""
    held = io.StringIO()
    with contextlib.redirect_stdout(held), contextlib.suppress(SystemExit):
        parse(SWEEPS[sweep], ["--help"])
    return held.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_text_lead_somewhere_in_the_repository(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        # Pages of the root that the site makes from files that stand there.
        made = target in ("contributing.md", "changelog.md") and page.parent == ROOT / "docs"
        assert made or (page.parent / target).exists(), f"{page}: {target}"
