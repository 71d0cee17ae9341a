"""Rules of operators that work entry by entry, of norms, reductions and softmax."""

from llfc.symmetry.layouts.combine import combine, fibres, pointwise
from llfc.symmetry.layouts.layout import Layout, Value, new_layout, settle, with_fixed
from llfc.symmetry.layouts.units import SHOWN
from llfc.symmetry.layouts.views import insert, reshape
from llfc.symmetry.rules.calls import Call, fixed_layouts
from llfc.symmetry.rules.order import is_used, places_on


def symmetric(call: Call) -> Value:
    """A commutative operator: as `elementwise`, but parts of one axis may be exchanged too.

    In `h[:, :3] * h[:, 3:]`, unit i and unit i + 3 can be swapped with each other (`parts.twins`).
    """
    if call.is_inner():  # the call that ends the chain says how units lie
        return fixed_layouts(call.units, call.result, SHOWN)
    if not call.terms:
        return elementwise(call)
    layouts = [layout for layout, _ in call.operands()]
    return pointwise(call.units, layouts, call.shape, call.owner)


def elementwise(call: Call) -> Value:
    """Operands are broadcast, aligned from the right; units at the same position are identified."""
    if isinstance(call.result, list | tuple):
        shape = tuple(int(n) for n in call.result[0].shape)
        return [pointwise(call.units, call.tensors(), shape, call.owner)] * len(call.result)
    return pointwise(call.units, call.tensors(), call.shape, call.owner)


def same(call: Call) -> Value:
    """The layout of the argument, unchanged."""
    return call.first


def unary(call: Call) -> Value:
    """A function of each entry by itself: the layout of the argument."""
    return settle(call.first)


def uniform(call: Call) -> Value:
    """A tensor of equal entries: neutral along every dimension, so any permutation preserves it."""
    return new_layout(call.units, call.shape, "neutral")


def fill(call: Call) -> Value:
    """A tensor overwritten with one number: neutral along every dimension."""
    return new_layout(call.units, call.shape, "neutral")


def between(call: Call) -> Value:
    """`bucketize`: entry by entry in the input; the order of the boundaries matters: fixed."""
    edges, x = (settle(call.tensor(n)) for n in ("boundaries", "self"))
    call.fix(edges, range(len(edges.raw)), "boundaries are compared by place")
    return x


def copy(call: Call) -> Value:
    """A tensor overwritten with `src`, broadcast to its shape: the layout of `src`."""
    return pointwise(call.units, [call.tensor("src")], call.shape, call.owner)


def complex_numbers(call: Call) -> Value:
    """Complex numbers from two real tensors, entry by entry: their units are identified."""
    return elementwise(call)


def real_and_imaginary(call: Call) -> Value:
    """Real and imaginary part along a new last dimension of size 2, which is fixed."""
    x = settle(call.first)
    return with_fixed(x, len(x.raw), [2], [SHOWN])


def as_complex(call: Call) -> Value:
    """Complex numbers from a last dimension of size 2, real and imaginary part, which is fixed."""
    x = settle(call.first)
    call.fix(x, [-1], "it is a real and an imaginary part")
    names = [str(d) for d in range(len(x.raw))]
    return combine(call.units, [(x, names)], names[:-1], call.owner)


def prelu(call: Call) -> Value:
    """One slope per channel (dimension 1), whose unit it shares, or one slope for all."""
    x, slope = call.first, call.tensors()[1]
    if len(x.raw) < 2:  # one slope for all
        return settle(x)
    if len(slope.raw) != 1:
        return elementwise(call)
    names = [str(d) for d in range(len(x.raw))]
    return combine(call.units, [(x, names), (slope, ["1"])], names, call.owner)


def batch_norm(call: Call) -> Value:
    """Scale, shift and statistics per channel (dimension 1) share the unit of their channel."""
    x, *others = call.tensors()
    names = [str(d) for d in range(len(x.raw))]
    fibres(x, [d for d in range(len(x.raw)) if d != 1], call.owner)
    inputs = [(x, names)] + [(other, ["1"]) for other in others]
    result = combine(call.units, inputs, names, call.owner)
    if isinstance(call.result, list | tuple):
        return [result, *fixed_layouts(call.units, list(call.result[1:]), call.why("statistics"))]
    return result


def layer_norm(call: Call) -> Value:
    """Statistics over the last dimensions, whose units scale and shift share."""
    x, *others = call.tensors()
    last = len(call["normalized_shape"])
    names = [str(d) for d in range(len(x.raw))]
    fibres(x, range(len(x.raw) - last, len(x.raw)), call.owner)
    inputs = [(x, names)] + [(other, names[-last:]) for other in others]
    result = combine(call.units, inputs, names, call.owner, apart=True)
    if isinstance(call.result, list | tuple):
        return [result, *fixed_layouts(call.units, list(call.result[1:]), call.why("statistics"))]
    return result


def group_norm(call: Call) -> Value:
    """Statistics per norm group: channels are permuted within a group, and groups as a whole."""
    x, *others = call.tensors()
    settle(x)
    channels = x.shape[1]
    names = [str(d) for d in range(len(x.raw))]
    x = combine(call.units, [(x, names)] + [(other, ["1"]) for other in others], names, call.owner)
    inner = channels // int(call["num_groups"])
    if 1 < inner < channels and x.dims[1]:
        shape = x.shape
        split = reshape(x, [shape[0], channels // inner, inner, *shape[2:]])
        fibres(split, range(2, len(split.raw)), call.part("groups"))
        return reshape(split, shape)
    fibres(x, range(2 if inner == 1 else 1, len(x.raw)), call.owner)
    return x


def softmax(call: Call) -> Value:
    """Equivariant to permutations along one dimension, the same at all positions of a slice."""
    x = settle(call.first)
    fibres(x, [call.dim(call["dim"])], call.owner)
    return x


def reduction(call: Call) -> Value:
    """A sum, mean, maximum, norm...: invariant to permutations of the dimensions reduced."""
    tensors = call.tensors()
    if len(tensors) == 2:
        return elementwise(call)
    x = settle(tensors[0])
    dims = call.dims(call.values.get("dim"), x)
    many = isinstance(call.result, list | tuple)
    places = None
    if many and not call.result[1].is_floating_point() and is_used(call.node, 1):
        places = places_on(call, x, dims)
    names = [str(d) for d in range(len(x.raw))]
    kept = [name for d, name in enumerate(names) if d not in dims]
    result = combine(call.units, [(x, names)], kept, call.owner)
    if call.values.get("keepdim"):
        for dim in sorted(dims):
            result = insert(result, dim)
    if places is not None:
        return [result, Layout(result.space, result.raw, into=places)]
    return [result] * len(call.result) if many else result


def ignored(call: Call) -> Value:
    """Sizes and assertions: no result that carries units."""
    return call.node.meta.get("val")
