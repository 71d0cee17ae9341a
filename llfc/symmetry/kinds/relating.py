"""How the places that one operator reads and writes are related, by operator."""

from collections.abc import Callable, Sequence
from typing import Any

from llfc.symmetry.kinds.carried import Carried, Operation, factor_dims, tie_runs
from llfc.symmetry.kinds.letters import relate
from llfc.symmetry.rules.operators import operator_name

Relation = Callable[[Operation], None]


def numbered(carried: Carried) -> list[str]:
    """A letter for each dimension."""
    return [str(d) for d in range(len(carried.layout.raw))]


def aligned(op: Operation) -> tuple[list[tuple[Carried, list[str]]], tuple[Carried, list[str]]]:
    """Operands and result of an elementwise call, with letters aligned from the right."""
    names = numbered(op.out)
    operands = [(x, names[len(names) - len(x.layout.raw) :]) for x in op.tensors()]
    return operands, (op.out, names)


def same(op: Operation) -> None:
    """The places of the only argument, or of the first, at the same dimensions."""
    x = op.tensors()[0]
    for out in [r for r in (op.result if isinstance(op.result, list) else [op.result]) if r]:
        relate(op, [(x, numbered(x))], (out, numbered(out)))


def reduced(op: Operation) -> None:
    """As `same`, for what is left of the dimensions; what is summed up alone is only permuted."""
    x, out = op.tensors()[0], op.out
    rank, dims = len(x.layout.raw), op["dim"]
    dims = [*range(rank)] if dims is None or dims == [] else dims
    gone = {d % rank for d in ([dims] if isinstance(dims, int) else dims)} if rank else set()
    kept = [
        f"gone {d}" if d in gone else str(d) for d in range(rank) if op["keepdim"] or d not in gone
    ]
    relate(op, [(x, numbered(x))], (out, kept))


def added(op: Operation) -> None:
    """Sums, and maxima of two tensors: all operands have one map."""
    operands, result = aligned(op)
    numbers = [v for k, v in op.values.items() if k in ("self", "other") and is_number(v)]
    if any(number != 0 for number in numbers):
        op.limit_all("permutation")
        return
    if operator_name(op.node) in ("maximum", "minimum", "fmax", "fmin"):
        op.limit_all("scaled")
    if operator_name(op.node) == "copy":  # its result is what was written
        operands = [(x, names) for x, names in operands if x is op["src"]]
    relate(op, operands, result, total=True)


def is_number(value: Any) -> bool:
    """Whether an argument is a plain number."""
    return isinstance(value, int | float | complex) and not isinstance(value, bool)


def multiplied(op: Operation) -> None:
    """Products; in a quotient the numerator is the product of the result and the denominator."""
    operands, result = aligned(op)
    if operator_name(op.node) in ("mul", "multiply"):
        relate(op, operands, result)
    elif op["rounding_mode"] is not None or (len(operands) == 2 and operands[1][0].runs):
        op.limit_all("permutation")
    elif operands and operands[0][0] is op["self"]:
        relate(op, operands, result)
    else:
        op.limit_all("permutation")


def linear(op: Operation) -> None:
    """`x Wᵀ + b`."""
    x, weight = op["input"], op["weight"]
    names = [f"x{d}" for d in range(len(x.layout.raw) - 1)]
    out = ["out"] * (len(weight.layout.raw) - 1)
    relate(op, [(x, [*names, "in"]), (weight, [*out, "in"])], (op.out, [*names, *out]))
    shifted(op, op["bias"], -1)


def shifted(op: Operation, shift: Any, dim: int) -> None:
    """A shift that is added along one dimension of the result has the result's map there."""
    if not isinstance(shift, Carried):
        return
    for family in shift.families:
        runs = [run for run in op.out.runs if run.of(family) and run.dims == (at(op.out, dim),)]
        own = [run for run in shift.runs if run.of(family)]
        if not (len(runs) == len(own) == 1 and tie_runs(op.strands, runs[0], own[0], family)):
            op.limit({family}, "permutation")


def at(carried: Carried, dim: int) -> int:
    """A dimension counted from the front."""
    return dim % len(carried.layout.raw)


def matmul(op: Operation) -> None:
    """A matrix product, batched over leading dimensions."""
    x, y = op.tensors()
    relate(op, *product_names(x, y, op.out))


def product_names(x: Carried, y: Carried, out: Carried) -> Any:
    """The letters of `x @ y`: operands and result."""
    left, right = len(x.layout.raw), len(y.layout.raw)
    rank = max(left, right) - 2
    batch = [f"b{d}" for d in range(max(rank, 0))]
    first = ["k"] if left == 1 else [*batch[rank - left + 2 :], "i", "k"]
    second = ["k"] if right == 1 else [*batch[rank - right + 2 :], "k", "j"]
    ends = (["i"] if left > 1 else []) + (["j"] if right > 1 else [])
    return [(x, first), (y, second)], (out, [*batch, *ends])


def addmm(op: Operation) -> None:
    """A bias plus a matrix product."""
    bias, x, y = op.tensors()
    relate(op, *product_names(x, y, op.out))
    shifted(op, bias, -1)


