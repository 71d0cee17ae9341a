"""Several networks at once, by maps of every kind: generalised Procrustes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from llfc.matching.mixing.descent import ENOUGH, Descent
from llfc.matching.mixing.orthogonal import descended
from llfc.matching.overlap.overlap import DOUBLE_BELOW
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.transform import Transform

MOST_ROUNDS = 20  # a bound: the sum of distances falls in each and ends sooner


def transforms_of_many(
    states: Sequence[Mapping[str, Tensor]], spec: PermutationSpec
) -> tuple[Transform, ...]:
    r"""For each network, the map that brings its parameters closest to all others', in one basis.

    .. math:: \min_{T_2 \dots T_n} \sum_{p < q} \sum_l |T_p(W_p)^l - T_q(W_q)^l|^2, T_1 = 1

    The networks take turns: each is matched with the mean of the others, in the first round with
    that of those before it, so that the sum never rises.

    Args:
        states: the parameters of each network.
        spec: the symmetry of all.

    Reference:
        Gower, Generalized Procrustes analysis, Psychometrika 40, 1975.
    """
    small = sum(tensor.numel() for tensor in states[0].values()) < DOUBLE_BELOW
    dtype = torch.float64 if small else torch.float32
    descents = [Descent(states[0], state, spec, dtype) for state in states]
    total = float("inf")
    for round_ in range(MOST_ROUNDS):
        for p in range(1, len(descents)):
            seen = range(p if round_ == 0 else len(descents))
            others = [descents[q].moved for q in seen if q != p]
            mean = {n: torch.stack([each[n] for each in others]).mean(0) for n in others[0]}
            descents[p].aim(mean)
            if round_ == 0:
                descended(descents[p], Transform.identity(spec))
            else:
                descents[p].descend()
        before, total = total, _spread([descent.moved for descent in descents])
        if not total < before * (1 - ENOUGH):
            break
    return tuple(descent.found() for descent in descents)


def _spread(states: Sequence[Mapping[str, Tensor]]) -> float:
    """The sum of squared distances from the mean, which that of all pairs is n times."""
    return sum(
        float(torch.stack([state[name].double() for state in states]).var(0, correction=0).sum())
        for name in states[0]
    )
