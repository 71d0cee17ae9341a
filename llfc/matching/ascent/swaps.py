"""The best exchange of two units of a group that has two dimensions of one tensor.

The overlap is then quadratic in the group's permutation, and where no assignment of all units at
once raises it an exchange of two still may.
"""

import torch
from torch import Tensor

from llfc.matching.overlap.terms import Term
from llfc.symmetry.spec.blocks import Cluster


def best_swap(terms: list[Term], cluster: Cluster, score: Tensor, units: Tensor) -> Tensor:
    """The units after the exchange of two of them by which the overlap gains most.

    With P moved by -d d', d = e_i - e_j, the overlap gains the first-order part from the scores and
    exactly sum (d' A d) (d' B d) from each tensor of two dimensions.

    Args:
        terms: those in which the cluster, a plain group, has two dimensions and all others none.
        cluster: the group's.
        score: the first-order score of each pair of units at `units`, in B's own order, [H, H].
        units: which unit of B stands at each place now.
    """
    here = score.index_select(1, units)
    gains = here + here.T - here.diagonal()[:, None] - here.diagonal()[None]
    for term in terms:
        assert term.clusters == (cluster, cluster)
        b = term.b.index_select(0, units).index_select(1, units)
        gains = gains + (_bend(term.a) * _bend(b)).sum(-1)
    first, second = divmod(int(gains.argmax()), len(units))
    swapped = units.clone()
    swapped[first], swapped[second] = units[second], units[first]
    return swapped


def _bend(tensor: Tensor) -> Tensor:
    """(e_i - e_j)' T (e_i - e_j) for all i and j; of a tensor [H, H, rest], [H, H, rest]."""
    diagonal = torch.diagonal(tensor, dim1=0, dim2=1).T
    return diagonal[:, None] + diagonal[None] - tensor - tensor.transpose(0, 1)
