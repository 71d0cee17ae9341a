"""Random streams are named, and no two of them are one."""

import ast
import itertools
from pathlib import Path

import pytest
import torch

from llfc.seeds import stream

ROOT = Path(__file__).parents[2]
SOURCES = [
    path for folder in ("llfc", "sweeps", "analysis") for path in (ROOT / folder).rglob("*.py")
]


def test_no_two_streams_coincide():
    """The first numbers of each, since the generator takes only some bits of its seed."""
    names = [
        *("init/0", "init/1", "matching/weights", "matching/many", "order/statistics", "shuffled"),
        *(
            "order/trunk/0",
            "order/trunk/1",
            "order/a/0",
            "random-direction/a",
            "random-direction/b",
        ),
        *("permutation/1", "permutation/11"),
    ]
    drawn = {
        (seed, name): tuple(torch.randint(2**40, (2,), generator=stream(seed, name)).tolist())
        for seed, name in itertools.product([*range(12), 111], names)
    }
    assert len(set(drawn.values())) == len(drawn)


def test_a_stream_is_the_same_again_whatever_was_drawn_before():
    first = stream(3, "x")
    again = torch.randn(5, generator=first), torch.randn(5, generator=stream(3, "x"))
    assert torch.equal(*again)
    assert not torch.equal(torch.randn(5, generator=first), again[0])


@pytest.mark.slow
def test_no_seed_is_made_from_another_by_arithmetic():
    """Seed s + 1 is another trial's, whose streams would then be this one's."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.BinOp | ast.AugAssign)
        for side in ast.iter_child_nodes(node)
        if getattr(side, "id", getattr(side, "attr", "")) == "seed"
    ]
    assert SOURCES
    assert not wrong
