"""One measurement of one pair."""

import dataclasses
from dataclasses import dataclass

from llfc.names import lookup
from llfc.specs.fields import ADDED_LATER, at_least
from llfc.specs.pair import Pair

FORMS = ("trained", "canonical")
ALL = "all"  # groups of units
DEFAULT_MEASURES: tuple[str, ...] = ("conditions",)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One measurement: a pair, how it is aligned, and what is measured on the line between them.

    Attributes:
        pair: the two networks.
        matching: how B's units are permuted to align with A's, one of MATCHERS; options may follow,
            as in weights:effort=4.
        correction: how activation statistics are corrected in every blend, and in A and B wherever
            their features are compared with a blend's; one of CORRECTIONS.
        alphas: number of positions on the line, both ends included; odd, so that 1/2 is one.
        probes: names of the modules whose features are compared; None for the architecture's
            default ones.
        measures: further measurements, beyond the curves and the LLFC errors along the line, each
            at an extra cost: none, or any of MEASURES.
        limit_test: number of test samples, images or sequences of tokens, to use; None for all.
        limit_measured: number of training samples that matching, correction and the training curve
            use; None for all that the pair was trained on.
        task: what is measured, one of TASKS: the data set's own (None), or, for tokens, the same
            where layers are compared by whole sequences instead of by tokens; or a plug-in's.
        form: in which form both networks are matched, blended and measured, one of FORMS: as they
            were trained, or as equal networks whose norms have no gains, shifts and centring of
            their own (`llfc.canonical`), so that more than permutations keep their function.
        misalignment: share of B's units, from 0 to 1, that are misaligned again once B is matched:
            an intervention that leaves both functions as they are; see
            `llfc.symmetry.transform.misalignment`.
        misaligned: the group of units to which that is done, or "all".
    """

    pair: Pair
    matching: str = "none"
    correction: str = "none"
    alphas: int = 25
    probes: tuple[str, ...] | None = None
    measures: tuple[str, ...] = DEFAULT_MEASURES
    limit_test: int | None = None
    limit_measured: int | None = None
    task: str | None = dataclasses.field(default=None, metadata=ADDED_LATER)
    form: str = dataclasses.field(default="trained", metadata=ADDED_LATER)
    misalignment: float = dataclasses.field(default=0.0, metadata=ADDED_LATER)
    misaligned: str = dataclasses.field(default=ALL, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        # The order in which measures are named does not matter.
        object.__setattr__(self, "measures", tuple(sorted(set(self.measures))))
        lookup("form", self.form, dict.fromkeys(FORMS))
        object.__setattr__(self, "misalignment", float(self.misalignment))
        if not 0 <= self.misalignment <= 1:
            raise ValueError(f"misalignment must be in [0, 1], got {self.misalignment}")
        if not self.misalignment:  # then it is done to none
            object.__setattr__(self, "misaligned", ALL)
        if self.alphas < 3 or self.alphas % 2 == 0:
            raise ValueError(f"alphas must be odd and at least 3, got {self.alphas}")
        if self.limit_test is not None:
            at_least("limit_test", self.limit_test, 1)
        if self.limit_measured is not None:
            at_least("limit_measured", self.limit_measured, 1)
