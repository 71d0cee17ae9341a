"""Docstrings as Markdown: formulas, doctests and angle brackets as a reader should see them."""

import re
from typing import Any

import griffe

MATH = re.compile(r"^( *)\.\. math:: *(.*(?:\n\1 +\S.*)*)", re.MULTILINE)
EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *(?!>>>)\S.*\n?)*)+", re.MULTILINE)
CODE = re.compile(r"(```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$)", re.DOTALL)

ADDRESS = re.compile(r"(?<![(<\"\w])(https?://[^\s)]+?)(?=\.?(?:\s|$))")
# An address ends an entry of a list of references.
ENTRY = re.compile(r"(<https?://[^>\s]+>)\n(?=\s*[A-Z])")


def as_markdown(text: str) -> str:
    """A docstring whose Sphinx roles, doctests and comparisons Markdown understands."""
    text = MATH.sub(lambda m: f"{m[1]}$$\n{m[1]}{' '.join(m[2].split())}\n{m[1]}$$", text)
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text)
    text = EXAMPLE.sub(lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", text)
    parts = CODE.split(text)
    parts[::2] = [part.replace("<", "&lt;").replace(">", "&gt;") for part in parts[::2]]
    text = ADDRESS.sub(r"<\1>", "".join(parts))
    return ENTRY.sub(r"\1<br>\n", text)


class AsMarkdown(griffe.Extension):
    """Rewrites every docstring when griffe has read it."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
