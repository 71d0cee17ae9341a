"""Rules of operators that contract: linear maps, convolutions, attention, pooling."""

from llfc.matching.symmetry.calls import Call, Value, rule
from llfc.matching.symmetry.combine import combine, fibres
from llfc.matching.symmetry.layout import Layout, Refusal, pin, settle, with_fixed
from llfc.matching.symmetry.views import expand, insert, reshape


@rule("linear")
def linear(call: Call) -> Value:
    """`x Wᵀ + b`."""
    x, weight, *bias = call.tensors()
    names = [f"x{d}" for d in range(len(x.raw) - 1)]
    if len(weight.raw) == 1:
        return combine(call.units, [(x, [*names, "in"]), (weight, ["in"])], names, call.owner)
    inputs = [(x, [*names, "in"]), (weight, ["out", "in"])]
    result = combine(call.units, inputs, [*names, "out"], call.owner)
    return plus(call, result, bias[0]) if bias else result


def plus(call: Call, x: Layout, bias: Layout) -> Layout:
    """A bias along the last dimension."""
    names = [str(d) for d in range(len(x.raw))]
    return combine(call.units, [(x, names), (bias, names[-1:])], names, call.owner)


@rule("matmul", "bmm", "mm", "mv", "dot", "vdot", "linalg_matmul")
def matmul(call: Call) -> Value:
    """A matrix product, batched over what comes before."""
    return product(call, *call.tensors())


def product(call: Call, x: Layout, y: Layout) -> Layout:
    """The layout of `x @ y`."""
    rank = max(len(x.raw), len(y.raw)) - 2
    batch = [f"b{d}" for d in range(max(rank, 0))]
    left = ["k"] if len(x.raw) == 1 else [*batch[rank - len(x.raw) + 2 :], "i", "k"]
    right = ["k"] if len(y.raw) == 1 else [*batch[rank - len(y.raw) + 2 :], "k", "j"]
    ends = (["i"] if len(x.raw) > 1 else []) + (["j"] if len(y.raw) > 1 else [])
    return combine(call.units, [(x, left), (y, right)], [*batch, *ends], call.part("heads"))


@rule("addmm", "baddbmm")
def addmm(call: Call) -> Value:
    """A bias and a matrix product."""
    bias, x, y = call.tensors()
    result = product(call, x, y)
    names = [str(d) for d in range(len(result.raw))]
    bias_names = names[len(names) - len(bias.raw) :]
    return combine(call.units, [(result, names), (bias, bias_names)], names, call.owner)


@rule("bilinear")
def bilinear(call: Call) -> Value:
    """`x1 W x2` for each output."""
    x, y, weight, *bias = call.tensors()
    names = [f"x{d}" for d in range(len(x.raw) - 1)]
    inputs = [(x, [*names, "i"]), (y, [*names, "j"]), (weight, ["out", "i", "j"])]
    result = combine(call.units, inputs, [*names, "out"], call.owner)
    return plus(call, result, bias[0]) if bias else result


@rule("cdist", "_cdist_forward", "_euclidean_dist")
def distances(call: Call) -> Value:
    """From every row of one tensor to every row of another."""
    x, y = call.tensors()
    rank = len(call.shape) - 2
    batch = [f"b{d}" for d in range(rank)]
    left, right = ([*batch[rank + 2 - len(z.raw) :], end, "k"] for z, end in ((x, "i"), (y, "j")))
    return combine(call.units, [(x, left), (y, right)], [*batch, "i", "j"], call.owner)


@rule("einsum")
def einsum(call: Call) -> Value:
    """Any contraction, by its equation."""
    equation = str(call["equation"]).replace(" ", "")
    tensors = call.tensors()
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = [c for c in left if c.isalpha()]
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
        right = ("..." if "..." in left else "") + right
    ranks = [
        len(t.raw) - len(term.replace("...", "")) for t, term in zip(tensors, terms, strict=True)
    ]
    most = max((r for r, term in zip(ranks, terms, strict=True) if "..." in term), default=0)

    def spelled(term: str, rank: int) -> list[str]:
        head, dots, tail = term.partition("...")
        middle = [f".{d}" for d in range(most - rank, most)] if dots else []
        return [*head, *middle, *tail]

    inputs = [
        (tensor, spelled(term, rank))
        for tensor, term, rank in zip(tensors, terms, ranks, strict=True)
    ]
    if any(len(set(names)) < len(names) for _, names in inputs):
        raise Refusal("an index that appears twice in one tensor")
    return combine(call.units, inputs, spelled(right, most), call.part("heads"))


@rule("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d")
@rule("conv_transpose3d")
def convolution(call: Call) -> Value:
    """Channels are contracted within each group of the convolution; space is fixed."""
    x, weight, *bias = call.tensors()
    transposed = "transpose" in str(call.node.target) or bool(call.values.get("transposed"))
    rank = len(weight.raw) - 2
    batched = len(x.raw) == rank + 2
    x = x if batched else insert(x, 0)
    for own in weight.dims[2:]:
        pin(weight, own)
    for own in x.dims[2:]:
        pin(x, own)
    groups = int(call["groups"])
    result = contracted(call, x, weight, groups, transposed)
    if bias:
        result = combine(
            call.units, [(result, ["n", "c"]), (bias[0], ["c"])], ["n", "c"], call.owner
        )
    result = result if batched else Layout(result.space, result.raw[1:])
    return with_fixed(result, len(result.raw), call.shape[-rank:])


