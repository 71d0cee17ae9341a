"""`llfc match`: B with its units permuted to align with A, written once that is proved."""

from pathlib import Path
from typing import Any

import click

import llfc
from llfc.basis import permuted
from llfc.command.checkpoints import SUFFIX, as_written, check_output, origin_of, save
from llfc.command.setting import Setting, asked_in, shared_options
from llfc.matching import Permutation
from llfc.matching.matchers import known_to
from llfc.matching.overlap.transformed import UNBOUNDED
from llfc.modules import check_same_outputs, copy_of, device_of
from llfc.names import counted, readable
from llfc.symmetry.transform import Transform

Found = Permutation | Transform


@click.command("match")
@click.argument("a")
@click.argument("b")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Where B, permuted, is written.",
)
@click.option(
    "--save-permutation",
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Write the permutation too; llfc.Permutation.load reads it.",
)
@shared_options()
def match(
    a: str,
    b: str,
    output: Path,
    save_permutation: Path | None,
    **shared: Any,
) -> None:
    """Permute the units of checkpoint B to align with A's, without changing its function.

    The file is written only if B, permuted, gives B's outputs, on data if they are given, otherwise
    on random inputs. Weights keep their names and types.
    """
    for path in filter(None, (output, save_permutation)):
        check_output(path, SUFFIX, (a, b))
    if save_permutation is not None and save_permutation.absolute() == output.absolute():
        raise ValueError(f"{output} cannot hold the network and the permutation: name two files")
    asked = asked_in(shared)
    setting = asked.setting([a, b])
    first, second = setting.models
    copied = copy_of(second)  # if nothing moves, what is proved is B itself
    found = permutation_of(setting, asked.matching, 1)
    with setting.progress.step("proved that B's function is kept"):
        moved = permuted(first, second, setting.spec, found, setting.inputs)
        of_b = setting.networks[1]
        state = as_written(moved.state_dict(), of_b.types)
        moved.load_state_dict({**moved.state_dict(), **state})
        mixing = found.apply if isinstance(found, Transform) else None
        gap = check_same_outputs(moved, copied, setting.inputs, mixing)
    provenance = {
        "made": "llfc match",
        "model": setting.model,
        "a": origin_of(setting.networks[0]),
        "b": origin_of(of_b),
        "matching": asked.matching,
        "seed": setting.seed,
        "record": dict(found.record),
        "gap": gap,
    }
    save(output, state, provenance)
    if save_permutation is not None:
        found.save(save_permutation)
    on = "random inputs" if setting.data is None else setting.data.name
    click.echo(report(found, sum(setting.spec.groups.values()), gap, on))
    click.echo("\n".join(f"wrote {path}" for path in (output, save_permutation) if path))


def permutation_of(setting: Setting, matching: str, number: int, first: int = 0) -> Found:
    """What brings network `number` closest to network `first`."""
    a, b = setting.models[first], setting.models[number]
    batches, known = None, {}
    if setting.data is not None:
        batches = (inputs for inputs, _ in setting.data.batches("train", device_of(a)))
        known = known_to(matching, setting.data.task)
    spec = setting.spec  # a step of its own, before this one
    with setting.progress.step(f"matched by {readable(matching)}"):
        return llfc.match(matching, a, b, spec, batches, setting.seed, **known)


def report(found: Found, units: int, gap: float, on: str) -> str:
    """What was found, for people."""
    record = found.record
    lines = {
        "objective": f"{record['objective_before']:.6g} before, {record['objective']:.6g} after",
        "certificate": f"{record['certificate']:.4f} of a bound that {_bound_of(found)}",
        "moved": f"{found.moved()} of {counted(units, 'unit')}",
        "function": f"f(π(B)) = f(B) up to {gap:.1e} of the outputs' scale, on {on}",
        "time": f"{record['seconds']:.1f} s of matching",
    }
    said = [f"{name:<12} {text}" for name, text in lines.items()]
    said += [f"{'left out':<12} {group}: {why}" for group, why in found.left_out.items()]
    return "\n".join(said)


def _bound_of(found: Found) -> str:
    """What is true of the bound in the record (`llfc.matching.record`)."""
    if isinstance(found, Permutation):
        return "no permutation exceeds"
    bounded = not UNBOUNDED & set(found.spec.kinds.values())
    return "no such map exceeds" if bounded else "is reached only where π(B) = A"
