"""What of a pair is not as its numbers' names say, with the reason, known once it is measured.

Of tensors that a network derives from its parameters: what lies on the line, and what not. The line
blends parameters and buffers. A weight that a module makes of several (weight norm,
spectral norm, a pruning mask, any parametrization) is made anew at each position, from the blended
parts; so on the way it is not the blend of A's and B's weights.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from llfc.connectivity.blend import Line
from llfc.connectivity.samples import Batches
from llfc.modules import batch_dependence
from llfc.modules.inputs import Inputs, backwards, run
from llfc.results import LeftOut, midpoint
from llfc.tasks import CLASSIFICATION, Task

DERIVED_TOLERANCE = (
    1e-4  # of a weight's length; in half precision too a mask or a norm moves it by more
)
TINY = 1e-300  # in place of a length of zero, in float64


@torch.no_grad()
def blended_in_parts(line: Line, batches: Batches) -> list[LeftOut]:
    """The derived tensors that half way are not half way between A's and B's, with how far off.

    Pruning with one mask for both networks, for example, is no such case. A way to a line between
    the derived tensors themselves is to fold them into parameters first
    (`torch.nn.utils.parametrize.remove_parametrizations`, `prune.remove`, `remove_weight_norm`).
    """
    at = midpoint(line.alpha)
    if not derived(line.a):
        return []
    example = batches.example()
    ends = [_derived_in_pass(model, example) for model in (line.a, line.b)]
    kept = _derived_in_pass(line.at(at), example)
    found = []
    for name, tensor in kept.items():
        of_a, of_b = (end.get(name) for end in ends)
        if of_a is None or of_b is None or not of_a.shape == of_b.shape == tensor.shape:
            continue
        half = torch.lerp(of_a.double(), of_b.double(), float(line.alpha[at]))
        off = float((tensor.double() - half).norm() / half.norm().clamp_min(TINY))
        if off > DERIVED_TOLERANCE:
            reason = (
                "derived from parameters, which are what the line blends: at the midpoint it is"
                f" {off:.2g} of its norm away from the blend of A's and B's"
            )
            found.append(LeftOut("definition", name, reason))
    return found


def _derived_in_pass(model: nn.Module, images: Inputs) -> dict[str, Tensor]:
    """What is `derived` once a pass was made, less what depends on its images, as features do.

    Seen on the same images in reverse order of all their numbers.
    """
    run(model, backwards(images))
    before = {name: tensor.clone() for name, tensor in derived(model).items()}
    run(model, images)
    return {
        name: tensor.clone()
        for name, tensor in derived(model).items()
        if name in before and torch.equal(tensor, before[name])
    }


def derived(model: nn.Module) -> dict[str, Tensor]:
    """Float tensors that a module has under a name, and that are no parameter or buffer of it."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        own = {key: value for key, value in vars(module).items() if isinstance(value, Tensor)}
        if parametrize.is_parametrized(module):
            own |= {key: getattr(module, key) for key in module.parametrizations}
        found |= {f"{prefix}{k}": t for k, t in own.items() if t.is_floating_point()}
    return found


def of_task(task: Task) -> list[LeftOut]:
    """What a task other than classification takes for an error and a sample, and has not."""
    if task is CLASSIFICATION:
        return []
    found = [LeftOut("definition", "error", task.meaning)]
    if task.tokens:
        whole = "a whole sequence, all its tokens" if task.whole else "a token that counts"
        found += [
            LeftOut("definition", "sample", f"of LLFC and of all that compares features: {whole}"),
            LeftOut("definition", "conditions", "of whole sequences, tokens that do not count too"),
        ]
    if not task.classes:
        reason = "no logits of classes: no identity, calibration, disagreement, error of chance"
        found.append(LeftOut("definition", "logits", reason))
    return found


def of_batches(line: Line, images: Inputs) -> list[LeftOut]:
    """An entry if the logits of an image depend on the other images in its batch."""
    gap = max(batch_dependence(model, images) for model in (line.a, line.b))
    if not gap:
        return []
    reason = (
        f"those of an image change by {gap:.2g} of their scale with the other images in its batch:"
        " all numbers hold for the given batches only, unless batch norms have running statistics"
    )
    return [LeftOut("definition", "logits", reason)]
