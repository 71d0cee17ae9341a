"""The pictures of the texts, drawn from formulas and frames: `python -m docs.tools.pictures`.

They are SVG in the colour of the text around them (`currentColor`), on no ground, so that they can
be read on a light page and on a dark one. A style in each file does the same where it is shown by
itself.
"""

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.tools.colours import BETWEEN, TEXT, A, B
from docs.tools.convergence import convergence
from docs.tools.families import families
from docs.tools.interventions import interventions

FOLDER = Path(__file__).parents[1] / "pictures"
# In the site, the colours of A, B and what lies between them are those of the page's scheme.
VARIABLES = {A: "var(--a, #1f77b4)", B: "var(--b, #d9691d)", BETWEEN: "var(--between, #2f9e4e)"}
STYLE = "<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "llfc",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.transparent": True,
    "legend.frameon": False,
    **{name: TEXT for name in ("text.color", "axes.edgecolor", "axes.labelcolor")},
    **{name: TEXT for name in ("xtick.color", "ytick.color", "patch.edgecolor")},
}


def lmc() -> Figure:
    """The loss on the line for a pair with a barrier, and for one without."""
    figure, (flat, high) = plt.subplots(1, 2, figsize=(6.6, 2.5), sharey=True)
    alpha = np.linspace(0, 1, 101)
    chord = 0.5 - 0.1 * alpha
    for axes, rise, title in ((flat, 0.03, "connected"), (high, 1.1, "not connected")):
        curve = chord + rise * np.sin(np.pi * alpha) ** 2
        axes.plot(alpha, chord, "--", color=TEXT, linewidth=1)
        axes.plot(alpha, curve, color=BETWEEN, linewidth=2)
        _ends(axes, (0, chord[0]), (1, chord[-1]))
        axes.set(title=title, xlabel="α", ylim=(0, 1.9), xticks=[0, 0.5, 1], yticks=[])
    flat.set_ylabel("loss")
    high.annotate("", (0.5, 1.55), (0.5, 0.45), arrowprops={"arrowstyle": "<->", "color": TEXT})
    high.text(0.53, 0.95, "barrier")
    high.text(0.04, 0.28, "chord")
    return figure


def llfc() -> Figure:
    """Features of one layer for one input: A's, B's, their blend, and that of the blend."""
    figure, axes = plt.subplots(figsize=(4.6, 3))
    a, b = np.array([0.7, 1.9]), np.array([2.9, 0.8])
    between, blend = (a + b) / 2, np.array([1.35, 1.62])
    for end, colour in ((a, A), (b, B), (between, TEXT), (blend, BETWEEN)):
        arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, (0, 0), arrowprops=arrow)
    axes.plot(*np.stack([a, b]).T, ":", color=TEXT)
    axes.text(0.15, 2.02, "feature in A", color=A)
    axes.text(2.45, 0.5, "feature in B", color=B)
    axes.text(1.9, 1.32, "blend of the features")
    axes.text(1.42, 1.68, "feature of the blend", color=BETWEEN)
    angles = np.linspace(np.arctan2(*between[::-1]), np.arctan2(*blend[::-1]), 20)
    axes.plot(0.9 * np.cos(angles), 0.9 * np.sin(angles), color=TEXT)
    axes.annotate(
        "LLFC error:\n1 − cos of this angle",
        (0.68, 0.6),
        (0.95, 0.08),
        arrowprops={"arrowstyle": "-", "color": TEXT},
    )
    axes.set(xlim=(0, 3.6), ylim=(0, 2.2), xticks=[], yticks=[])
    axes.set_axis_off()
    return figure


def spawning() -> Figure:
    """A trunk and the branches that fork from it."""
    figure, axes = plt.subplots(figsize=(6.4, 2.5))
    axes.plot([0, 10], [0, 0], color=A, linewidth=2.5)
    axes.text(10.15, 0, "A: the trunk goes on", color=A, va="center")
    for epoch, drop in ((0, 2.4), (2, 1.6), (5, 0.8)):
        time = np.linspace(epoch, 10, 60)
        share = (time - epoch) / (10 - epoch)
        axes.plot(time, -drop * (1 - np.exp(-4 * share)) / (1 - np.exp(-4)), color=B)
        axes.plot(epoch, 0, "o", color=TEXT)
        axes.text(10.15, -drop, f"B, spawned at {epoch}", color=B, va="center")
    axes.set(xlim=(-0.3, 14), ylim=(-2.8, 0.4), yticks=[], xticks=[0, 2, 5, 10], xlabel="epoch")
    axes.xaxis.set_label_coords(0.36, -0.14)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_bounds(0, 10)
    return figure


def matching() -> Figure:
    """Two layers' units, as trained and in the order of A's."""
    figure, panels = plt.subplots(1, 3, figsize=(6.6, 2.5))
    shown = ["#4477aa", "#cc5566", "#228b44", "#a8701c"]
    for axes, title, order in zip(
        panels, ("A", "B, as trained", "B, matched"), ((0, 1, 2, 3), (2, 0, 3, 1), (0, 1, 2, 3)),
        strict=True,
    ):  # fmt: skip
        for row, unit in enumerate(order):
            for side in (-1, 1):
                for other in (-1.1, 0, 1.1):
                    line = [1.5 - row, other]
                    axes.plot([0, side], line, color=shown[unit], linewidth=1.6, zorder=1)
            axes.plot(0, 1.5 - row, "o", color=shown[unit], markersize=15, zorder=2)
            axes.text(0, 1.5 - row, str(unit + 1), ha="center", va="center", color="#fff", zorder=3)
        for side in (-1, 1):
            axes.plot([side] * 3, [-1.1, 0, 1.1], "o", color=TEXT, markersize=5)
        axes.set_title(title, color={"A": A}.get(title, B))
        axes.set(xlim=(-1.3, 1.3), ylim=(-2, 2))
        axes.set_axis_off()
    return figure


