"""`llfc connect`: every pair of checkpoints, measured on the line between them."""

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import llfc
from llfc.atomic import made_whole
from llfc.command.checkpoints import check_folder
from llfc.command.match import permutation_of
from llfc.command.pair.figures import can_draw, draw
from llfc.command.pair.numbers import frames, write_numbers, write_table
from llfc.command.pair.page import answer, overview, page
from llfc.command.setting import Asked, Setting, asked_in, shared_options
from llfc.connectivity.corrections import CORRECTIONS, correction_of
from llfc.connectivity.measures.registry import MEASURES
from llfc.names import counted, lookup, readable
from llfc.results import Connection
from llfc.specs import DEFAULT_MEASURES

NO_FIGURES = "no figures, as matplotlib is not installed: pip install 'llfc[figures]'"
SHOWN = ("test_loss_chord", "test_error_chord", "llfc_error_mean")


@click.command("connect")
@click.argument("networks", nargs=-1, required=True, metavar="A B [C ...]")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A new folder, for numbers, figures and a page.",
)
@click.option(
    "--correction",
    default="reset",
    show_default=True,
    help=f"One of {', '.join(CORRECTIONS)}, or FILE.py:FUNCTION.",
)
@click.option(
    "--alphas", type=int, default=25, show_default=True, help="Positions on the line; odd."
)
@click.option(
    "--measure",
    "measures",
    multiple=True,
    default=DEFAULT_MEASURES,
    show_default=True,
    help=f"Further measurements, once for each: {', '.join(MEASURES)}.",
)
@shared_options(needs_data=True)
def connect(
    networks: Sequence[str],
    out: Path,
    correction: str,
    alphas: int,
    measures: Sequence[str],
    **shared: Any,
) -> None:
    """Match and measure every pair of checkpoints on the line between their weights.

    Writes a folder: connection.json (all numbers, which llfc reads back), tables as CSV (and as
    Parquet where pyarrow is installed), figures (where matplotlib is), and index.html, one page
    that needs no network. Of more than two checkpoints, a folder for each pair, and an overview.
    """
    asked = asked_in(shared)
    _check(networks, out, correction)
    for name in measures:
        lookup("measure", name, MEASURES)
    setting = asked.setting(networks)
    setting.check_task()
    pairs = list(itertools.combinations(range(len(networks)), 2))
    said = _said(asked, correction)
    with made_whole(out) as beside:
        beside.mkdir()
        found = {}
        for first, second in pairs:
            called = _called(setting, first, second)
            folder = beside if len(pairs) == 1 else beside / called
            folder.mkdir(exist_ok=True)
            given = None
            if asked.matching != "none":
                given = permutation_of(setting, asked.matching, second, first)
            measured = {"correction": correction, "alphas": alphas, "measures": measures}
            found[called] = _measure(setting, (first, second), given, measured)
            title = f"{setting.networks[first].path} and {setting.networks[second].path}"
            _write(found[called], title, said, folder)
        if len(pairs) > 1:
            _write_overview(found, beside)
    for called, each in found.items():
        click.echo(f"{called}: {answer(each)}")
    if not can_draw():
        click.echo(NO_FIGURES)
    click.echo(f"page: {out / 'index.html'}")


def _check(networks: Sequence[str], out: Path, correction: str) -> None:
    """Refuse what can be refused at once."""
    if len(networks) < 2:
        raise ValueError(f"connect needs at least two networks, got {len(networks)}")
    check_folder(out)
    if out.exists():
        raise ValueError(f"{out} is there already, and nothing is replaced: name a new folder")
    correction_of(correction)


def _said(asked: Asked, correction: str) -> list[str]:
    """What was done, in words for the page."""
    return [
        f"Data {asked.data}, matching {readable(asked.matching)}, correction {correction},"
        f" seed {asked.seed}; llfc {llfc.__version__}."
    ]


def _called(setting: Setting, first: int, second: int) -> str:
    """The name of a pair's folder."""
    stems = [Path(setting.networks[number].path).name.split(".")[0] for number in (first, second)]
    return f"{first + 1}-{stems[0]}--{second + 1}-{stems[1]}"


def _measure(
    setting: Setting, pair: tuple[int, int], matching: Any, options: Mapping[str, Any]
) -> Connection:
    """The line between two networks."""
    data = setting.data
    assert data is not None  # as it is required
    a, b = (setting.models[number] for number in pair)
    return llfc.connect(
        a,
        b,
        test=data.test,
        train=data.train,
        task=data.task,
        matching=matching,
        spec=None if matching is None else setting.spec,
        seed=setting.seed,
        progress=setting.progress,
        **options,
    )


def _write(found: Connection, title: str, said: Sequence[str], folder: Path) -> None:
    """All that there is of a pair."""
    write_numbers(found, folder)
    drawn = draw(found, folder) if can_draw() else {}
    about = [*said, *([] if drawn else [f"{NO_FIGURES.capitalize()}."])]
    if importlib.util.find_spec("pyarrow") is None:
        about.append("Tables are CSV alone, as pyarrow is not installed.")
    text = page(title, about, found, drawn, frames(found))
    (folder / "index.html").write_text(text, encoding="utf-8")


def _write_overview(found: Mapping[str, Connection], folder: Path) -> None:
    """All pairs side by side."""
    scalars = {called: each.scalars() for called, each in found.items()}
    names = next(iter(scalars.values()))
    columns: dict[str, Sequence[Any]] = {
        "pair": list(scalars),
        **{name: [each[name] for each in scalars.values()] for name in names},
    }
    write_table(columns, folder / "pairs")
    shown = {name: columns[name] for name in ("pair", *SHOWN) if name in columns}
    text = overview(counted(len(found), "pair"), shown, list(scalars))
    (folder / "index.html").write_text(text, encoding="utf-8")
