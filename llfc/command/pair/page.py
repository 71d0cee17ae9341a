"""One page for a pair, and one for several: HTML that needs nothing beside it."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from llfc.command.pair.numbers import Columns
from llfc.results import Connection, midpoint

MOST = 400  # rows of a table that a page shows; the files have all
CAPTIONS = {
    "curve": "Loss and error of the networks on the line from A (α = 0) to B, permuted (α = 1)."
    " Dashed: the chord between the ends. A barrier is the largest height above it.",
    "layers": "LLFC error of each layer at α = 1/2: 1 less the cosine between the feature of the"
    " network on the line and the mean of A's and B's features, over test samples. Beside it, the"
    " same between A's and B's features, which no line is needed for.",
}


def answer(found: Connection) -> str:
    """What the numbers say, in two sentences."""
    middle = midpoint(found.curve["alpha"])
    ends = found.curve["test_error"][[0, -1]]
    barrier, error = found.barriers["test_loss_chord"], found.barriers["test_error_chord"]
    return (
        f"On the line from A to B, the test loss rises at most {barrier:.4g} above the chord"
        f" between the ends, and the test error {error:.4g}. The ends have a test error of"
        f" {ends[0]:.4g} and {ends[1]:.4g}, the network halfway"
        f" {found.curve['test_error'][middle]:.4g}."
    )


def page(
    title: str,
    about: Sequence[str],
    found: Connection,
    drawn: Mapping[str, str],
    tables: Mapping[str, Columns],
) -> str:
    """The page of a pair.

    Args:
        title: names the pair.
        about: lines on what was done.
        found: what was measured.
        drawn: figures as SVG by name; none where they could not be drawn.
        tables: as `frames` has them.
    """
    parts = [f'<p class="answer">{escape(answer(found))}</p>']
    parts += [f"<p>{escape(line)}</p>" for line in about]
    for name, svg in drawn.items():
        caption = escape(CAPTIONS[name])
        parts.append(f"<figure><div>{svg}</div><figcaption>{caption}</figcaption></figure>")
    for name, columns in tables.items():
        parts.append(_table(name.replace("_", " "), columns, opened=name == "scalars"))
    return _whole(title, parts)


def overview(title: str, columns: Columns, links: Sequence[str]) -> str:
    """The page of several pairs, with a link to each."""
    listed = "".join(f'<li><a href="{escape(x)}/index.html">{escape(x)}</a></li>' for x in links)
    return _whole(title, [f"<ul>{listed}</ul>", _table("pairs", columns, opened=True)])


def _table(name: str, columns: Columns, *, opened: bool) -> str:
    rows = list(zip(*columns.values(), strict=True))
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows[:MOST]
    )
    more = f", the first {MOST} of {len(rows)} rows" if len(rows) > MOST else ""
    return (
        f"<details{' open' if opened else ''}><summary>{escape(name)}{more}</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def _whole(title: str, parts: Sequence[str]) -> str:
    text = (files("llfc.command.pair") / "page.html").read_text(encoding="utf-8")
    return Template(text).substitute(title=escape(title), content="\n".join(parts))
