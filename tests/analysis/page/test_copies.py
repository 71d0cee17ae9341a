"""Copies of a page's figures and tables: the same numbers, as LaTeX and journals take them."""

import io
import re
import shutil
import subprocess

import pandas as pd
import pytest

from analysis.figures.marks import marks_of
from analysis.figures.style import NARROW, WIDE
from analysis.page.copies import picture, tex, to_latex, write_copies
from analysis.page.sections import sweep
from analysis.page.sections.part import PageTable, find
from tests.helpers.fabricated_runs import grid, runs_of

HOSTILE = "a_b & 50% of $x$ #1 {c} ~ ^ \\ < >"
LETTERS = "α κ ρ σ ± × − ≥ ≤ – … ²"


@pytest.fixture(scope="module")
def runs():
    return runs_of(grid(width=[0.5, 1.0], seed=[0, 1, 2], matching=["none", "weights"]))


@pytest.fixture(scope="module")
def parts(runs):
    return [section(find(runs)) for section in (sweep.barrier_section, sweep.scatter_section)]


@pytest.fixture(scope="module")
def folder(runs, parts, tmp_path_factory):
    place = tmp_path_factory.mktemp("copies")
    (place / "mine.txt").write_text("mine")
    write_copies(parts, place, marks_of(runs.trials))
    return place


@pytest.mark.slow
def test_every_figure_and_table_has_its_files_and_nothing_else_is_touched(folder):
    names = ("barrier", "barrier-column", "scatter", "scatter-column")
    figures = {f"{name}.{ending}" for name in names for ending in ("svg", "pdf")}
    tables = {f"{key}.{ending}" for key in ("barrier", "correlations") for ending in ("csv", "tex")}
    assert {file.name for file in folder.iterdir()} == figures | tables | {"mine.txt"}
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.slow
def test_a_csv_has_the_numbers_and_not_their_text(folder, runs):
    cells = pd.read_csv(folder / "barrier.csv")
    trials = runs.trials[(runs.trials["matching"] == "weights") & (runs.trials["width"] == 0.5)]
    row = cells[(cells["matching"] == "weights") & (cells["width"] == 0.5)]
    assert row["mean"].item() == pytest.approx(trials["test_loss_chord"].mean(), rel=1e-12)


def test_a_column_is_as_wide_as_a_column_and_the_figure_is_what_it_was(folder, parts):
    widths = {}
    for name in ("barrier", "barrier-column"):
        svg = (folder / f"{name}.svg").read_text()
        widths[name] = float(re.search(r'width="([\d.]+)pt"', svg)[1])
    assert widths["barrier-column"] == pytest.approx(72 * NARROW)
    assert widths["barrier"] == pytest.approx(72 * WIDE)
    assert parts[0].figure.get_figwidth() == WIDE


@pytest.mark.slow
def test_a_picture_is_as_wide_as_a_page_on_white_ground_and_always_the_same(runs, parts):
    figure, marks = parts[1].figure, marks_of(runs.trials)
    svg = picture(figure, "svg", marks).decode()
    assert float(re.search(r'width="([\d.]+)pt"', svg)[1]) == pytest.approx(72 * WIDE)
    assert "fill: #ffffff" in svg
    assert "trial:" not in svg
    assert svg.count("<title>") == len(runs.trials)
    pdf = picture(figure, "pdf", marks)
    assert pdf.startswith(b"%PDF")
    assert pdf == picture(figure, "pdf", marks)
    assert b"/Type3" not in pdf  # which journals refuse


def table(*texts):
    frame = pd.DataFrame({f"column {HOSTILE}": texts, "second": ["-0.5 ± 0.1"] * len(texts)})
    return PageTable(key="hostile", frame=frame, caption=f"{HOSTILE} {LETTERS}")


def test_latex_has_a_cell_for_a_cell_and_letters_that_its_fonts_have():
    text = to_latex(table(HOSTILE, LETTERS))
    assert text.isascii()
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1]
    assert all(row.endswith(r"$-$0.5 $\pm$ 0.1 \\") for row in rows)
    assert text.count(r"\toprule") == 1
    assert r"\label{tab:hostile}" in text


def test_a_hyphen_is_a_minus_only_before_a_number():
    assert tex("log-log -3 e-05 1.5e-05") == "log-log $-$3 e-05 1.5e-05"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no LaTeX here")
def test_latex_takes_it(tmp_path, folder):
    bodies = [to_latex(table(HOSTILE, LETTERS)), (folder / "correlations.tex").read_text()]
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(f"{head}{''.join(bodies)}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:]


def test_what_is_written_is_what_is_shown(folder, parts):
    shown = parts[1].tables[0]
    assert (folder / "correlations.tex").read_text() == to_latex(shown)
    back = pd.read_csv(
        io.StringIO((folder / "correlations.csv").read_text()), keep_default_na=False
    )
    assert len(back) == len(shown.frame)
