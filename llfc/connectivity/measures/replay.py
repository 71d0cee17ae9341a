"""Running a network again from the end of one call on, with another feature there.

`Replay.record` runs the network on a batch and keeps what the calls of its modules gave.
`Replay.resume` runs its forward code again: every call that had ended before the probe's answers
with what it gave, the probe's answers with the given feature, and all that comes after computes.
So only modules that are still running at the probe, those that it is inside of, execute their own
code before it; what they compute there themselves, rather than by a module, is computed again.
No graph of the network is needed.

Kept are those calls whose caller is still running at some probe; nothing else is needed. What is
written to in place, later on, is handed out as a copy. Three kinds of call run again instead of
answering, as an answer would lose what they do: one that writes to its input, one that hands on its
input's memory to be written to, and one that gives no tensor.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from llfc.connectivity.probes import Probe
from llfc.modules.hooks import hooked
from llfc.modules.inputs import Inputs
from llfc.tasks import CLASSIFICATION, Task


@dataclass(frozen=True, eq=False)
class _Answer:
    """The recorded result of a call of a module.

    Attributes:
        module: whose call it was.
        output: the result of its own forward code, before any hook.
        version: how often the output had been written to by then.
        shared: whether the output's memory is that of an input.
        after: the number of the next call to begin; those in between are calls inside this one.
    """

    module: nn.Module
    output: Tensor
    version: int
    shared: bool
    after: int


@dataclass(frozen=True, eq=False)
class _Start:
    """The state of the recording when a probe's call ended.

    Attributes:
        number: the call's.
        answers: by number, those of the calls that had ended by then and whose caller had not.
        feature: the probe's.
        version: how often the feature had been written to by then.
    """

    number: int
    answers: Mapping[int, _Answer]
    feature: Tensor
    version: int


class Replay:
    """A network that runs from any probe on; `replaying` makes one.

    Calls of modules are numbered as they begin, over the whole network: a call that answers skips
    the numbers of those inside it, so that a module shared by several callers is no puzzle.
    """

    def __init__(self, model: nn.Module, probes: Sequence[Probe], task: Task) -> None:
        self._model, self._probes, self._task = model, probes, task
        self._wanted = {(p.module, p.call, p.handed): i for i, p in enumerate(probes)}
        # Found while recording; what is written to in place follows from the network's code.
        self._copied: set[nn.Module] = set()  # these answer with a copy
        self._rerun: set[nn.Module] = set()  # and these not at all
        self._copied_features: set[int] = set()  # probes
        self._images: Inputs = torch.empty(0)
        self._starts: dict[int, _Start] = {}
        self._begin({})

    def record(self, images: Inputs) -> tuple[Tensor, list[Tensor]]:
        """Run on a batch: the output [N, ...], and each probe's feature, not to be written to.

        Raises:
            ValueError: if the network gives no logits.
        """
        self._images = images
        while True:
            self._starts = {}
            logits = self._run({})
            if not self._find_overwritten():
                return logits, [self._starts[i].feature for i in range(len(self._probes))]

    def resume(self, index: int, feature: Tensor) -> Tensor:
        """The output on the recorded batch with `feature` at probe `index`.

        Raises:
            ValueError: if the network calls other modules before the probe than it did when it was
                recorded.
        """
        start = self._starts[index]
        copied = index in self._copied_features
        given = index, start.number, feature.clone() if copied else feature
        return self._run(start.answers, given)

    @torch.no_grad()
    def _run(
        self, answers: Mapping[int, _Answer], given: tuple[int, int, Tensor] | None = None
    ) -> Tensor:
        self._begin(answers, given)
        try:
            return self._task.run(self._model, self._images)
        finally:
            self._begin({})  # lets go of what the run held

    def _begin(
        self, answers: Mapping[int, _Answer], given: tuple[int, int, Tensor] | None = None
    ) -> None:
        self._answers, self._given = answers, given
        self._next, self._ended = 0, -1  # numbers: of the call to begin next, that ended last
        self._running: list[dict[int, _Answer]] = [{}]  # of each running call, the calls it made
        self._counts: Counter[tuple[str, bool]] = Counter()

    def call(
        self, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """What `module` does in place of its own forward code, which is `forward`."""
        number = self._next
        answer = self._answers.get(number)
        if answer is None:
            self._next += 1
            output = self._computed(number, module, forward, args, kwargs)
        elif answer.module is module:
            self._next = answer.after
            output = answer.output.clone() if module in self._copied else answer.output
        else:
            raise ValueError("the network calls other modules when it is run on the same images")
        self._ended = number
        return output

    def capture(self, name: str, module: nn.Module, inputs: Any, output: Any) -> Any:
        """The last hook of a probed module: takes its feature, or gives it another."""
        del module, inputs
        return self._at(name, output, self._ended, handed=False)

    def take(self, name: str, module: nn.Module, inputs: Any, named: Any) -> Any:
        """The same before the call of a module: of what it is handed."""
        del module
        return self._at(name, (inputs, named), self._next, handed=True)

    def _at(self, name: str, value: Any, number: int, *, handed: bool) -> Any:
        """What replaces `value`, which call `number` gives or is handed; None if nothing does."""
        if self._given is not None:
            at, wanted, feature = self._given
            probe = self._probes[at]
            here = number == wanted and (name, handed) == (probe.module, probe.handed)
            return probe.replaced(value, feature) if here else None
        self._counts[name, handed] += 1
        index = self._wanted.get((name, self._counts[name, handed], handed))
        if index is not None:
            answers = {n: answer for calls in self._running for n, answer in calls.items()}
            feature = self._probes[index].tensor(value)
            if index in self._copied_features:
                feature = feature.clone()
            self._starts[index] = _Start(number, answers, feature, feature._version)
        return None

    def _computed(
        self,
        number: int,
        module: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if self._given is not None:
            return forward(*args, **kwargs)
        inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        versions = [x._version for x in inputs]
        self._running.append({})
        output = forward(*args, **kwargs)
        self._running.pop()
        written = versions != [x._version for x in inputs]
        if isinstance(output, Tensor) and not written and module not in self._rerun:
            kept = output.clone() if module in self._copied else output
            shared = any(_memory(x) == _memory(kept) for x in inputs)
            self._running[-1][number] = _Answer(module, kept, kept._version, shared, self._next)
        return output

    def _find_overwritten(self) -> bool:
        """Note whose outputs were written to after they were kept; whether there were any."""
        found = False
        for index, start in self._starts.items():
            if start.feature._version != start.version:
                self._copied_features.add(index)
                found = True
            for answer in start.answers.values():
                if answer.output._version != answer.version:
                    (self._rerun if answer.shared else self._copied).add(answer.module)
                    found = True
        return found


@contextmanager
def replaying(
    model: nn.Module, probes: Sequence[Probe], example: Inputs, task: Task = CLASSIFICATION
) -> Iterator[Replay]:
    """Within the context, `model` is run through a `Replay`; afterwards it is as it was before.

    Args:
        model: the network, in eval mode; its output must follow from its input alone.
        probes: where it can be resumed.
        example: a small batch, on which is found what is written to in place; found on a large one,
            that would be recorded again.
        task: which says what its output is.

    Raises:
        ValueError: if the network gives no logits.
    """
    replay = Replay(model, probes, task)
    own = {module: vars(module).get("forward") for module in model.modules()}
    handles = (
        _hook(replay, model, probe) for probe in {(p.module, p.handed): p for p in probes}.values()
    )
    try:
        for module in own:
            # Found before the class's; hooks run around it as ever.
            vars(module)["forward"] = partial(replay.call, module, module.forward)
        with hooked(handles):
            replay.record(example)
            yield replay
    finally:
        for module, forward in own.items():
            vars(module).pop("forward", None)
            if forward is not None:
                vars(module)["forward"] = forward


def _hook(replay: Replay, model: nn.Module, probe: Probe) -> RemovableHandle:
    module = model.get_submodule(probe.module)
    if probe.handed:
        taken = partial(replay.take, probe.module)
        return module.register_forward_pre_hook(taken, with_kwargs=True)
    return module.register_forward_hook(partial(replay.capture, probe.module))


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
