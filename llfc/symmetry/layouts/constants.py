"""Constants of a graph: what they hold, and which of their positions may change places."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llfc.symmetry.layouts.layout import Label, Layout, Value, new_layout, spread
from llfc.symmetry.layouts.units import SHOWN, Units

LARGEST_KNOWN = 1 << 24  # numbers of a constant; a larger one is not computed
# Distinct entries of a constant; of larger ones each dimension by itself tells units apart.
LARGEST_CONSTANT = 1 << 20


def constant_layout(units: Units, tensor: Tensor) -> Layout:
    """The layout of a constant: neutral along each dimension along which its entries are equal."""
    layout = new_layout(units, tensor.shape, "neutral")
    layout.value = tensor
    for dim, slots in enumerate(layout.raw):
        if slots and not bool((tensor == tensor[(slice(None),) * dim + (slice(1),)]).all()):
            layout.space.fixed |= dict.fromkeys(slots, SHOWN)
    return layout


def by_kind(layout: Layout, dims: Sequence[int], owner: str) -> Layout:
    """A constant, with nodes for those permutations along `dims` that leave it unchanged.

    Positions of equal entries are of one kind and change places freely. Kinds of two dimensions
    change places together, if the entries where they meet stay the same: those of an identity.
    """
    assert layout.value is not None
    units, count = layout.space.units, len(dims)
    value = layout.value.movedim(tuple(dims), tuple(range(count))).cpu()
    value = torch.view_as_real(value) if value.is_complex() else value
    rows = value.reshape(math.prod(value.shape[:count]), -1)
    entries = torch.unique(rows, dim=0, return_inverse=True)[1].reshape(value.shape[:count]).numpy()
    found = new_layout(units, layout.shape, "neutral", owner)
    fixed = {d for d, slots in enumerate(layout.dims) if layout.space.fixed.keys() & {*slots}}
    found.space.fixed = {slot: SHOWN for d in fixed - {*dims} for slot in found.raw[d]}
    sides = [
        np.unique(
            np.moveaxis(entries, k, 0).reshape(size, -1),
            axis=0,
            return_index=True,
            return_inverse=True,
        )[1:]
        for k, size in enumerate(entries.shape)
    ]
    met = entries[np.ix_(*(first for first, _ in sides))]
    joint = count > 1 and met.size <= LARGEST_CONSTANT
    kinds = [units.fresh((n,), owner) if joint else units.fixed_axis(n) for n in met.shape]
    if joint:
        nodes = units.fresh(met.shape, owner)
        units.relate(nodes, units.fixed_axis(int(met.max()) + 1)[met])
        for k, kind in enumerate(kinds):
            units.relate(nodes, spread(kind, (k,), range(count)))
    for dim, kind, (_, of) in zip(dims, kinds, sides, strict=True):
        nodes = units.fresh((len(of),), owner)
        units.relate(nodes, kind[of.reshape(-1)])
        found.space.labels.append(Label(found.raw[dim], nodes))
    return found


def is_knowable(fake: Any) -> bool:
    """Whether a result can be computed: dense, small, and not on the meta device."""
    if not isinstance(fake, Tensor) or fake.layout is not torch.strided:
        return False
    return fake.numel() <= LARGEST_KNOWN and fake.device.type != "meta"


def blank(fake: Tensor) -> Tensor:
    """A tensor of the same shape and type as a fake one, with arbitrary entries."""
    return torch.empty(fake.shape, dtype=fake.dtype, device=fake.device)


def value_of(value: Value) -> Any:
    """The tensor of a constant, or those of several; None if one is not known."""
    if isinstance(value, list):
        found = [value_of(part) for part in value]
        return None if any(part is None for part in found) else found
    return value.value if isinstance(value, Layout) else None


def constant_layouts(units: Units, value: Any) -> Value:
    """The layout of a constant, or those of several."""
    if isinstance(value, list | tuple):
        return [constant_layouts(units, part) for part in value]
    return constant_layout(units, value)
