"""How the places that norms read and write are related."""

from typing import Any

from llfc.symmetry.kinds.carried import Carried, Operation, factor_dims
from llfc.symmetry.kinds.letters import relate
from llfc.symmetry.kinds.relating import numbered, shifted
from llfc.symmetry.rules.operators import operator_name


def layer_norm(op: Operation) -> None:
    """Centred over units: permutations alone."""
    op.limit_all("permutation")


def rms_norm(op: Operation) -> None:
    """Divided by the length along the last dimensions, which rotations along them keep."""
    x, gain = op["input"], op["weight"]
    normed = {*range(len(x.layout.raw))[-len(op["normalized_shape"]) :]}
    for run in x.runs:
        for place in run.places:
            whole = factor_dims(run, x.layout.shape, place) <= normed
            op.strands.limit(place.number, "orthogonal" if whole else "signed")
    names = numbered(x)
    tensors = [(y, names[len(names) - len(y.layout.raw) :]) for y in (x, gain) if y is not None]
    relate(op, tensors, (op.out, names))


def batch_norm(op: Operation) -> None:
    """Signs pass: means and shifts change theirs, gains and variances do not; eps keeps scales."""
    op.limit_all("signed")
    names = numbered(op.out)
    relate(op, [(op["input"], names)], (op.out, names))
    for name in ("bias", "running_mean"):
        shifted(op, op[name], 1)
    for name in ("weight", "running_var"):
        for place in op[name].places if isinstance(op[name], Carried) else ():
            op.strands.ground(place.number)


def square(op: Operation) -> None:
    """Squares that are only summed up along the units are a length, which rotations keep."""
    x, out = op.tensors()[0], op.out
    power = 2 if operator_name(op.node) == "square" else op["exponent"]
    if power != 2 or not all(sums_up(user, x) for user in op.node.users):
        op.limit_all("permutation")
        return
    for place in x.places:
        op.strands.limit(place.number, "orthogonal")
    for place in out.places:
        op.strands.ignore(place.number)


def sums_up(user: Any, x: Carried) -> bool:
    """Whether a call is a sum or mean over all dimensions on which units lie, each on its own."""
    if operator_name(user) not in ("mean", "sum") or len(user.args) < 2:
        return False
    given = user.args[1]
    dims = {d % len(x.layout.raw) for d in ([given] if isinstance(given, int) else given or [])}
    return all(
        factor_dims(run, x.layout.shape, place) <= dims for run in x.runs for place in run.places
    )


def euclidean(op: Operation) -> None:
    """The length along the units, which rotations keep; of what has no units, nothing."""
    x, rank = op.tensors()[0], len(op.tensors()[0].layout.raw)
    order, dims = op.values.get("ord", op["p"]), op["dim"]
    dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    over = {d % rank for d in dims}
    inside = [
        factor_dims(run, x.layout.shape, place) <= over for run in x.runs for place in run.places
    ]
    if order in (None, 2) and all(inside):
        for place in x.places:
            op.strands.limit(place.number, "orthogonal")
    else:
        op.limit_all("permutation")
