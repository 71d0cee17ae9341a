"""Whether two networks are one function of their parameters and buffers, so that a line joins them.

Everything else that they hold (settings, attributes, code) is A's on the whole line.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from llfc.modules.copies import copy_into, copy_of, tensors
from llfc.modules.differences import first_difference, first_setting
from llfc.modules.inputs import Inputs, backwards, count_of, joined, run, taken
from llfc.seeds import drawn_alike

# Of the outputs' scale. Two networks that are alike do the same operations on the same numbers, and
# kernels repeat themselves, so that nothing is expected but zero; the room is for kernels chosen by
# how numbers lie in memory.
SAME_OUTPUTS = 1e-6
# The same sums in another order: rounding, which norms magnify. What exceeds it in float32 (and
# nearly all in half precision does) is asked again in float64, where a true symmetry is far below,
# and a false one as far off as before.
REORDERED = 1e-5
# What mixed units, rounded to float32 once they are, may be away, if they are not so in float64.
MIXED = 1e-3
# Of networks that do not run in float64: a hundred times what rounding does in one operation, and
# in half precision, whose sums are kept in float32, eight.
COARSE: Mapping[torch.dtype, float] = {
    torch.float64: 1e-8,
    torch.float32: 1e-4,
    torch.float16: 8e-3,
    torch.bfloat16: 6e-2,
}
StateDict = Mapping[str, Tensor]
TINY = 1e-300  # in place of a scale of zero, in float64


def check_same_architecture(a: nn.Module, b: nn.Module) -> None:
    """Refuse two models between which there is no line.

    Raises:
        ValueError: if their modules differ in name, kind or settings, or their tensors in name,
            shape, type or device; says the first difference. What has no part in a forward pass
            in eval mode (dropout, a norm's momentum) may differ.
    """
    if _shapes(a) == _shapes(b):  # then what modules say of the numbers in them is to be alike
        a = copy_of(a)
        copy_into(a, tensors(b))
    _same("module", _described(dict(a.named_modules())), _described(dict(b.named_modules())))
    _same("tensor", _shapes(a), _shapes(b))


def check_same_settings(a: nn.Module, b: nn.Module) -> None:
    """Refuse two models whose settings differ, where there are no inputs to see if that matters.

    Raises:
        ValueError: with the first setting that differs.
    """
    if found := first_setting(a, b):
        raise ValueError(
            f"models differ in architecture: {found} (A against B);"
            " if no output depends on that, give batches on which this can be checked"
        )


def check_same_function(a: nn.Module, b: nn.Module, inputs: Inputs) -> None:
    """Refuse two models that are not the same but for the numbers in their parameters and buffers.

    A's modules, once they have run with A's numbers, are given B's, and must give B's outputs. Six
    forward passes.

    Args:
        a: a copy of a network, in eval mode; it is run.
        b: the same of another one.
        inputs: a batch, as both take it; a list of positional arguments will do.

    Raises:
        ValueError: if the outputs differ, with the first other difference; or if one of the models
            gives other outputs when it is run again.
    """
    _check_repeats("A", a, inputs)
    _check_repeats("B", b, inputs)
    skeleton = copy_of(a)
    _outputs(skeleton, inputs)  # what it keeps of a pass is now of A
    copy_into(skeleton, tensors(b))
    gap = _gap(skeleton, b, inputs, SAME_OUTPUTS)
    if not gap <= SAME_OUTPUTS:
        found = first_difference(skeleton, b)
        where = f"{found} (A against B)" if found else "in what their code holds, unseen from here"
        raise ValueError(
            f"models differ in architecture: with B's parameters and buffers, A's outputs are"
            f" {gap:.2g} of their scale away from B's, more than {SAME_OUTPUTS:g};"
            f" first difference {where}"
        )


def check_same_outputs(
    moved: nn.Module,
    b: nn.Module,
    inputs: Inputs,
    move: Callable[[StateDict], StateDict] | None = None,
) -> float:
    """Refuse a permuted B that is another function than B.

    Args:
        moved: B with its units moved.
        b: the network itself.
        inputs: a batch, as both take it.
        move: how B's state dict was moved, if units were mixed: what that makes of numbers is
            rounded to their type, and ill-conditioned maps magnify it. If `moved` is not near
            enough, B in float64, moved so, has to be, and `moved` to MIXED.

    Returns:
        The largest difference of the outputs on `inputs`, relative to their scale.

    Raises:
        ValueError: if the outputs on `inputs` differ by more than rounding.
    """
    gap = _gap(moved, b, inputs, REORDERED)
    if REORDERED < gap <= MIXED and move is not None:
        wide = _in_double(b)
        there = copy_of(wide)
        there.load_state_dict(move(wide.state_dict()))
        exact = _gap(there, wide, pytree.tree_map_only(Tensor, _doubled, inputs), REORDERED)
        if exact <= REORDERED:
            return gap
    if not gap <= REORDERED:
        raise ValueError(
            f"permuted, B's outputs are {gap:.2g} of their scale away from its own, more than"
            f" {REORDERED:g}: the spec, or the map of units, is of another network"
        )
    return gap


def batch_dependence(model: nn.Module, images: Inputs) -> float:
    """How far an image's logits move when other images are in its batch; 0 if by rounding alone.

    As where a batch norm in eval mode has no running statistics, so that it takes its batch's.

    Args:
        model: a copy of a network, in eval mode; it is run.
        images: a batch; the first two are also run alone. Beside two or fewer run their own
            numbers, in reverse order.

    Returns:
        The largest difference, relative to the logits' scale; 0 if the network does not take
        batches of both sizes.
    """
    few, whole = taken(images, slice(2)), count_of(images) > 2
    size = count_of(few)
    many = images if whole else joined([few, backwards(few)])
    try:
        gap = _gap(_Apart(model, size), _Beside(model, size), [many], REORDERED)
    except Exception:  # whatever a model's own code raises
        return 0.0
    return gap if gap > REORDERED else 0.0


class _Beside(nn.Module):
    """A network's logits of the first images of a batch, which runs whole."""

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__()
        self.model, self.count = model, count

    def forward(self, images: Inputs) -> Any:
        returned, count = run(self.model, images), count_of(images)
        return [x[: self.count] for x in _tensors_in(returned) if x.ndim and len(x) == count]


class _Apart(_Beside):
    """The same of these images alone."""

    def forward(self, images: Inputs) -> Any:
        returned = run(self.model, taken(images, slice(self.count)))
        return [x for x in _tensors_in(returned) if x.ndim and len(x) == self.count]


def _gap(one: nn.Module, other: nn.Module, inputs: Inputs, most: float) -> float:
    """The largest difference of the outputs, relative to their scale; in float64 if above `most`.

    Zero if they do not run in float64, sums may be in another order, and they do not differ by more
    than their type explains.
    """
    of_other = _outputs(other, inputs)
    gap = _difference(_outputs(one, inputs), of_other)
    dtypes = {t.dtype for t in (*tensors(other).values(), *of_other) if t.is_floating_point()}
    if gap <= most or torch.float64 in dtypes:
        return gap
    try:
        doubled = pytree.tree_map_only(Tensor, _doubled, inputs)
        exact = [_outputs(_in_double(model), doubled) for model in (one, other)]
    except RuntimeError:  # types that are written into the code, say
        coarse = max((COARSE.get(dtype, 0.0) for dtype in dtypes), default=0.0)
        return 0.0 if most == REORDERED and gap <= coarse else gap
    return _difference(*exact)


def _in_double(model: nn.Module) -> nn.Module:
    return copy_of(model)._apply(_doubled)  # type: ignore[no-untyped-call, no-any-return]


def _doubled(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _check_repeats(role: str, model: nn.Module, inputs: Inputs) -> None:
    """Refuse a model that gives other outputs when it is run again."""
    first, again = (_outputs(model, inputs, seed) for seed in (0, 1))
    gap = _difference(first, again)
    rounding = max((torch.finfo(t.dtype).eps for t in first if t.is_floating_point()), default=0)
    if not gap <= max(SAME_OUTPUTS, 8 * rounding):
        raise ValueError(
            f"model {role} must be a function in eval mode: on the same inputs its outputs change"
            f" by {gap:.2g} of their scale, as it is random or keeps state between passes"
        )


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Inputs, seed: int = 0) -> list[Tensor]:
    """Every tensor that `model` returns, as a copy.

    Raises:
        ValueError: if there is none.
    """
    with drawn_alike(seed):
        returned = run(model, inputs)
    found = [tensor.clone() for tensor in _tensors_in(returned)]
    if not found:
        raise ValueError(f"model must return a tensor, got a {type(returned).__name__}")
    return found


def _tensors_in(returned: Any) -> Iterator[Tensor]:
    """The tensors in containers and records, in order."""
    for leaf in pytree.tree_leaves(returned):
        if isinstance(leaf, Tensor):
            yield leaf
        elif hasattr(leaf, "__dict__"):
            yield from (x for x in pytree.tree_leaves(vars(leaf)) if isinstance(x, Tensor))


def _difference(of_one: Sequence[Tensor], of_other: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest number of its tensor in `of_other`.

    Infinite if shapes differ, or only one of two numbers is finite.
    """
    if [x.shape for x in of_one] != [x.shape for x in of_other]:
        return float("inf")
    gaps = [0.0]
    for x, y in zip(of_one, of_other, strict=True):
        wide = torch.complex128 if y.is_complex() else torch.float64
        x, y = x.to(wide), y.to(wide)
        known = x.isfinite() | y.isfinite()
        if known.any():
            x, y = x[known], y[known]
            gap = float((x - y).abs().max() / y.abs().max().clamp_min(TINY))
            gaps.append(gap if gap == gap else float("inf"))
    return max(gaps)


def _described(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    return {name: _settings(module) for name, module in modules.items()}


def _settings(module: nn.Module) -> str:
    kind = type(module).__name__
    if kind.startswith("Dropout") or list(module.children()):
        return kind
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return f"{kind}({module.num_features}, eps={module.eps})"
    return f"{kind}({module.extra_repr()})"


def _shapes(model: nn.Module) -> dict[str, str]:
    return {
        name: f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
        for name, tensor in tensors(model).items()
    }


def _same(kind: str, of_a: Mapping[str, str], of_b: Mapping[str, str]) -> None:
    for name in (*of_a, *of_b):
        if name not in of_a or name not in of_b:
            has, lacks = ("A", "B") if name in of_a else ("B", "A")
            raise ValueError(
                f"models differ in architecture: {kind} {name!r} is in {has} but not in {lacks}"
            )
    for name, described in of_a.items():
        if described != of_b[name]:
            raise ValueError(
                f"models differ in architecture: {kind} {name or 'model'!r} is {described} in A"
                f" and {of_b[name]} in B"
            )
