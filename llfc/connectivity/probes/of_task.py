"""Probes as a task has them: read token by token, and compared with its output."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from llfc.connectivity.probes.choice import Selection
from llfc.connectivity.probes.features import token_dims
from llfc.modules.inputs import Inputs, run
from llfc.results import LeftOut
from llfc.tasks import Task


def for_task(
    selected: Selection,
    model: nn.Module,
    example: Inputs,
    targets: Tensor,
    task: Task,
    names: Sequence[str] | None = None,
) -> Selection:
    """A selection whose probes are read as samples of the task are.

    Where tokens are samples, token by token, a row each. The probe of the whole network is that of
    the logits only if it reads what the task takes for its output.

    Args:
        selected: what `confirmed` gives.
        model: one of the networks.
        example: a few inputs.
        targets: of a batch, [N, ...]; for tokens, [N, T].
        task: what the networks are compared at.
        names: as they were given to `select_probes`.

    Raises:
        ValueError: if a probe that is named has no dimension for the tokens, or none has.
    """
    if task.tokens and not task.whole:
        selected = _by_token(selected, model, example, targets.shape[1], names)
    if _reads_output(model, example, task):
        return selected
    return replace(selected, probes=tuple(replace(p, logits=False) for p in selected.probes))


def _by_token(
    selected: Selection,
    model: nn.Module,
    example: Inputs,
    tokens: int,
    names: Sequence[str] | None,
) -> Selection:
    dims = token_dims(model, selected.probes, example, tokens)
    probes = tuple(
        replace(probe, token=dims[probe.name]) for probe in selected.probes if probe.name in dims
    )
    reason = (
        f"its output has no dimension for the {tokens} tokens, which are samples: a task whose name"
        " ends in -sequences takes whole sequences for samples"
    )
    unread = [probe.name for probe in selected.probes if probe.name not in dims]
    if unread and (names is not None or not probes):
        raise ValueError(f"probe {unread[0]!r} cannot be read: {reason}")
    left_out = (LeftOut("probe", name, reason) for name in unread)
    return Selection(probes, (*selected.left_out, *left_out))


@torch.no_grad()
def _reads_output(model: nn.Module, example: Inputs, task: Task) -> bool:
    """Whether a probe of the whole network reads what the task takes for its output."""
    returned = run(model, example)
    leaves = [leaf for leaf in pytree.tree_leaves(returned) if isinstance(leaf, Tensor)]
    return bool(leaves) and leaves[0] is task.found_in(returned)