def kinds() -> Figure:
    """What the maps of each kind do to a shape in the plane of two units."""
    figure, panels = plt.subplots(1, 5, figsize=(6.8, 1.9))
    shape = np.array(
        [[0.2, 0.2], [1.3, 0.2], [1.3, 0.5], [0.5, 0.5], [0.5, 0.8], [0.2, 0.8], [0.2, 0.2]]
    )
    turn = np.deg2rad(125)
    maps = {
        "permutation": [[0, 1], [1, 0]],
        "signed": [[0, -1], [1, 0]],
        "scaled": [[0, 1.6], [0.6, 0]],
        "orthogonal": [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]],
        "invertible": [[-1.0, 0.5], [-0.4, -1.1]],
    }
    for axes, (kind, map_) in zip(panels, maps.items(), strict=True):
        axes.axhline(0, color=TEXT, linewidth=0.6)
        axes.axvline(0, color=TEXT, linewidth=0.6)
        axes.plot(*shape.T, color=A)
        axes.fill(*shape.T, color=A, alpha=0.25, linewidth=0)
        moved = shape @ np.array(map_).T
        axes.plot(*moved.T, color=B)
        axes.fill(*moved.T, color=B, alpha=0.25, linewidth=0)
        axes.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
        axes.set_title(kind, fontsize=10)
        axes.set_axis_off()
    return figure


def corrections() -> Figure:
    """Densities of a channel: of both ends, of the mean of two independent ones, corrected."""
    figure, axes = plt.subplots(figsize=(5.6, 2.6))
    x = np.linspace(-5, 7, 300)

    def density(mean: float, spread: float) -> np.ndarray:
        return np.exp(-(((x - mean) / spread) ** 2) / 2) / spread

    axes.plot(x, density(0, 1), color=A, label="A")
    axes.plot(x, density(2, 1), color=B, label="B")
    axes.plot(x, density(1, 1 / np.sqrt(2)), "--", color=TEXT, label="midpoint: spread 1/√2")
    axes.plot(x, density(1, 1), color=BETWEEN, linewidth=2, label="midpoint, corrected")
    axes.set(yticks=[], xticks=[], xlabel="a channel's pre-activation", xlim=(-4, 10))
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper right", fontsize=9)
    return figure


def conventions() -> Figure:
    """The two conventions: ends as trained, or corrected as the blends are."""
    figure, (trained, alike) = plt.subplots(1, 2, figsize=(6.6, 2.5), sharey=True)
    alpha = np.linspace(0, 1, 25)
    curve = 0.62 + 0.25 * np.sin(np.pi * alpha) ** 2
    for axes, end, title in (
        (trained, 0.45, "ends as trained"),
        (alike, curve[0], "ends corrected alike"),
    ):
        shown = curve.copy()
        shown[[0, -1]] = end
        axes.plot(alpha, shown, ".-", color=BETWEEN, markersize=4)
        axes.axhline(end, color=TEXT, linestyle="--", linewidth=1)
        _ends(axes, (0, end), (1, end))
        axes.annotate("", (0.5, 0.87), (0.5, end), arrowprops={"arrowstyle": "<->", "color": TEXT})
        axes.set(title=title, xlabel="α", ylim=(0.3, 1), xticks=[0, 0.5, 1], yticks=[])
    trained.text(0.53, 0.54, "barrier")
    alike.text(0.53, 0.72, "barrier")
    trained.set_ylabel("loss")
    return figure


def _ends(axes: Axes, a: tuple[float, float], b: tuple[float, float]) -> None:
    for place, colour, name in ((a, A, "A"), (b, B, "B")):
        axes.plot(*place, "o", color=colour, markersize=8, clip_on=False, zorder=3)
        axes.annotate(name, place, (0, 9), textcoords="offset points", color=colour, ha="center")


PICTURES: Mapping[str, Callable[[], Figure]] = {
    "conventions": conventions,
    "convergence": convergence,
    "corrections": corrections,
    "families": families,
    "interventions": interventions,
    "kinds": kinds,
    "llfc": llfc,
    "lmc": lmc,
    "matching": matching,
    "spawning": spawning,
}


def drawn(name: str) -> str:
    """The picture called `name` as SVG; the same text whenever it is drawn."""
    with matplotlib.rc_context(SETTINGS):
        figure = PICTURES[name]()
        figure.tight_layout()
        return as_svg(figure)


def as_svg(figure: Figure) -> str:
    """A figure as SVG in the colours of the page that it is on; the figure is closed."""
    held = io.StringIO()
    figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = held.getvalue()
    svg = svg[svg.index("<svg") :].replace(TEXT, "currentColor")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("<svg ", '<svg fill="currentColor" ', 1)
    start = svg.index(">") + 1
    return (
        "\n".join(line.rstrip() for line in f"{svg[:start]}\n{STYLE}{svg[start:]}".splitlines())
        + "\n"
    )


def main() -> None:
    """Draw all of them into `docs/pictures`."""
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(drawn(name))


if __name__ == "__main__":
    main()
