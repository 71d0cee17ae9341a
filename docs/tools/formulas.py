"""Formulas as MathML when the site is built: a page needs no script and no font for them."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?P<tag>div|span) class="arithmatex">\\[\[(](?P<tex>.*?)\\[\])]</(?P=tag)>', re.DOTALL
)


def in_mathml(page: str) -> str:
    """A page's HTML with what `pymdownx.arithmatex` marked written as MathML."""
    return FORMULA.sub(_converted, page)


def _converted(match: re.Match[str]) -> str:
    display = "block" if match["tag"] == "div" else "inline"
    return convert(html.unescape(match["tex"]).strip(), display=display)
