"""Frank-Wolfe matching: ascent among mixtures of permutations, all groups at once."""

from collections.abc import Iterable

from torch import nn

from llfc.matching.ascent.ascent import ascend, better
from llfc.matching.ascent.relaxation import relaxed
from llfc.matching.overlap.overlap import Overlap
from llfc.modules.inputs import Inputs
from llfc.seeds import stream
from llfc.symmetry.spec import Permutation, PermutationSpec


def match_frank_wolfe(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
) -> Permutation:
    r"""The permutation of b that maximises the overlap of its parameters with a's, from a mixture.

    The ascent starts at the even mixture of all permutations. Each step solves the linearised
    problem, one assignment per group, for all groups at once, and goes towards its solution as far
    as the overlap rises. The mixture at the end is rounded to its nearest permutation, from which
    coordinate ascent climbs to a local optimum; the better of that and of coordinate ascent from
    the identity is returned. `iterations` in the record counts steps and visits.

    Costs one linear assignment per group and step, of which there are at most 200, and two ascents;
    memory for a matrix of H² numbers for each group of H units. Use it to see what another way up
    the same objective finds; `weights` includes it as its second start.

    Raises:
        ValueError: if the models differ in architecture or hold a number that is not finite.

    Reference:
        Crisostomi, Fumero, Baieri, Bernard & Rodolà, C2M3: Cycle-Consistent Multi-Model Merging,
        NeurIPS 2024. https://arxiv.org/abs/2405.17897
    """
    del batches
    overlap = Overlap.of(a, b, spec)
    generator = stream(seed, "matching/frank-wolfe")
    start, visits = ascend(overlap, dict(spec.identity()), generator)
    rounded, steps = relaxed(overlap)
    found, more = ascend(overlap, rounded, generator)
    return Permutation(better(overlap, start, found), {"iterations": steps + visits + more})
