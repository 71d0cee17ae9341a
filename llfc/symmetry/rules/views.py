"""Rules of operators that move entries without changing them."""

import math

import numpy as np

from llfc.symmetry.layouts.combine import pointwise, tied
from llfc.symmetry.layouts.joining import join, stacked
from llfc.symmetry.layouts.layout import Label, Layout, Refusal, Value, new_layout, settle
from llfc.symmetry.layouts.units import Nodes
from llfc.symmetry.layouts.views import (
    drop,
    expand,
    insert,
    reshape,
    resized,
    selected_at,
    taken,
)
from llfc.symmetry.rules.calls import ALONE, Call


def viewed(call: Call) -> Value:
    """The entries in row-major order in another shape; dimensions are split and merged."""
    x, shape = call.first, call.shape
    if x.picks and [n for n in x.shape if n > 1] == [n for n in shape if n > 1]:
        long = [d for d, size in enumerate(shape) if size > 1]
        x = drop(x, [d for d, size in enumerate(x.shape) if size == 1])
        raw = [x.raw[long.index(d)] if d in long else () for d in range(len(shape))]
        return x.arranged(raw, long)
    return reshape(tied(x), shape)


def permute(call: Call) -> Value:
    """Dimensions in another order."""
    return call.first.permuted(call.dims(call["dims"]))


def transpose(call: Call) -> Value:
    """Two dimensions are exchanged."""
    x = call.first
    order = list(range(len(x.raw)))
    _, one, other = call.values.values()
    one, other = call.dim(one), call.dim(other)
    order[one], order[other] = order[other], order[one]
    return x.permuted(order)


def turned(call: Call) -> Value:
    """The transpose: the last two dimensions are exchanged."""
    x = call.first
    order = list(range(len(x.raw)))
    return x.permuted(order[:-2] + order[-2:][::-1])


def movedim(call: Call) -> Value:
    """Some dimensions are moved; the others keep their order."""
    x = call.first
    source, target = call.dims(call["source"]), call.dims(call["destination"])
    rest = iter(d for d in range(len(x.raw)) if d not in source)
    there = dict(zip(target, source, strict=True))
    return x.permuted([there[d] if d in there else next(rest) for d in range(len(x.raw))])


def squeeze(call: Call) -> Value:
    """Dimensions of size one are removed."""
    x = call.first
    dims = call.dims(call.values.get("dim"), x)
    return drop(x, [d for d in dims if x.shape[d] == 1])


def unsqueeze(call: Call) -> Value:
    """A dimension of size one is inserted."""
    x = call.first
    return insert(x, call["dim"] % (len(x.raw) + 1))


def expanded(call: Call) -> Value:
    """Broadcast along dimensions of size one, which become neutral."""
    return expand(call.first, call.shape)


def broadcast_tensors(call: Call) -> Value:
    """All tensors broadcast to their common shape."""
    return [
        expand(x, [int(n) for n in r.shape])
        for x, r in zip(call.tensors(), call.result, strict=True)
    ]


