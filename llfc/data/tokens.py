"""The data sets of tokens by name: embedded, computed, or a text of one's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from llfc.data.procedural import modular_addition
from llfc.data.sequences import Sequences, Source, read_options, split_options, with_options
from llfc.data.text import PREFIX, king_james, load_text, resolve_text

# Their options are keyword arguments.
SEQUENCES: Mapping[str, Source] = {
    "king-james": king_james,
    "modular-addition": modular_addition,
}


def of_tokens(name: str) -> bool:
    """Whether `name` is that of a data set of tokens."""
    return name.startswith(PREFIX) or split_options(name)[0] in SEQUENCES


def resolve_sequences(name: str, cache: Path) -> str:
    """`name` without options at their defaults; a text's by its content.

    Raises:
        ValueError: if an option is unknown, or the text cannot be read.
    """
    if name.startswith(PREFIX):
        return resolve_text(name, cache)
    base, options = split_options(name)
    return with_options(base, read_options(base, SEQUENCES[base], options))


def load_sequences(name: str, cache: Path) -> Sequences:
    """The data set of tokens that `resolve_sequences` called `name`.

    Raises:
        ValueError: if the text is not in `cache`, or an option does not fit it.
    """
    if name.startswith(PREFIX):
        return load_text(name, cache)
    base, options = split_options(name)
    return replace(SEQUENCES[base](**read_options(base, SEQUENCES[base], options)), name=name)
