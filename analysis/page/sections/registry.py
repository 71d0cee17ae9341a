"""The sections of the page, in order; a new one is a function and its line here."""

from collections.abc import Sequence

from analysis.page.sections import compared, connected, explained, measured, sweep, together
from analysis.page.sections.part import Findings, Part, Section

SECTIONS: Sequence[Section] = (
    sweep.barriers,
    sweep.scatter,
    sweep.layers,
    compared.comparison,
    compared.cells,
    together.association,
    together.depths,
    together.prediction,
    explained.explanation,
    explained.transfer,
    connected.onset,
    connected.agreement,
    measured.conditions,
    measured.stitching,
)


def parts(findings: Findings, sections: Sequence[Section] = SECTIONS) -> list[Part]:
    """What `sections` have to say, in their order."""
    return [part for section in sections if (part := section(findings)) is not None]