def repeat(call: Call) -> Value:
    """Tiled: each dimension gets an outer factor along which nothing changes (neutral)."""
    x, shape = settle(call.first), call.shape
    if 0 in shape:
        raise Refusal("no copies at all")
    while len(x.raw) < len(shape):
        x = insert(x, 0)
    doubled: list[int] = []
    for size, total in zip(x.shape, shape, strict=True):
        doubled += [total // size, size]
    for dim in range(len(shape)):
        x = insert(x, 2 * dim)
    return reshape(expand(x, doubled), shape)


def repeat_interleave(call: Call) -> Value:
    """Each position repeated: an inner factor along which nothing changes (neutral)."""
    x = settle(call.first)
    count = call.values.get("repeats")
    if not isinstance(count, int) or call["dim"] is None:
        raise Refusal("repeats that differ by position")
    dim = call.dim(call["dim"])
    wider = [*x.shape[: dim + 1], count, *x.shape[dim + 1 :]]
    return reshape(expand(insert(x, dim + 1), wider), call.shape)


def sliced(call: Call) -> Value:
    """A range of positions of one dimension."""
    x, dim = settle(call.first), call.dim(call["dim"])
    size = x.shape[dim]
    if "length" in call.values:
        picked = range(size)[call["start"] :][: call["length"]]
    else:
        picked = range(size)[call["start"] : call["end"] : call["step"]]
    if len(picked) == size:
        return x
    return taken(x, dim, picked, call.why(ALONE), apart=call.apart())


def selected(call: Call) -> Value:
    """One position of a dimension."""
    x, dim = settle(call.first), call.dim(call["dim"])
    if x.shape[dim] == 1:
        return drop(x, [dim])
    x = tied(x)
    index = call["index"] % x.shape[dim]
    return selected_at(x, dim, index, call.why(ALONE), apart=call.apart())


def unbind(call: Call) -> Value:
    """Every position of a dimension, one by one."""
    x, dim = settle(call.first), call.dim(call["dim"])
    return [selected_at(x, dim, i, call.why(ALONE), call.apart(i)) for i in range(x.shape[dim])]


def chunk(call: Call) -> Value:
    """Consecutive runs of one dimension."""
    x, dim = settle(call.first), call.split_dim
    parts, start = [], 0
    for at, part in enumerate(call.result):
        size = int(part.shape[dim])
        places = range(start, start + size)
        parts.append(taken(x, dim, places, call.why(ALONE), call.apart(at)))
        start += size
    return parts


def getitem(call: Call) -> Value:
    """One of several results."""
    return call["0"][call["1"]]


def cat(call: Call) -> Value:
    """The concatenation along one dimension; units of the other dimensions are identified."""
    parts = [part for part in call["tensors"] if 0 not in part.shape]
    dim = call.dim(call["dim"], parts[0])
    if len(call.terms) == 1 and all(part.shape[dim] == 1 for part in parts):
        whole = stacked(call.units, [drop(part, [dim]) for part in parts], dim, apart=False)
        if whole is not None:
            return whole
    return join(call.units, parts, dim, call.owner)


def stack(call: Call) -> Value:
    """Stacked along a new dimension, whose positions are told apart."""
    dim = call["dim"] % len(call.shape)
    whole = stacked(call.units, call["tensors"], dim, apart=len(call.terms) != 1)
    if whole is not None:
        return whole
    return join(call.units, [insert(x, dim) for x in call["tensors"]], dim, call.owner)


def pad(call: Call) -> Value:
    """Constants, or copies, before and after; beside units, constants are units as well."""
    x, widths = settle(call.first), list(call["pad"])
    constant = call.values.get("mode", "constant") == "constant"
    for at in range(0, len(widths), 2):
        dim = len(x.raw) - 1 - at // 2
        before, after = widths[at], widths[at + 1]
        if not before and not after:
            continue
        if not constant or min(before, after) < 0 or not x.moves(dim):
            call.fix(x, [dim], "it is widened with copies or cut")
            shape = list(x.shape)
            shape[dim] += before + after
            x = resized(x, dim, shape[dim])
            continue
        x = padded(call, x, dim, before, after)
    return x


def padded(call: Call, x: Layout, dim: int, before: int, after: int) -> Layout:
    """A dimension of units padded with constants: all positions added are interchangeable."""
    nodes = call.units.fresh((before + after,), call.owner)
    parts = [
        filler(call, x, dim, nodes[:before]),
        x,
        filler(call, x, dim, nodes[before:]),
    ]
    return join(call.units, [part for part in parts if part.shape[dim]], dim, call.owner)


def filler(call: Call, x: Layout, dim: int, nodes: Nodes) -> Layout:
    """The positions that padding adds, each a unit of its own."""
    shape = list(x.shape)
    shape[dim] = 1
    layout = new_layout(call.units, shape, "neutral", call.owner)
    slot = layout.space.slot(len(nodes))
    layout.space.labels.append(Label((slot,), nodes))
    raw = tuple((slot,) if d == dim else own for d, own in enumerate(layout.raw))
    return Layout(layout.space, raw)


def roll(call: Call) -> Value:
    """A cyclic shift along one or more dimensions."""
    x = settle(call.first)
    if not call["dims"]:
        line = reshape(x, [math.prod(x.shape)])
        return reshape(turned_round(call, line, 0, call["shifts"][0]), x.shape)
    for dim, shift in zip(call["dims"], call["shifts"], strict=True):
        x = turned_round(call, x, call.dim(dim, x), shift)
    return x


def turned_round(call: Call, x: Layout, dim: int, shift: int) -> Layout:
    """A cyclic shift by `shift` along one dimension."""
    return taken(x, dim, np.roll(np.arange(x.shape[dim]), shift), apart=call.apart())


def flip(call: Call) -> Value:
    """Positions in reverse."""
    x = settle(call.first)
    for dim in call.dims(call["dims"], x):
        x = taken(x, dim, range(x.shape[dim])[::-1], apart=call.apart())
    return x


def channel_shuffle(call: Call) -> Value:
    """[groups, channels] transposed: the channel shuffle of ShuffleNet."""
    x, (n, c, *space) = settle(call.first), call.first.shape
    groups = int(call["groups"])
    split = reshape(x, [n, groups, c // groups, *space])
    return reshape(split.permuted([0, 2, 1, *range(3, len(space) + 3)]), call.shape)


def pixel_shuffle(call: Call) -> Value:
    """[C r², H, W] to [C, H r, W r]: part of the channels become positions in space."""
    x, (*lead, c, h, w) = settle(call.first), call.first.shape
    r, k = int(call["upscale_factor"]), len(call.shape) - 3
    split = reshape(x, [*lead, c // (r * r), r, r, h, w])
    return reshape(split.permuted([*range(k), *(k + d for d in (0, 3, 1, 4, 2))]), call.shape)


def pixel_unshuffle(call: Call) -> Value:
    """[C, H r, W r] to [C r², H, W]: positions in space become channels."""
    x, (*lead, c, h, w) = settle(call.first), call.first.shape
    r, k = int(call["downscale_factor"]), len(call.shape) - 3
    split = reshape(x, [*lead, c, h // r, r, w // r, r])
    return reshape(split.permuted([*range(k), *(k + d for d in (0, 2, 4, 1, 3))]), call.shape)


def glu(call: Call) -> Value:
    """The first half of a dimension, gated by the second."""
    x, dim = settle(call.first), call.dim(call["dim"])
    half = math.floor(x.shape[dim] // 2)
    parts = [taken(x, dim, range(half)), taken(x, dim, range(half, 2 * half))]
    return pointwise(call.units, parts, call.shape, call.owner)
