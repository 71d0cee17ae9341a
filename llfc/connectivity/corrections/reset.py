"""Running statistics computed anew, and which there are."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from llfc.connectivity.blend import Corrected, Corrections, Line
from llfc.connectivity.moments import Moments
from llfc.connectivity.samples import Batches
from llfc.modules import copy_of, tensors
from llfc.modules.inputs import Inputs, batched, count_of, joined, run
from llfc.oneline import first_line
from llfc.results import LeftOut

RunningNames = tuple[str, str]  # names of the tensors that hold a layer's running mean and variance


def reset(line: Line, train: Batches | None, example: Inputs, at: Iterable[int]) -> Corrections:
    """Running statistics of every batch norm, computed anew for every network on training data.

    A batch norm is a call of PyTorch's `batch_norm` with running statistics that are tensors of the
    network, whatever module calls it. One pass over the data, in which every batch norm normalises
    by its batch's own statistics, so that those of a layer come from inputs that the layers before
    it have already normalised. Its running mean and variance become the mean and the (unbiased)
    variance over all the data, each batch weighted by its size: no momentum, no dependence on the
    order of the batches. All modules stay in eval mode, so dropout is off. They depend on what is
    in a batch as far as its statistics differ from those of all the data: batches of one class each
    give others than were trained with, and spoil the blend. A batch of a single image is left out.
    Networks without batch norm are left as they are.

    Costs one pass over the training data of each network on the line. Use it wherever there are
    batch norms: without it, networks on the line are often no better than chance.

    Passed over, and said to be, is a module with other statistics: tensors that change when the
    network runs in training mode, or are no parameters and called `running_...`, or are buffers
    that differ between A and B. They stay as they were blended.

    Raises:
        ValueError: if there is a batch norm, but no training data; or a variance is not finite in
            the type of the norm's running statistics.

    Reference:
        Jordan, Sedghi, Saukh, Entezari & Neyshabur, REPAIR, ICLR 2023, section 3.
        https://arxiv.org/abs/2211.08403
        Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, UAI
        2018, section 3.2, for the pass that recomputes them. https://arxiv.org/abs/1803.05407
    """
    norms = batch_norms(line.a, example)
    left_out = _passed_over(line, example, {name for names in norms for name in names})
    if not norms:
        return Corrections(dict.fromkeys(at, Corrected()), left_out=left_out)
    if train is None:
        raise ValueError("correction 'reset' needs train images for the batch norms, got None")
    found: dict[int, dict[RunningNames, Moments]] = {position: {} for position in at}
    for images, _ in train:
        if count_of(images) > 1:
            for position, seen in found.items():
                _run_by_batch_statistics(line.at(position), images, seen)
    if not all(found.values()):
        raise ValueError("correction 'reset' needs train batches of at least 2 images")
    for position, seen in found.items():
        _check_held(seen, float(line.alpha[position]))
    corrected = {p: Corrected(buffers=_statistics(seen)) for p, seen in found.items()}
    return Corrections(corrected, layers=len(norms), left_out=left_out)


def batch_norms(model: nn.Module, example: Inputs) -> tuple[RunningNames, ...]:
    """The running statistics `model` normalises by, a pair of names per batch norm, in order."""
    seen: dict[RunningNames, Moments] = {}
    _run_by_batch_statistics(model, _at_least_two(example), seen)
    return tuple(seen)


@torch.no_grad()
def _run_by_batch_statistics(
    model: nn.Module, images: Inputs, found: dict[RunningNames, Moments]
) -> None:
    """Run `model` on a batch whose statistics its batch norms use; add these to those `found`."""
    with _ByBatchStatistics(model, found):
        run(model, images)


# The arguments of the functions that normalise by running statistics.
_MODULES = "input running_mean running_var weight bias training momentum eps".split()
_BUILTIN = "input weight bias running_mean running_var training momentum eps cudnn_enabled".split()
_BATCH_NORMS = {F.batch_norm: _MODULES, torch.batch_norm: _BUILTIN}


class _ByBatchStatistics(TorchFunctionMode):
    """Batch norms whose running statistics are the network's own use those of the batch instead."""

    def __init__(self, model: nn.Module, found: dict[RunningNames, Moments]) -> None:
        super().__init__()
        self._found = found
        self._names = {
            (each.data_ptr(), each.numel()): name for name, each in tensors(model).items()
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        arguments = _BATCH_NORMS.get(func)
        if arguments is None:
            return func(*args, **kwargs)
        given = dict(zip(arguments, args, strict=False)) | kwargs
        names = self._name_of(given.get("running_mean")), self._name_of(given.get("running_var"))
        if given.get("training") or not all(names):
            return func(*args, **kwargs)
        return self._normalised(given, names)

    def _name_of(self, tensor: Tensor | None) -> str:
        if tensor is None:
            return ""
        return self._names.get((tensor.data_ptr(), tensor.numel()), "")

    def _normalised(self, given: Mapping[str, Any], names: RunningNames) -> Tensor:
        """By the batch's statistics, which are added to those found.

        By sums of our own: on a CPU, batch norm sums channels-last inputs one by one, which leaves
        two digits less.
        """
        x, others = given["input"], [d for d in range(given["input"].ndim) if d != 1]
        whole = x.to(given["running_mean"].dtype)
        mean = whole.mean(others, keepdim=True)
        var, mean = (whole - mean).square_().mean(others), mean.flatten()
        weights = given.get("weight"), given.get("bias")
        output = F.batch_norm(x, mean, var, *weights, False, 0.0, given.get("eps", 1e-5))
        count = x.numel() // mean.numel()
        batch = Moments(count, mean.double(), var.double() * count)
        self._found[names] = self._found[names].merged(batch) if names in self._found else batch
        return output


def _check_held(found: Mapping[RunningNames, Moments], alpha: float) -> None:
    """Refuse statistics that the network's tensors cannot hold."""
    for (name, _), seen in found.items():
        if not (seen.mean.isfinite().all() and seen.squares.isfinite().all()):
            module = name.rpartition(".")[0] or "model"
            raise ValueError(
                f"correction 'reset': the variance of what {module!r} normalises is not finite at"
                f" alpha {alpha:g}, as its features are not, or their squares are beyond the"
                " statistics' type: train with smaller weights, or choose correction 'none'"
            )


def _statistics(found: Mapping[RunningNames, Moments]) -> dict[str, Tensor]:
    values = {}
    for (mean, var), seen in found.items():
        values[mean], values[var] = seen.mean, seen.squares / (seen.count - 1)
    return values


def _passed_over(line: Line, example: Inputs, recomputed: set[str]) -> tuple[LeftOut, ...]:
    """The modules with statistics, or what may be some, that are not among those `recomputed`."""
    of_a, of_b = (
        {name: b for name, b in model.named_buffers() if b.is_floating_point() or b.is_complex()}
        for model in (line.a, line.b)
    )
    if of_a.keys() <= recomputed:
        return ()
    named = {name for name in of_a if name.rpartition(".")[2].startswith("running_")}
    differ = {name for name, buffer in of_a.items() if not torch.equal(buffer, of_b[name])}
    updated, failed = _updated_in_training(line.a, example)
    modules: dict[str, list[str]] = {}
    for name in tensors(line.a):
        if name in (named | differ | updated) - recomputed:
            module, _, own = name.rpartition(".")
            modules.setdefault(module or "model", []).append(own)
    return failed + tuple(
        LeftOut("correction", module, f"{', '.join(own)}: left as blended, read by no batch_norm")
        for module, own in modules.items()
    )


def _updated_in_training(model: nn.Module, example: Inputs) -> tuple[set[str], tuple[LeftOut, ...]]:
    """The tensors that a forward pass in training mode changes; and that there can be none."""
    copied = copy_of(model).train()
    before = {name: each.clone() for name, each in tensors(copied).items()}
    devices = list({x.device for x in batched(example) if x.is_cuda})
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            run(copied, _at_least_two(example))
    except Exception as error:  # whatever a model's own code raises
        said = first_line(error)
        reason = f"cannot run in training mode, which would show what it updates: {said}"
        return set(), (LeftOut("correction", "model", reason),)
    after = tensors(copied)
    changed = {name for name, each in before.items() if not torch.equal(each, after[name])}
    return {name for name in changed if after[name].is_floating_point()}, ()


def _at_least_two(example: Inputs) -> Inputs:
    """A single image twice, as it has no variance."""
    found: Inputs = example if count_of(example) > 1 else joined([example, example])
    return found
