"""Sinkhorn's scaling: its limit, and its hand-written derivative against an unrolled one."""

import pytest
import torch

from llfc.matching.sinkhorn import SCALINGS, doubly_stochastic


def unrolled(logits):
    """The same rounds, rows and then columns, with the derivative left to torch."""
    for _ in range(SCALINGS):
        logits = logits - logits.logsumexp(-1, keepdim=True)
        logits = logits - logits.logsumexp(-2, keepdim=True)
    return logits.exp()


def logits(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("shape", [(4, 4), (1, 1), (3, 5, 5)])
def test_value_and_derivative_are_those_of_the_unrolled_rounds(shape):
    given = logits(*shape)
    slope = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found, expected = doubly_stochastic(given), unrolled(given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    (ours,) = torch.autograd.grad(found, given, slope)
    (theirs,) = torch.autograd.grad(expected, given, slope)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


def test_the_derivative_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(doubly_stochastic, logits(4, 4))


def test_rows_and_columns_sum_to_one():
    found = doubly_stochastic(logits(6, 6))
    torch.testing.assert_close(found.sum(-2), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(found.sum(-1), torch.ones(6, dtype=torch.float64), atol=1e-3, rtol=0)
