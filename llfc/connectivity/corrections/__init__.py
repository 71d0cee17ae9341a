"""What is done to the statistics of each blend, and what of A and B as they are compared with it.

A network on the line has statistics of its own, which its weights' blend does not bring along. A
correction that computes them anew moves the ends as well, whose statistics were trained with: by
as much as these differ from those of the data, which between close networks is more than all else.
So there are two conventions. Curves and barriers leave A and B as they were trained; beside them
stand the barriers between corrected ends. Features, and whatever else is compared with those of a
blend, are of ends that are corrected as the blend is: `Line.ends`.
"""

from collections.abc import Iterable, Mapping

from llfc.connectivity.blend import Corrected, Correction, Corrections, Line
from llfc.connectivity.corrections.plugged import OwnCorrection
from llfc.connectivity.corrections.repair import repair, rescale
from llfc.connectivity.corrections.reset import reset
from llfc.connectivity.samples import Batches
from llfc.modules.inputs import Inputs
from llfc.plugins import is_own


def no_correction(
    line: Line, train: Batches | None, example: Inputs, at: Iterable[int]
) -> Corrections:
    """Statistics stay as they were blended.

    Costs nothing. Use it for networks without batch norm, and beside every correction of them.
    """
    del line, train, example
    return Corrections(dict.fromkeys(at, Corrected()))


CORRECTIONS: Mapping[str, Correction] = {
    "none": no_correction,
    "repair": repair,
    "rescale": rescale,
    "reset": reset,
}


def correction_of(name: str) -> Correction:
    """The correction called `name`: one of CORRECTIONS, or a plug-in (see `llfc.plugins`).

    Raises:
        ValueError: if there is none.
    """
    if is_own("correction", name, CORRECTIONS):
        return OwnCorrection.named(name)
    return CORRECTIONS[name]