def contracted(call: Call, x: Layout, weight: Layout, groups: int, transposed: bool) -> Layout:
    """Images and channels of a convolution's result, as a layout of two dimensions."""
    space = [f"s{d}" for d in range(len(x.raw) - 2)]
    taps = [f"t{d}" for d in range(len(weight.raw) - 2)]
    if groups == 1:
        ends = ["in", "out"] if transposed else ["out", "in"]
        inputs = [(x, ["n", "in", *space]), (weight, [*ends, *taps])]
        return combine(call.units, inputs, ["n", "out"], call.owner)
    shape = x.shape
    x = reshape(settle(x), [shape[0], groups, shape[1] // groups, *shape[2:]])
    first, second = weight.shape[:2]
    kernel = weight.shape[2:]
    split = reshape(weight, [groups, first // groups, second, *kernel])
    ends = ["g", "in", "out"] if transposed else ["g", "out", "in"]
    inputs = [(x, ["n", "g", "in", *space]), (split, [*ends, *taps])]
    result = combine(call.units, inputs, ["n", "g", "out"], call.part("groups"))
    out = groups * (second if transposed else first // groups)
    return reshape(result, [shape[0], out])


@rule(
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d"),
    *("upsample_bilinear2d", "upsample_nearest2d", "upsample_bicubic2d", "upsample_nearest1d"),
    *("max_pool2d_with_indices", "_adaptive_avg_pool2d", "lp_pool2d", "upsample_linear1d"),
    *("reflection_pad2d", "replication_pad2d", "reflection_pad1d", "replication_pad1d"),
    *("adaptive_max_pool1d", "adaptive_max_pool3d", "_upsample_bilinear2d_aa"),
)
def pooling(call: Call) -> Value:
    """Space is fixed and changes its size; channels go through."""
    x = settle(call.first)
    results = call.result if isinstance(call.result, list | tuple) else [call.result]
    changed = [d for d in range(len(x.raw)) if d >= len(x.raw) - spatial(call)]
    pin(x, [s for d in changed for s in x.dims[d]])
    names = [str(d) for d in range(len(x.raw))]
    kept = [name for d, name in enumerate(names) if d not in changed]
    result = combine(call.units, [(x, names)], kept, call.owner)
    pooled = with_fixed(result, len(kept), results[0].shape[-len(changed) :])
    return [pooled] * len(results) if isinstance(call.result, list | tuple) else pooled


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def sampled(call: Call) -> Value:
    """Read between pixels, at places that another tensor names."""
    x, grid = (settle(layout) for layout in call.tensors())
    pin(grid, [s for own in grid.dims[1:] for s in own])
    pin(x, [s for own in x.dims[2:] for s in own])
    names = [str(d) for d in range(len(x.raw))]
    inputs = [(x, names), (grid, ["0", *(f"grid {d}" for d in range(1, len(grid.raw)))])]
    result = combine(call.units, inputs, names[:2], call.owner)
    return with_fixed(result, 2, call.shape[2:])


@rule("col2im")
def folded(call: Call) -> Value:
    """Patches laid over one another: the places in them come after the channels."""
    x, shape = settle(call.first), call.shape
    x = x if len(shape) == 4 else insert(x, 0)
    batch, channels, patches = x.shape[0], shape[-3], x.shape[2]
    split = reshape(x, [batch, channels, x.shape[1] // channels, patches])
    pin(split, [s for own in split.dims[2:] for s in own])
    names = ["n", "c", "place", "patch"]
    result = combine(call.units, [(split, names)], names[:2], call.owner)
    result = result if len(shape) == 4 else Layout(result.space, result.raw[1:])
    return with_fixed(result, len(shape) - 2, shape[-2:])


def spatial(call: Call) -> int:
    """How many spatial dimensions an operator has, which its name says."""
    return next(d for d in (1, 2, 3) if f"{d}d" in str(call.node.target))


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Value:
    """`softmax(q kᵀ) v` for each head; with grouped queries, heads share keys and values."""
    q, k, v = (settle(call.tensor(name)) for name in ("query", "key", "value"))
    if call["enable_gqa"] and q.shape[-3] != k.shape[-3]:
        count = q.shape[-3] // k.shape[-3]
        k, v = (grouped(y, count) for y in (k, v))
    lead = [f"b{d}" for d in range(len(q.raw) - 2)]
    owner = call.part("heads")
    scores = combine(
        call.units, [(q, [*lead, "q", "d"]), (k, [*lead, "k", "d"])], [*lead, "q", "k"], owner
    )
    mask = call["attn_mask"]
    if mask is not None:
        names = [*lead, "q", "k"]
        inputs = [(scores, names), (mask, names[len(names) - len(mask.raw) :])]
        scores = combine(call.units, inputs, names, owner, apart=True)
    if call["is_causal"]:
        pin(scores, [s for own in scores.dims[-2:] for s in own])
    fibres(scores, [len(scores.raw) - 1], owner)
    inputs = [(scores, [*lead, "q", "k"]), (v, [*lead, "k", "e"])]
    return combine(call.units, inputs, [*lead, "q", "e"], owner)


def grouped(x: Layout, count: int) -> Layout:
    """Each head `count` times over."""
    dim = len(x.raw) - 3
    shape = list(x.shape)
    wider = [*shape[: dim + 1], count, *shape[dim + 1 :]]
    shape[dim] *= count
    return reshape(expand(insert(x, dim + 1), wider), shape)
