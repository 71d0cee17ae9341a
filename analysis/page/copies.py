"""The page's figures and tables as files of their own, for a paper: SVG and PDF, CSV and LaTeX.

Figures are as wide as two columns of a page (`style.WIDE`), on white ground, so that their text
keeps its size; some are laid out once more for one column (`style.NARROW`). A table is once text,
as on the page, in LaTeX, and once numbers, as CSV.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from analysis.figures.marks import Mark, resolve
from analysis.figures.style import NARROW, STYLE
from analysis.page.sections.part import PageTable, Part
from analysis.runs.files import write_bytes, write_frame

# What LaTeX would take for its own, and letters that its usual fonts lack.
TEX = {
    **{mark: rf"\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{"α": r"$\alpha$", "κ": r"$\kappa$", "ρ": r"$\rho$", "σ": r"$\sigma$"},
    **{"±": r"$\pm$", "×": r"$\times$", "−": "$-$", "≥": r"$\ge$", "≤": r"$\le$"},
    **{"–": "--", "…": r"\ldots{}", "²": "$^2$", "<": "$<$", ">": "$>$"},
}
_SPECIAL = re.compile("|".join(map(re.escape, TEX)))
_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")


def write_copies(parts: Iterable[Part], folder: Path, marks: Mapping[str, Mark]) -> None:
    """Write every figure and table of `parts` into `folder`, each whole or not at all.

    A figure of the section `key` becomes `key.svg` and `key.pdf`, in one column `key-column.svg`
    and `key-column.pdf`, a table `key.csv` and `key.tex`. Other files in the folder are left alone.
    """
    for part in parts:
        if part.figure is not None:
            for ending in ("svg", "pdf"):
                write_bytes(picture(part.figure, ending, marks), folder / f"{part.key}.{ending}")
                if part.in_column:
                    with in_one_column(part.figure):
                        column = picture(part.figure, ending, marks)
                    write_bytes(column, folder / f"{part.key}-column.{ending}")
        for table in part.tables:
            numbers = table.frame if table.numbers is None else table.numbers
            write_frame(numbers, folder / f"{table.key}.csv")
            write_bytes(to_latex(table).encode(), folder / f"{table.key}.tex")


@contextmanager
def in_one_column(figure: Figure) -> Iterator[None]:
    """`figure` as wide as one column, for a while; its text keeps its size."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(NARROW, min(height, 0.9 * NARROW))
    try:
        yield
    finally:
        figure.set_size_inches(width, height)


def picture(figure: Figure, ending: str, marks: Mapping[str, Mark]) -> bytes:
    """`figure` on white ground as a file that ends in `ending`; the same figure, the same bytes.

    Its text is letters, in PDF (TrueType, as journals want), and outlines in SVG.
    """
    buffer = io.BytesIO()
    with mpl.rc_context({**STYLE, "pdf.fonttype": 42}):
        date = {"svg": "Date", "pdf": "CreationDate"}[ending]
        figure.savefig(buffer, format=ending, facecolor="white", metadata={date: None})
    if ending == "pdf":
        return buffer.getvalue()
    return resolve(buffer.getvalue().decode(), marks).encode()


def to_latex(table: PageTable) -> str:
    """`table` for LaTeX with booktabs, its caption and the label `tab:key`."""
    frame = table.frame.astype(str).map(tex).rename(columns=tex)
    text = frame.to_latex(
        index=False,
        column_format="l" * frame.shape[1],
        caption=tex(table.caption),
        label=f"tab:{table.key}",
    )
    return f"% \\usepackage{{booktabs}}\n{text}"


def tex(text: object) -> str:
    r"""`text` as LaTeX shows it.

    >>> tex("-0.63 ± 0.1, 95 % of llfc_error")
    '$-$0.63 $\\pm$ 0.1, 95 \\% of llfc\\_error'
    """
    escaped = _SPECIAL.sub(lambda found: TEX[found[0]], str(text))
    return _MINUS.sub("$-$", escaped)
