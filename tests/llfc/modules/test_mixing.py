"""Units that are mixed: what rounding makes of them is told from another function."""

import functools

import pytest
import torch
from torch import nn

from llfc.modules import check_same_outputs, copy_of
from llfc.modules.alike import MIXED, REORDERED


def test_what_mixing_rounds_is_no_other_function_and_another_map_is():
    """Two linear maps, mixed in between by a matrix of condition 1e4: rounded to float32, off."""
    torch.manual_seed(0)
    b, x = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4)), torch.randn(20, 6)
    left, right = (torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0] for _ in range(2))
    matrix = left @ torch.diag(torch.logspace(0, -4, 8, dtype=torch.float64)) @ right

    def move(state, error=0.0):
        inverse = (1 + error) * torch.linalg.inv(matrix)
        wide = {name: tensor.double() for name, tensor in state.items()}
        wide["0.weight"], wide["0.bias"] = matrix @ wide["0.weight"], matrix @ wide["0.bias"]
        wide["1.weight"] = wide["1.weight"] @ inverse
        return {name: tensor.to(state[name].dtype) for name, tensor in wide.items()}

    def moved(how):
        found = copy_of(b)
        found.load_state_dict(how(b.state_dict()))
        return found

    with pytest.raises(ValueError, match="away from its own"):
        check_same_outputs(moved(move), b, x)
    gap = check_same_outputs(moved(move), b, x, move)
    assert REORDERED < gap < MIXED
    wrong = functools.partial(move, error=3e-4)
    with pytest.raises(ValueError, match="away from its own"):
        check_same_outputs(moved(wrong), b, x, wrong)
