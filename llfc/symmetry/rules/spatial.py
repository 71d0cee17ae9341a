"""Rules of convolutions, pooling, resampling and other operators over space.

Along each dimension of space an operator does one of three things. It may treat every position by
itself (a kernel of one): then what lies there, hidden units too, goes through. It may take all
positions in at once (a pool over the whole axis, a kernel as long as the axis): then they are
contracted, as by a sum or a linear layer. Or it looks at neighbours: then positions differ in kind,
and are fixed.

Example: the tokens of an MLP-Mixer are mixed by `Conv1d(tokens, hidden, 1)` on [N, tokens,
channels]. The channels are the convolution's "space" and hidden units of the layers around it; its
kernel of one treats them alike, so they move.
"""

from collections.abc import Sequence

from llfc.symmetry.layouts.combine import combine
from llfc.symmetry.layouts.layout import Layout, Value, settle, with_fixed
from llfc.symmetry.layouts.views import insert, reshape, taken
from llfc.symmetry.rules.calls import Call
from llfc.symmetry.rules.order import is_used

THROUGH, WHOLE, FIXED = "through", "whole", "fixed"


def convolution(call: Call) -> Value:
    """Channels are contracted within each group; space as the module says."""
    x, weight, *bias = call.tensors()
    rank = len(weight.raw) - 2
    batched = len(x.raw) == rank + 2
    x = x if batched else insert(x, 0)
    ways = [way_of_kernel(call, d, x, weight) for d in range(rank)]
    call.fix(weight, [d + 2 for d in range(rank) if ways[d] != WHOLE], "offsets of a kernel")
    for d, step in enumerate(each(call, "stride", rank)):
        if ways[d] == THROUGH and step > 1:
            x = taken(settle(x), d + 2, range(0, x.shape[d + 2], step))
    result, whys = contracted(call, x, weight, ways)
    if bias:
        names = [str(d) for d in range(len(result.raw))]
        result = combine(call.units, [(result, names), (bias[0], names[1:2])], names, call.owner)
    result = result if batched else Layout(result.space, result.raw[1:])
    return in_place(result, len(result.raw) - ways.count(THROUGH), ways, call.shape[-rank:], whys)


def way_of_kernel(call: Call, d: int, x: Layout, weight: Layout) -> str:
    """What a convolution does along its d-th dimension of space."""
    rank, kernel, size = len(weight.raw) - 2, weight.shape[d + 2], x.shape[d + 2]
    padding, stride, dilation = (each(call, n, rank)[d] for n in ("padding", "stride", "dilation"))
    if kernel == 1 and padding == 0:
        grows = is_transposed(call) and (stride > 1 or each(call, "output_padding", rank)[d] > 0)
        return FIXED if grows else THROUGH
    if kernel == size and padding == 0 and dilation == 1 and not is_transposed(call):
        return WHOLE
    return FIXED


def each(call: Call, name: str, rank: int) -> list[int]:
    """An argument for each dimension of space; of `padding="same"`, whether there is any."""
    value = call.values.get(name)
    if isinstance(value, str):
        kernel = call.tensors()[1].shape[2:]
        return [int(value == "same" and size > 1) for size in kernel]
    values = [value] if isinstance(value, int) else list(value or [0])
    return values * rank if len(values) == 1 else values


def is_transposed(call: Call) -> bool:
    """Whether a convolution is a transposed one."""
    return "transpose" in str(call.node.target) or bool(call.values.get("transposed"))


