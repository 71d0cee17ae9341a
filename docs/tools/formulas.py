"""Formulas as MathML when the site is built: a page needs no script and no font for them."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?P<tag>div|span) class="arithmatex">\\[\[(](?P<tex>.*?)\\[\])]</(?P=tag)>', re.DOTALL
)
# What is chosen stands below a maximum; the converter puts it beside.
BELOW = re.compile(r"<msub>(<mo>(?:max|min)</mo>(?:<mi>\w+</mi>|<mrow>.*?</mrow>))</msub>")


def in_mathml(page: str) -> str:
    """A page's HTML with what `pymdownx.arithmatex` marked written as MathML."""
    return FORMULA.sub(_converted, page)


def _converted(match: re.Match[str]) -> str:
    display = "block" if match["tag"] == "div" else "inline"
    found = convert(html.unescape(match["tex"]).strip(), display=display)
    return BELOW.sub(r"<munder>\1</munder>", found) if display == "block" else found
