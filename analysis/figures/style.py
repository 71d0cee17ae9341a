"""How every figure looks: palette, sizes, and the two ways it leaves memory.

The ink is one colour that nothing else has, so that an inline SVG can hand it to the page
(`currentColor`) and be read on light and dark ground. Figures are made with matplotlib's objects
alone, without pyplot, so nothing is shared between figures.
"""

import html
import io
import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK = "#1a1b1e"
# Inches: one column and both of a paper's page, at which its text keeps its size.
NARROW, WIDE = 3.3, 6.9
# Okabe & Ito, "Color Universal Design" (2008): told apart with any colour vision. Yellow and black
# are left out: the one is lost on light ground, the other on dark.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Colour is never the only difference.
MARKERS = ("o", "s", "^", "D", "v", "P")
# Any, not a Mapping: matplotlib types every setting by its name.
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "figure.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.hashsalt": "llfc",  # the same figure, the same bytes
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "legend.labelcolor"), INK),
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """`draw`, in the house style; the caller's own matplotlib settings come back afterwards."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


class ShownFigure(Figure):
    """A figure that a notebook shows when it is a cell's value."""

    def _repr_png_(self) -> bytes:
        return to_png(self)


def new_figure(width: float, height: float, *, fitted: bool = True) -> Figure:
    """An empty figure of `width` by `height` inches, which lays itself out if `fitted`."""
    figure = ShownFigure(figsize=(width, height), layout="constrained" if fitted else None)
    FigureCanvasAgg(figure)
    return figure


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name, in turn."""
    return {
        name: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)
    }


def plain_number(value: float, _: object = None) -> str:
    """A tick label without exponents where it stays short.

    >>> plain_number(0.2), plain_number(30.0), plain_number(2e-5)
    ('0.2', '30', '2e-05')
    """
    return f"{value:g}"


def to_png(figure: Figure, dpi: int = 100) -> bytes:
    """`figure` as a PNG picture on white ground."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


@styled
def to_svg(figure: Figure, name: str, alt: str) -> str:
    """`figure` as an SVG element to put inside a page: no ground, the page's own ink.

    Args:
        figure: what to draw.
        name: a name that no other figure of the page has; its ids begin with it.
        alt: what a reader who cannot see the figure is told.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Two figures of one page must not share ids, or a clip of the one would cut the other.
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1, flags=re.DOTALL)
    # As wide as it is, times what reads well on a screen; a narrow screen shrinks or scrolls it.
    inches = figure.get_figwidth()
    size = f'style="max-width: {7.5 * inches:.4g}rem; min-width: {4.3 * inches:.4g}rem"'
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" {size} ', 1)