def contracted(
    call: Call, x: Layout, weight: Layout, ways: Sequence[str]
) -> tuple[Layout, list[str]]:
    """Images, channels and the dimensions of space that go through; why the others are fixed."""
    space = [f"s{d}" for d in range(len(ways))]
    taps = [f"s{d}" if way == WHOLE else f"t{d}" for d, way in enumerate(ways)]
    kept = [s for s, way in zip(space, ways, strict=True) if way == THROUGH]
    fixed = [d + 2 for d, way in enumerate(ways) if way == FIXED]
    whys = call.fix(x, fixed, "its kernel runs along them")
    groups, transposed = int(call["groups"]), is_transposed(call)
    ends = ["in", "out"] if transposed else ["out", "in"]
    if groups == 1:
        inputs = [(x, ["n", "in", *space]), (weight, [*ends, *taps])]
        return combine(call.units, inputs, ["n", "out", *kept], call.owner), whys
    shape = x.shape
    x = reshape(settle(x), [shape[0], groups, shape[1] // groups, *shape[2:]])
    first, second = weight.shape[:2]
    split = reshape(weight, [groups, first // groups, second, *weight.shape[2:]])
    inputs = [(x, ["n", "g", "in", *space]), (split, ["g", *ends, *taps])]
    result = combine(call.units, inputs, ["n", "g", "out", *kept], call.part("groups"))
    out = groups * (second if transposed else first // groups)
    through = [n for n, way in zip(shape[2:], ways, strict=True) if way == THROUGH]
    return reshape(result, [shape[0], out, *through]), whys


def in_place(
    result: Layout, dim: int, ways: Sequence[str], sizes: Sequence[int], whys: Sequence[str]
) -> Layout:
    """The dimensions of space from `dim` on: those that went through, and new ones between them."""
    reasons = iter(whys)
    for d, way in enumerate(ways):
        if way == WHOLE:
            result = insert(result, dim + d)
        elif way == FIXED:
            result = with_fixed(result, dim + d, [sizes[d]], [next(reasons)])
    return result


def pooling(call: Call) -> Value:
    """Pooling, resampling and padding of space, channel by channel: channels keep their units."""
    x = settle(call.first)
    results = call.result if isinstance(call.result, list | tuple) else [call.result]
    lead = len(x.raw) - spatial(call)
    sizes = [int(n) for n in results[0].shape[lead:]]
    indexed = len(results) > 1 and is_used(call.node, 1)  # positions are used as numbers
    ways = [FIXED if indexed else way_of_window(call, d, x, sizes) for d in range(len(sizes))]
    names = [str(d) for d in range(len(x.raw))]
    fixed = [lead + d for d, way in enumerate(ways) if way == FIXED]
    whys = call.fix(x, fixed, "it runs along them")
    kept = names[:lead] + [n for n, way in zip(names[lead:], ways, strict=True) if way == THROUGH]
    result = combine(call.units, [(x, names)], kept, call.owner)
    pooled = in_place(result, lead, ways, sizes, whys)
    return [pooled] * len(results) if isinstance(call.result, list | tuple) else pooled


def way_of_window(call: Call, d: int, x: Layout, sizes: Sequence[int]) -> str:
    """What a pool, or a change of resolution, does along its d-th dimension of space."""
    rank, before, after = len(sizes), x.shape[len(x.raw) - len(sizes) + d], sizes[d]
    if "kernel_size" in call.values:
        kernel, padding, dilation = (
            each(call, name, rank)[d] for name in ("kernel_size", "padding", "dilation")
        )
        if kernel == 1 and before == after:
            return THROUGH
        covered = dilation <= 1 and kernel - padding >= before
        return WHOLE if after == 1 and covered else FIXED
    if "adaptive" in str(call.node.target):
        return WHOLE if after == 1 else THROUGH if before == after else FIXED
    if "upsample" in str(call.node.target):
        return FIXED
    low, high = list(call["padding"])[2 * (rank - 1 - d) :][:2]  # the last dimension comes first
    return THROUGH if low == high == 0 else FIXED


def spatial(call: Call) -> int:
    """The number of spatial dimensions, as in the operator's name: 2 for conv2d."""
    return next(d for d in (1, 2, 3) if f"{d}d" in str(call.node.target))


def sampled(call: Call) -> Value:
    """Interpolated at the coordinates of a grid: space is fixed, channels keep their units."""
    x, grid = (settle(layout) for layout in call.tensors())
    call.fix(grid, range(1, len(grid.raw)), "places to read at")
    call.fix(x, range(2, len(x.raw)), "it reads between them")
    names = [str(d) for d in range(len(x.raw))]
    inputs = [(x, names), (grid, ["0", *(f"grid {d}" for d in range(1, len(grid.raw)))])]
    result = combine(call.units, inputs, names[:2], call.owner)
    whys = [grid.space.why(own) for own in grid.dims[1:-1]]
    return with_fixed(result, 2, call.shape[2:], whys)


def patches_folded(call: Call) -> Value:
    """`fold`: overlapping patches summed into an image; positions in a patch are fixed."""
    x, shape = settle(call.first), call.shape
    x = x if len(shape) == 4 else insert(x, 0)
    batch, channels, patches = x.shape[0], shape[-3], x.shape[2]
    split = reshape(x, [batch, channels, x.shape[1] // channels, patches])
    whys = call.fix(split, [2, 3], "places in patches")
    result = combine(call.units, [(split, ["n", "c", "place", "patch"])], ["n", "c"], call.owner)
    result = result if len(shape) == 4 else Layout(result.space, result.raw[1:])
    return with_fixed(result, len(shape) - 2, shape[-2:], whys)


def windows(call: Call) -> Value:
    """`unfold`: sliding windows along one dimension, which is fixed, as is the window's own."""
    x, dim = settle(call.first), call.dim(call["dimension"])
    (why,) = call.fix(x, [dim], "windows run along them")
    names = [str(d) for d in range(len(x.raw))]
    kept = [*names[:dim], *names[dim + 1 :]]
    rest = combine(call.units, [(x, names)], kept, call.owner)
    rest = with_fixed(rest, dim, [call.shape[dim]], [why])
    return with_fixed(rest, len(names), call.shape[-1:], [why])