def einsum(op: Operation) -> None:
    """A contraction given by its equation, without dots and without repeated letters."""
    equation = str(op["equation"]).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if "." in equation or not arrow or any(len({*term}) < len(term) for term in terms):
        op.limit_all("permutation")
        return
    operands = [(x, [*term]) for x, term in zip(op.tensors(), terms, strict=True)]
    relate(op, operands, (op.out, [*right]))


def attention(op: Operation) -> None:
    """`softmax(q kᵀ) v`: inside a head, keys are dual to queries; heads are only permuted."""
    q, k, v = op["query"], op["key"], op["value"]
    for carried in (q, k, v, op.out):
        last = {len(carried.layout.raw) - 1}
        for run in carried.runs:
            shape = carried.layout.shape
            away = [p.family for p in run.places if not factor_dims(run, shape, p) <= last]
            op.limit({*away}, "permutation")
    lead = [f"b{d}" for d in range(len(q.layout.raw) - 2)]
    operands = [(q, [*lead, "q", "d"]), (k, [*lead, "k", "d"]), (v, [*lead, "k", "e"])]
    relate(op, operands, (op.out, [*lead, "q", "e"]))
    if isinstance(op["attn_mask"], Carried):
        op.limit(op["attn_mask"].families, "permutation")


def convolution(op: Operation) -> None:
    """Channels in and out, at one group; one channel a group is a gain."""
    x, weight = op["input"], op["weight"]
    space = range(len(weight.layout.raw) - 2)
    lead = ["n"] if len(x.layout.raw) == len(weight.layout.raw) else []
    kernel, before, after = ([f"{end}{d}" for d in space] for end in ("k", "x", "y"))
    depthwise = op["groups"] == x.layout.shape[len(lead)] == weight.layout.shape[0]
    if (op["groups"] != 1 and not depthwise) or op["transposed"]:
        op.limit_all("permutation")
        return
    names = ["c", "one"] if depthwise else ["o", "c"]
    operands = [(x, [*lead, "c", *before]), (weight, [*names, *kernel])]
    relate(op, operands, (op.out, [*lead, names[0], *after]))
    shifted(op, op["bias"], len(lead))


def prelu(op: Operation) -> None:
    """Slopes of units below zero, which are only permuted."""
    op.limit_all("scaled")
    x, slope = op.tensors()
    for place in slope.places:
        op.strands.ground(place.number)
    relate(op, [(x, numbered(x))], (op.out, numbered(op.out)))


def bounded(op: Operation) -> None:
    """Cut off at zero it is homogeneous; between opposite bounds it is odd; else neither."""
    name = operator_name(op.node)
    low, high = op.values.get("min", op["min_val"]), op.values.get("max", op["max_val"])
    if name == "threshold":
        low, high = op["threshold"], op["value"]
    numbers = [bound for bound in (low, high) if bound is not None]
    plain = all(map(is_number, numbers))
    homogeneous = plain and not any(numbers)
    odd = plain and name != "threshold" and len(numbers) == 2 and low == -high
    op.limit_all("scaled" if homogeneous else "signed" if odd else "permutation")
    same(op)


def where(op: Operation) -> None:
    """Entries chosen by a mask that is the same for all units, among tensors of one map."""
    mask = op["condition"] if "condition" in op.values else op["mask"]
    value = op["value"]
    values = [x for x in op.tensors() if x is not mask]
    if (is_number(value) and value != 0) or mask.families:
        op.limit(mask.families | {f for x in values for f in x.families}, "permutation")
    names = numbered(op.out)
    operands = [(x, names[len(names) - len(x.layout.raw) :]) for x in values]
    relate(op, operands, (op.out, names), total=True)


def looked_up(op: Operation) -> None:
    """Rows of a table: places on its other dimensions stay as they are."""
    table = op["weight"] if "weight" in op.values else op["self"]
    index, dim = op["indices"], op["dim"]
    if isinstance(index, list):
        gone = {d for d, each in enumerate(index) if each is not None}
    else:
        gone = {0 if dim is None else dim % len(table.layout.raw)}
    for other in carried_others(op, table):
        op.limit(other.families, "permutation")
    unchanged(op, table, [run for run in table.runs if not gone & {*run.dims}])


def carried_others(op: Operation, table: Carried) -> Sequence[Carried]:
    """All tensor arguments but one."""
    return [x for x in op.tensors() if x is not table]


def unchanged(op: Operation, x: Carried, runs: Sequence[Any]) -> None:
    """Families on these runs lie in the result as they lie here; others are only permuted."""
    met = set[str]()
    for run in runs:
        for family in {place.family for place in run.places}:
            ends = [other for other in op.out.runs if other.of(family)]
            starts = [other for other in x.runs if other.of(family)]
            if len(ends) == len(starts) == 1 and tie_runs(op.strands, run, ends[0], family):
                met.add(family)
    op.limit((x.families | op.out.families) - met, "permutation")


def padded(op: Operation) -> None:
    """Zeros beside what there is; on dimensions of units they are units as well."""
    x = op.tensors()[0]
    widened = {len(x.layout.raw) - 1 - k // 2 for k, n in enumerate(op["pad"]) if n}
    constant = op.values.get("mode", "constant") == "constant"
    if constant and op["value"] not in (None, 0, 0.0):
        op.limit_all("permutation")
    unchanged(op, x, [run for run in x.runs if not widened & {*run.dims}])


def ignored(op: Operation) -> None:
    """Nothing is computed with the units."""
