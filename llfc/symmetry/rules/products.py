"""Rules of operators that contract: linear maps, products, attention."""

from torch import Tensor, fx

from llfc.symmetry.layouts.combine import combine, fibres
from llfc.symmetry.layouts.layout import Layout, Refusal, Value, settle
from llfc.symmetry.layouts.views import expand, insert, reshape, selected_at, taken
from llfc.symmetry.rules.calls import ALONE, Call
from llfc.symmetry.rules.parts.joins import leaves
from llfc.symmetry.rules.parts.listing import listing_of


def linear(call: Call) -> Value:
    """`x Wᵀ + b`: input units of W are those of x; its rows and b are the output units."""
    if (found := listed(call)) is not None:
        return found
    x, weight, *bias = call.tensors()
    names = [f"x{d}" for d in range(len(x.raw) - 1)]
    if len(weight.raw) == 1:
        return combine(call.units, [(x, [*names, "in"]), (weight, ["in"])], names, call.owner)
    inputs = [(x, [*names, "in"]), (weight, ["out", "in"])]
    result = combine(call.units, inputs, [*names, "out"], call.owner)
    return plus(call, result, bias[0]) if bias else result


def plus(call: Call, x: Layout, bias: Layout) -> Layout:
    """The layout of x plus a bias, whose units are those of the last dimension of x."""
    names = [str(d) for d in range(len(x.raw))]
    return combine(call.units, [(x, names), (bias, names[-1:])], names, call.owner)


def matmul(call: Call) -> Value:
    """A matrix product, batched over leading dimensions; contracted units are identified."""
    if (found := listed(call)) is not None:
        return found
    if not call.terms:
        return matrix_product(call, *call.tensors())
    (whole, _), *others = call.operands()
    if others:
        return matrix_product(call, *call.tensors())
    names = [str(d) for d in range(len(whole.raw))]
    kept = [*names[:-1], "one"] if len(names) > 1 else []
    return combine(call.units, [(whole, names)], kept, call.part("heads"))


def matrix_product(call: Call, x: Layout, y: Layout) -> Layout:
    """The layout of `x @ y`."""
    rank = max(len(x.raw), len(y.raw)) - 2
    batch = [f"b{d}" for d in range(max(rank, 0))]
    left = ["k"] if len(x.raw) == 1 else [*batch[rank - len(x.raw) + 2 :], "i", "k"]
    right = ["k"] if len(y.raw) == 1 else [*batch[rank - len(y.raw) + 2 :], "k", "j"]
    ends = (["i"] if len(x.raw) > 1 else []) + (["j"] if len(y.raw) > 1 else [])
    return combine(call.units, [(x, left), (y, right)], [*batch, *ends], call.part("heads"))


def addmm(call: Call) -> Value:
    """A bias plus a matrix product."""
    bias, x, y = call.tensors()
    result = matrix_product(call, x, y)
    names = [str(d) for d in range(len(result.raw))]
    bias_names = names[len(names) - len(bias.raw) :]
    return combine(call.units, [(result, names), (bias, bias_names)], names, call.owner)


def bilinear(call: Call) -> Value:
    """`x1 W x2` for each output."""
    x, y, weight, *bias = call.tensors()
    names = [f"x{d}" for d in range(len(x.raw) - 1)]
    inputs = [(x, [*names, "i"]), (y, [*names, "j"]), (weight, ["out", "i", "j"])]
    result = combine(call.units, inputs, [*names, "out"], call.owner)
    return plus(call, result, bias[0]) if bias else result


def distances(call: Call) -> Value:
    """Distances between the rows of two tensors, over whose columns the units are identified."""
    x, y = call.tensors()
    rank = len(call.shape) - 2
    batch = [f"b{d}" for d in range(rank)]
    left, right = ([*batch[rank + 2 - len(z.raw) :], end, "k"] for z, end in ((x, "i"), (y, "j")))
    return combine(call.units, [(x, left), (y, right)], [*batch, "i", "j"], call.owner)


def einsum(call: Call) -> Value:
    """A contraction given by its equation: units of equal letters are identified."""
    if (found := listed(call)) is not None:
        return found
    equation = str(call["equation"]).replace(" ", "")
    tensors = call.tensors()
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if call.terms:
        term_of = dict(zip(leaves(call.node.args), terms, strict=True))
        operands = call.operands()
        tensors, terms = [x for x, _ in operands], [term_of[node] for _, node in operands]
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


def attention(call: Call) -> Value:
    """`softmax(q kᵀ) v` for each head; with grouped queries, heads share keys and values."""
    q, k, v = (settle(call.tensor(name)) for name in ("query", "key", "value"))
    if call["enable_gqa"] and q.shape[-3] != k.shape[-3]:
        count = q.shape[-3] // k.shape[-3]
        k, v = (heads_repeated(y, count) for y in (k, v))
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
        call.fix(scores, [-2, -1], "each looks at those before it")
    fibres(scores, [len(scores.raw) - 1], owner)
    inputs = [(scores, [*lead, "q", "k"]), (v, [*lead, "k", "e"])]
    return combine(call.units, inputs, [*lead, "q", "e"], owner)


def heads_repeated(x: Layout, count: int) -> Layout:
    """Each head of keys or values repeated `count` times (grouped-query attention)."""
    dim = len(x.raw) - 3
    shape = list(x.shape)
    wider = [*shape[: dim + 1], count, *shape[dim + 1 :]]
    shape[dim] *= count
    return reshape(expand(insert(x, dim + 1), wider), shape)


def listed(call: Call) -> Layout | None:
    """The result of a product with ones and zeros that picks positions out; None: it is another."""

    def constant_of(node: fx.Node) -> Tensor | None:
        value = call.seen[node]
        return value.value if isinstance(value, Layout) else None

    source = next((n for n in call.node.all_input_nodes if constant_of(n) is None), None)
    if source is None:
        return None
    found = listing_of(call.node, source, constant_of)
    x = call.seen[source]
    if found is None or not isinstance(x, Layout) or not settle(x).moves(found.dim):
        return None
    call.picks = True
    if found.keeps:
        return taken(x, found.dim, found.positions, call.why(ALONE), call.apart())
    return selected_at(x, found.dim, found.positions[0], call.why(ALONE), call.apart())
