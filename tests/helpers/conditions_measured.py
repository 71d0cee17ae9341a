"""The two conditions of two networks, for tests."""

import pytest
import torch

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.measures.conditions import conditions
from llfc.connectivity.samples import Batches
from llfc.connectivity.subject import Subject
from llfc.modules import frozen_copy


def measured(a, b, images, *, size=1000, unmatched=None):
    labels = torch.zeros(len(images), dtype=torch.int64)
    return conditions(
        Subject(
            line=Line(a, b, line_positions(3)),
            unmatched=None if unmatched is None else frozen_copy(unmatched),
            test=Batches("test", (images, labels), size, images.device),
            statistics=None,
            probes=(),
            correction=CORRECTIONS["none"],
            seed=0,
        )
    )


def rows(found, table, pair="matched"):
    """Numbers by layer."""
    columns = found.tables.get(table, {"layer": []})
    names = [name for name in columns if name not in ("layer", "pair")]
    return {
        layer: {name: columns[name][i] for name in names}
        for i, layer in enumerate(columns["layer"])
        if columns["pair"][i] == pair
    }


def same(one, other, rel=1e-10, abs=1e-12):
    assert list(one) == list(other)
    for layer, numbers in one.items():
        assert numbers == pytest.approx(other[layer], rel=rel, abs=abs), layer
