"""What all commands begin with: networks read, data read, inputs made, a symmetry derived."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from torch import nn

from llfc.command import inputs as random_inputs
from llfc.command import samples
from llfc.command.checkpoints import Loaded, load
from llfc.command.inputs import Drawn, drawn
from llfc.command.networks import FORMS, blueprint_of, is_hugging_face
from llfc.command.samples import Data, read_data
from llfc.devices import keep_freed_memory
from llfc.matching.matchers import MATCHERS, canonical
from llfc.modules import device_of
from llfc.modules.inputs import Inputs, positional, taken
from llfc.progress import Progress
from llfc.symmetry import permutation_spec
from llfc.symmetry.spec import PermutationSpec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Setting:
    """Networks of one architecture, and what they are seen on.

    Attributes:
        model: what was named.
        networks: read from files, on one device, in the order given.
        data: if any was named.
        inputs: a batch: of the data, or random.
        saved: the file of a symmetry, if one was named.
        seed: of all random choices.
        progress: what is said meanwhile.
    """

    model: str
    networks: Sequence[Loaded]
    data: Data | None
    inputs: Inputs
    saved: Path | None
    seed: int
    progress: Progress

    @property
    def models(self) -> list[nn.Module]:
        """The networks' modules."""
        return [network.model for network in self.networks]

    def check_task(self) -> None:
        """See that the networks are such as the task is for, before any work.

        Raises:
            ValueError: if their outputs or the targets are not.
        """
        if self.data is None:
            return
        first = self.models[0]
        images, targets = next(iter(self.data.batches("test", device_of(first))))
        try:
            with torch.no_grad():
                task = self.data.task
                task.check(task.run(first, images), targets, "test")
        except ValueError as error:
            raise ValueError(f"{error}; or say --task next-token, regression, ...") from None

    @cached_property
    def spec(self) -> PermutationSpec:
        """The symmetry, derived from the first network or read from a file."""
        if self.saved is not None:
            return PermutationSpec.load(self.saved)
        model = self.models[0]
        with self.progress.step("derived the symmetry"):
            return permutation_spec(model, *positional(model, taken(self.inputs, slice(2))))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that commands share; see `shared_options`.

    `matching` is as `llfc.matching.matchers.canonical` spells it.
    """

    model: str | None
    input: tuple[str, ...]
    spec: Path | None
    matching: str
    data: str | None
    task: str | None
    limit_train: int | None
    limit_test: int | None
    seed: int
    device: str
    quiet: bool

    def setting(self, paths: Sequence[str]) -> Setting:
        """Read the networks at `paths` and all that goes with them.

        Raises:
            ValueError: in one line, whatever is wrong with any of it.
        """
        keep_freed_memory()  # the products of large layers take a tenth less
        progress, name = Progress(self.quiet), self._model(paths)
        wanted = [Drawn.parsed(text) for text in self.input]
        with progress.step("read the networks"):
            blueprint = blueprint_of(name)
            networks = [load(path, blueprint) for path in paths]
            for network in networks:
                _on(network.model, self.device)
        for network in networks:
            if network.stripped:
                progress.say(f"{network.path}: took {' '.join(network.stripped)} off all names")
        data = None
        if self.data is not None:
            with progress.step("read the data"):
                limits = self.limit_train, self.limit_test
                data = read_data(self.data, self.task, limits, progress.report)
        if data is None:
            made = drawn(wanted or blueprint.inputs, self.seed)
            inputs: Inputs = tuple(x.to(self.device) for x in made)
        else:
            inputs = data.inputs(torch.device(self.device))
        return Setting(name, networks, data, inputs, self.spec, self.seed, progress)

    def _model(self, paths: Sequence[str]) -> str:
        if self.model is not None:
            return self.model
        if is_hugging_face(Path(paths[0])):
            return paths[0]
        raise ValueError(f"--model is needed, as a checkpoint holds no code: {FORMS}")


def asked_in(options: dict[str, Any]) -> Asked:
    """The options that commands share, of all options.

    Raises:
        ValueError: if there is no such matching.
    """
    given = {field.name: options[field.name] for field in fields(Asked)}
    return Asked(**given | {"matching": canonical(given["matching"])})


def _on(model: nn.Module, device: str) -> None:
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r}: {str(error).partition(chr(10))[0]}") from None


def shared_options(needs_data: bool = False) -> Callable[[F], F]:
    """The options of `Asked`, of which data are required where `needs_data`."""
    options = [
        click.option("--model", "-m", metavar="MODEL", help=f"The architecture: {FORMS}."),
        click.option("--input", multiple=True, metavar="SHAPE", help=random_inputs.HELP),
        click.option(
            "--spec", type=click.Path(path_type=Path), help="A symmetry that `llfc spec` saved."
        ),
        click.option(
            "--matching",
            default="weights",
            show_default=True,
            help=f"One of {', '.join(MATCHERS)}, or FILE.py:FUNCTION; options may follow, as in"
            " weights:effort=4.",
        ),
        click.option("--data", required=needs_data, metavar="DATA", help=samples.HELP),
        click.option(
            "--task",
            metavar="TASK",
            help="What the networks are compared at: classification, next-token,"
            " token-classification, regression, or FILE.py:FUNCTION. By default what the data set"
            " is for.",
        ),
        click.option("--limit-train", type=click.IntRange(1), help="Training samples used."),
        click.option("--limit-test", type=click.IntRange(1), help="Test samples used."),
        click.option("--seed", type=int, default=0, show_default=True, help="Of random choices."),
        click.option("--device", default="cpu", show_default=True, help="Where to compute."),
        click.option("--quiet", "-q", is_flag=True, help="Say nothing while working."),
    ]

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
