"""What each operator is said to commute with, against brute force: f(M x) and M f(x)."""

import pytest
import torch

from llfc.symmetry.kinds.commuting import BY_OPERATOR, COMMUTING, KIND_OF
from llfc.symmetry.kinds.viewing import MOVING
from llfc.symmetry.spec.kinds import KINDS, SMALLER
from llfc.symmetry.transform.drawing import random_element

UNITS = 5
# Arguments after the first; none if it takes none. Units are on dimension 1 of [2, 5, 4, 4].
ARGUMENTS = {
    "mean": ([2, 3],),
    "sum": ([2, 3],),
    "nansum": ([2, 3],),
    "amax": ([2, 3],),
    "amin": ([2, 3],),
    "softmax": (1,),
    "log_softmax": (1,),
    "leaky_relu": (0.1,),
    "hardshrink": (0.5,),
    "softshrink": (0.5,),
    "type_as": (torch.zeros((), dtype=torch.float64),),
    "to": (torch.float64,),
    "dropout": (0.5, False),
    "feature_dropout": (0.5, False),
    "alpha_dropout": (0.5, False),
    "feature_alpha_dropout": (0.5, False),
    "adaptive_avg_pool1d": ([2],),
    "adaptive_avg_pool2d": ([2, 2],),
    "_adaptive_avg_pool2d": ([2, 2],),
    "adaptive_avg_pool3d": ([2, 2, 2],),
    "adaptive_max_pool1d": ([2],),
    "adaptive_max_pool2d": ([2, 2],),
    "adaptive_max_pool3d": ([2, 2, 2],),
    "upsample_nearest1d": ([8],),
    "upsample_nearest2d": ([8, 8],),
    "upsample_linear1d": ([8], False),
    "upsample_bilinear2d": ([8, 8], False),
    "upsample_bicubic2d": ([8, 8], False),
    "_upsample_bilinear2d_aa": ([8, 8], False),
    "reflection_pad1d": ([1, 1],),
    "reflection_pad2d": ([1, 1, 1, 1],),
    "replication_pad1d": ([1, 1],),
    "replication_pad2d": ([1, 1, 1, 1],),
} | {
    f"{kind}_pool{d}d{more}": ([2] * d,)
    for kind, d, more in [
        *((kind, d, "") for kind in ("avg", "max") for d in (1, 2, 3)),
        ("max", 2, "_with_indices"),
    ]
}
DOMAIN = {"asin": 0.9, "atanh": 0.9, "erfinv": 0.9}  # the largest entry
POSITIVE = {"log", "log1p", "sqrt", "rsqrt", "reciprocal"}  # defined for these alone


def example(name: str) -> torch.Tensor:
    """[2, 5] and as many dimensions of space as the operator's name says, two if it says none."""
    space = next((d for d in (1, 2, 3) if f"{d}d" in name), 2)
    x = torch.randn(2, UNITS, *[4] * space, generator=torch.Generator().manual_seed(3)).double()
    if name in POSITIVE:
        return x.abs() + 0.5
    return x / x.abs().max() * DOMAIN[name] if name in DOMAIN else 2 * x


def computed(name: str, x: torch.Tensor) -> torch.Tensor:
    """The operator's result, the first of several."""
    result = getattr(torch.ops.aten, name)(x, *ARGUMENTS.get(name, ()))
    return result[0] if isinstance(result, tuple) else result


def gap(name: str, kind: str) -> float:
    """The largest of |f(M x) - M f(x)| over a few M of exactly this kind; inf where f(M x) is not
    defined."""
    x, worst = example(name), 0.0
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        index = torch.randperm(UNITS, generator=generator)
        element = random_element(kind, index, generator)
        if kind == "scaled" and name in DOMAIN:  # keep to the domain
            element = type(element)(element.index, element.factor / element.factor.max())
        matrix = element.as_matrix()
        moved = computed(name, torch.einsum("uv,nv...->nu...", matrix, x))
        wanted = torch.einsum("uv,nv...->nu...", matrix, computed(name, x))
        worst = max(worst, float((moved - wanted).abs().nan_to_num(nan=float("inf")).max()))
    return worst


@pytest.mark.parametrize("name", sorted(KIND_OF))
def test_each_operator_commutes_with_its_kind_and_no_larger(name):
    kind = KIND_OF[name]
    for smaller in (kind, *SMALLER[kind]):
        assert gap(name, smaller) < 1e-12, smaller
    for other in set(KINDS) - {kind, *SMALLER[kind]}:
        assert gap(name, other) > 1e-3, other


def test_the_tables_name_operators_once_that_there_are():
    names = [*" ".join(COMMUTING.values()).split(), *BY_OPERATOR, *MOVING]
    assert len(names) == len({*names})
    known = dir(torch.ops.aten)
    assert [name for name in names if name not in known and not hasattr(torch.ops.aten, name)] == []
