"""What --help says of every option: its choices, and its default as it is typed."""

import re

import pytest

from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.registry import MEASURES
from llfc.data.datasets import DATASETS
from llfc.data.tokens import SEQUENCES
from llfc.matching.matchers import MATCHERS
from llfc.networks.architectures import ARCHITECTURES
from llfc.specs import NORMS, OPTIMIZERS, POSITIONS, PRECISIONS, SCHEDULES
from sweeps import SWEEPS
from sweeps.grid.grid import DEFAULTS, RECIPE_AXES, trials_of
from sweeps.grid.options import parse
from sweeps.width import WIDTH

GRIDS = {name: sweep for name, sweep in SWEEPS.items() if name != "checkpoints"}  # it needs files
NAMED = (NORMS, OPTIMIZERS, POSITIONS, PRECISIONS, SCHEDULES)


def test_every_option_is_explained_with_its_choices(capsys):
    """The help is what the docstrings say, with names of constants as what they stand for."""
    with pytest.raises(SystemExit):
        parse(WIDTH, ["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for choices in (
        ARCHITECTURES,
        CORRECTIONS,
        (*DATASETS, *SEQUENCES),
        MATCHERS,
        MEASURES,
        *NAMED,
    ):
        assert ", ".join(choices) in said
    assert not re.search(r"\b(?:one )?of [A-Z]{4,}|\bNone\b", said)
    assert "over a batch, over each image's channels and positions (one group)" in said  # --norm


def _defaults(sweep, capsys):
    """What the help prints in brackets beside each axis."""
    with pytest.raises(SystemExit):
        parse(sweep, ["--help"])
    said = " ".join(capsys.readouterr().out.split())
    axes = said[said.index("axes:") : said.index("measuring:")]
    return dict(re.findall(r"--([a-z-]+) [A-Z_]+ \[[A-Z_]+ \.\.\.\] .*?\[([^][]*)\]", axes))


@pytest.mark.parametrize("sweep", GRIDS.values(), ids=GRIDS)
def test_what_the_help_shows_as_default_is_the_default_when_typed(sweep, capsys):
    defaults = _defaults(sweep, capsys)
    assert set(defaults) == {name.replace("_", "-") for name in (*DEFAULTS, *RECIPE_AXES)}
    trials, typed = trials_of(sweep), []
    for name, shown in defaults.items():
        words = shown.rpartition(": ")[2].split()
        several = shown.startswith("the") and len(words) > 1  # one an architecture
        if not several and name.replace("-", "_") not in trials[0].pair.recipe.unused():
            typed += [f"--{name}", *words]
    assert parse(sweep, typed)[2] == trials, typed
