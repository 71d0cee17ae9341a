"""Learned matching: descent of the loss between two networks over all of their symmetry."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Generator, Tensor, nn

from llfc.matching.learning.between import Between, parts_of
from llfc.matching.learning.maps import acting_of, stacks_of
from llfc.matching.mixing.orthogonal import match_orthogonal
from llfc.matching.mixing.orthogonal_activations import match_orthogonal_activations
from llfc.matching.taps import batch_definitions
from llfc.matching.weights import match_weights
from llfc.modules.inputs import Inputs
from llfc.seeds import stream
from llfc.symmetry.spec import PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.symmetry.transform.acting import moved_tensor
from llfc.tasks import Task, as_task

STEPS = 800
PASSES = 25  # over the data, at most, as what is learned from few samples is soon theirs alone
RATE = 0.015  # of Adam, at most; a cosine brings it to zero. At .06 ViTs never got below a start
WARMUP = 0.05  # of all steps
MIDDLE = 0.4, 0.6  # where on the line a step is taken
PARTS = 256  # of the data; fewer steps than that see some of them, more see them again
FEATURES = 64  # of these, for a start from features
HELD = 8  # of these, but at most a fifth, no step sees: by them the best transform is chosen
EVERY = 25  # steps between two looks at them
TIE = 1e-5  # relative; a smaller decrease of their loss does not count
NOTHING = 1e-6  # a loss that is rounding


def match_learned(
    a: nn.Module,
    b: nn.Module,
    spec: PermutationSpec,
    batches: Iterable[Inputs] | None,
    *,
    seed: int,
    task: str | Task = "classification",
    steps: int | None = None,
    seconds: float = math.inf,
) -> Transform:
    r"""The transform of b at which networks between a and b agree best with the two ends.

    .. math:: \min_T E_{x, \lambda} \, \mathrm{KL}(\bar p(x) \,\|\, f_{(1-\lambda) \theta_A +
        \lambda T(\theta_B)}(x)), \quad \lambda \sim U(.4, .6)

    where :math:`\bar p` is the mean of the two ends' class probabilities: no labels are needed; for
    other outputs, the squared distance to the mean of theirs. Rotations, invertible maps and scales
    are learned, by Adam through the exponential map, from the best of the identity, `weights`,
    `orthogonal` and `orthogonal-activations`; permutations and signs stay as they are there. That a
    is not moved costs nothing: what mixes both ends alike moves the whole line. Invertible maps
    beside the start's are kept to a condition of 1e4, as rounding grows with it.

    A part of the data is held out where there are 80 samples. Of all that is met on the way, the
    start included, the transform is returned whose midpoint has the lowest loss on it: `objective`
    is minus that loss, `objective_before` that at the identity, `iterations` the number of steps.

    Costs the matchings that it may start from, and a gradient step of 16 samples for each of
    `steps`; memory for four networks and 128 MB. Measured on five pairs each of independent
    networks in canonical form, barriers: gpt of width 1 on king-james 1.65 nats unmatched, .78
    `orthogonal`, .24 (.22 to .25) learned, in 42 s on one core; vit on the embedded Fashion-MNIST
    1.37, .62 and .20 (-.04 to .43), in 76 s. Permutations by a straight-through estimate beside the
    rotations made both worse. With the labels' loss instead, on one pair, .39 after 200 steps of 32
    from the identity, where without them it was .36. It fits the middle of the line: judge it on
    other data.

    Args:
        a: the network that stays as it is.
        b: the network whose units are mixed; neither model is modified.
        spec: the symmetry of both.
        batches: inputs as the models take them; at most 4096 samples of them are used.
        seed: of the order of the data and of positions on the line.
        task: a name in `llfc.tasks.TASKS`, or a task of one's own: what of the output counts, and
            whether that is classes.
        steps: a budget; a step is a pass and its gradient over 16 samples. None for 800, but no
            more than 25 passes over the data.
        seconds: another; what it cuts short depends on the machine.

    Raises:
        ValueError: if there are no batches, a budget is not positive, the models differ in
            architecture, or a parameter is not finite.

    Reference:
        Theus, Cabodi, Anagnostidis, Orvieto, Singh & Boeva, Generalized Linear Mode
        Connectivity for Transformers, NeurIPS 2025. https://arxiv.org/abs/2506.22712
        Kingma & Ba, Adam, ICLR 2015. https://arxiv.org/abs/1412.6980
    """
    for name, value in (("steps", steps), ("seconds", seconds)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} of learned matching must be positive, got {value}")
    generator = stream(seed, "matching/learned")
    given, definitions = batch_definitions(a, b, () if batches is None else batches)
    parts = parts_of(given, PARTS, generator)
    if not parts:
        raise ValueError("learned matching needs batches of inputs, got none")
    between = Between(a, b, as_task(task), parts)
    descents = (Descent(between, a, b, start) for start in starts(a, b, spec, parts, seed))
    descent = next(descents)
    before = descent.lowest
    for other in descents:
        if descent.lowest > NOTHING and is_lower(other.lowest, descent.lowest):
            descent = other
    taken = descent.run(steps, seconds, generator)
    record = {
        "objective_before": -before,
        "objective": -descent.lowest,
        "iterations": taken,
    }
    return Transform(spec, descent.best(), record, definitions=definitions)


def starts(
    a: nn.Module, b: nn.Module, spec: PermutationSpec, data: Sequence[Inputs], seed: int
) -> Iterator[Transform]:
    """Where a descent may start; the identity first."""
    yield Transform.identity(spec)
    yield Transform.of_permutation(spec, match_weights(a, b, spec, None, seed=seed))
    if set(spec.kinds.values()) - {"permutation"}:
        yield match_orthogonal(a, b, spec, None, seed=seed)
        yield match_orthogonal_activations(a, b, spec, data[:FEATURES], seed=seed)


def is_lower(loss: float, than: float) -> bool:
    """Whether one loss is lower than another by more than rounding."""
    return loss < than - TIE * abs(than)


class Descent:
    """b on its way from one start, and the lowest loss so far of the network half-way to it.

    Attributes:
        lowest: that loss, on what is held out, or on all where nothing is.
    """

    def __init__(self, between: Between, a: nn.Module, b: nn.Module, start: Transform) -> None:
        self.between, self.start = between, start
        self.a = {name: tensor.detach() for name, tensor in a.named_parameters()}
        moved = start.apply(b.state_dict())
        self.b = {name: moved[name] for name in self.a}
        self.stacks = stacks_of(start.spec, next(iter(self.a.values())))
        count = len(between.parts)
        held = min(HELD, count // 5)
        self.held, self.seen = range(held or count), range(held, count)
        self.lowest = self._held_loss()
        self.maps = self._maps()

    def run(self, steps: int | None, seconds: float, generator: Generator) -> int:
        """Descend, and say how many steps were taken."""
        steps = min(STEPS, PASSES * len(self.seen)) if steps is None else steps
        if not self.stacks or self.lowest <= NOTHING:
            return 0
        adam = torch.optim.Adam([stack.step for stack in self.stacks], eps=1e-12)
        began, share = time.monotonic(), 0.0
        for step in range(steps):
            share = max(step / steps, (time.monotonic() - began) / seconds)
            if share >= 1:
                return step
            for group in adam.param_groups:
                group["lr"] = rate_at(share)
            low, high = MIDDLE
            position = low + (high - low) * float(torch.rand((), generator=generator))
            with torch.enable_grad():
                loss = self.between.loss(self.weights(position), self.seen[step % len(self.seen)])
                loss.backward()  # type: ignore[no-untyped-call]
            for stack in self.stacks:
                stack.make_tangent()
            adam.step()
            adam.zero_grad()
            for stack in self.stacks:
                stack.settle()
            if (step + 1) % EVERY == 0 or step + 1 == steps:
                self._look()
        return steps

    def weights(self, position: float) -> dict[str, Tensor]:
        """The parameters at a position of the line, 0 at a."""
        spec = self.start.spec
        maps, powers = acting_of(spec, self.stacks), spec.kinds.powers
        return {
            name: torch.lerp(a, moved_tensor(maps, spec, powers, name, self.b[name]), position)
            for name, a in self.a.items()
        }

    def best(self) -> Transform:
        """The transform of the lowest loss."""
        found = zip(self.stacks, self.maps, strict=True)
        elements = {g: e for stack, maps in found for g, e in stack.elements(maps).items()}
        return Transform(self.start.spec, elements).after(self.start)

    def _maps(self) -> Sequence[Tensor]:
        return [stack.maps.clone() for stack in self.stacks]

    @torch.no_grad()
    def _held_loss(self) -> float:
        return self.between.mean_loss(self.weights(0.5), self.held)

    def _look(self) -> None:
        """See whether this is the best so far; what is all but singular is none."""
        for stack in self.stacks:
            stack.rein_in()
        loss = self._held_loss()
        if is_lower(loss, self.lowest):
            self.lowest, self.maps = loss, self._maps()


def rate_at(share: float) -> float:
    """The learning rate when a share of the budget is spent: a warm-up, then a cosine to zero."""
    return RATE * min(1.0, (share + 1e-3) / WARMUP) * (1 + math.cos(math.pi * share)) / 2
