"""`llfc spec`: which units of a network can be permuted, and what is held and why."""

from pathlib import Path

import click

from llfc.command import inputs
from llfc.command.checkpoints import check_output
from llfc.command.inputs import Drawn, drawn
from llfc.command.networks import blueprint_of
from llfc.progress import Progress
from llfc.symmetry import permutation_spec

MOST = 3  # axes named in a line


@click.command("spec")
@click.argument("model")
@click.option("--input", multiple=True, metavar="SHAPE", help=inputs.HELP)
@click.option("--save", type=click.Path(path_type=Path), help="Write the symmetry as JSON.")
@click.option("--all", "every", is_flag=True, help="Name every axis that a group moves.")
@click.option("--no-strict", is_flag=True, help="Hold what no rule covers, instead of refusing.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing while working.")
def spec(
    model: str, input: tuple[str, ...], save: Path | None, every: bool, no_strict: bool, quiet: bool
) -> None:
    """Derive the permutation symmetry of MODEL from its graph, and check it.

    MODEL is FILE.py:FUNCTION, MODULE:FUNCTION, torchvision:NAME, timm:NAME, or a Hugging Face
    folder; arguments of the function follow as #NAME=VALUE,...

    Prints the groups of units, what each moves, and its kind: by which linear maps, beyond
    permutations, its units can be mixed. Lines that begin with `frozen` say what is held, and why.
    """
    progress, wanted = Progress(quiet), [Drawn.parsed(text) for text in input]
    if save is not None:
        check_output(save, ".json")
    blueprint = blueprint_of(model)
    example = drawn(wanted or blueprint.inputs, 0)
    network = blueprint.build()
    with progress.step("derived and checked the symmetry"):
        found = permutation_spec(network, *example, strict=not no_strict)
    with progress.step("found the kinds of the groups"):
        shown = found.table(None if every else MOST, kinds=True)
    click.echo(shown)
    if save is not None:
        found.save(save)
        click.echo(f"saved: {save}")
