"""The sections of the page, in order; a new one is a function and its line here."""

from collections.abc import Sequence

from analysis.page.sections import (
    compared,
    connected,
    explained,
    matched,
    measured,
    searched,
    sweep,
    together,
    trained,
)
from analysis.page.sections.part import Findings, Part, Section

SECTIONS: Sequence[Section] = (
    searched.bracket_section,
    sweep.barrier_section,
    matched.matched_section,
    sweep.scatter_section,
    sweep.layers_section,
    compared.comparison_section,
    compared.cells_section,
    together.association_section,
    together.depths_section,
    together.prediction_section,
    explained.explanation_section,
    explained.transfer_section,
    connected.onset_section,
    connected.power_section,
    connected.agreement_section,
    measured.conditions_section,
    measured.stitching_section,
    trained.training_section,
)
# What needs the grid of one sweep is on that sweep's own page only.
OF_ONE_GRID = (
    searched.bracket_section,
    sweep.barrier_section,
    matched.matched_section,
    sweep.layers_section,
    connected.onset_section,
    connected.power_section,
    measured.conditions_section,
    measured.stitching_section,
)
SECTIONS_ACROSS = tuple(section for section in SECTIONS if section not in OF_ONE_GRID)


def sections_of(findings: Findings, sections: Sequence[Section] = SECTIONS) -> list[Part]:
    """What `sections` have to say, in their order."""
    return [part for section in sections if (part := section(findings)) is not None]
