"""What PyTorch says where a norm is given too little to take statistics from, and what to do."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

SAID = re.compile(
    r"Expected more than 1 (?P<what>value per channel|spatial element) when training,"
    r" got input size (?:torch\.Size\()?(?P<size>\[[\d, ]*\])\)?"
)
NEEDS: Mapping[str, tuple[str, str]] = {
    "value per channel": (
        "a norm that takes its statistics from its batch needs more than one value per channel",
        "give batches of at least 2 images, and leave out a last batch of one",
    ),
    "spatial element": (
        "an instance norm needs maps of more than one element",
        "give larger images, or networks without that norm",
    ),
}


@contextmanager
def few_values_told() -> Iterator[None]:
    """Within the context, such an error of PyTorch's says the rule and the way out, in one line.

    Raises:
        ValueError: in place of PyTorch's.
    """
    try:
        yield
    except ValueError as error:
        said = SAID.search(text := str(error))
        if said is None:
            raise
        rule, way_out = NEEDS[said["what"]]
        told = f"{rule}, got input size {said['size']}: {way_out}"
        raise ValueError(f"{text[: said.start()]}{told}{text[said.end() :]}") from error
