"""`llfc merge`: one network of two or more, aligned, blended and corrected, and how good it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import llfc
from llfc.command.checkpoints import SUFFIX, as_written, check_output, origin_of, save
from llfc.command.match import Found, permutation_of
from llfc.command.setting import Setting, asked_in, shared_options
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.evaluation import Score, evaluate, evaluate_ensemble
from llfc.matching.many import check_many
from llfc.merging import Merged, shares_of
from llfc.modules import device_of
from llfc.names import counted


@click.command("merge")
@click.argument("networks", nargs=-1, required=True, metavar="A B [C ...]")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.safetensors",
    help="Where the merged network is written.",
)
@click.option("--alpha", type=float, help="Of two: the share of B.  [default: 0.5]")
@click.option("--weights", metavar="W,W,...", help="Of each network; they add up to 1.")
@click.option(
    "--correction",
    default="reset",
    show_default=True,
    help=f"One of {', '.join(CORRECTIONS)}, or FILE.py:FUNCTION; needs --data.",
)
@shared_options()
def merge(
    networks: Sequence[str],
    output: Path,
    alpha: float | None,
    weights: str | None,
    correction: str,
    **shared: Any,
) -> None:
    """Merge checkpoints of one architecture into one, in the basis of the first.

    Two are matched as by `llfc match`; three and more cycle-consistently, all with all, by
    `weights` or `orthogonal`. With data, the merged network is evaluated beside the networks, their
    ensemble and their plain average.
    """
    check_output(output, SUFFIX, networks)
    shares = _shares(len(networks), alpha, weights)
    asked = asked_in(shared)
    matching: Any = None if asked.matching == "none" else asked.matching
    if len(networks) > 2 and matching is not None:
        check_many(matching)
    setting = asked.setting(networks)
    setting.check_task()
    if len(networks) == 2 and matching is not None:
        matching = setting.spec.identity(), permutation_of(setting, matching, 1)
    merged = _merged(setting, shares, matching, correction)
    scores = _scores(setting, merged, shares)
    first = setting.networks[0]
    provenance = {
        "made": "llfc merge",
        "model": setting.model,
        "networks": [origin_of(each) for each in setting.networks],
        "weights": list(shares),
        "matching": asked.matching,
        "correction": correction,
        "data": None if setting.data is None else setting.data.name,
        "seed": setting.seed,
        "scores": {name: [score.loss, score.error] for name, score in scores.items()},
    }
    save(output, as_written(merged.model.state_dict(), first.types), provenance)
    click.echo(_report(setting, merged, shares, scores))
    click.echo(f"wrote {output}")


def _shares(count: int, alpha: float | None, weights: str | None) -> tuple[float, ...]:
    """The weight of each network."""
    if count < 2:
        raise ValueError(f"merge needs at least two networks, got {count}")
    if alpha is not None and weights is not None:
        raise ValueError("--alpha and --weights say the same: give one of them")
    if alpha is not None and (count != 2 or not 0 < alpha < 1):
        raise ValueError(f"--alpha must lie between 0 and 1 and is for two networks, got {alpha}")
    if alpha is not None:
        return 1 - alpha, alpha
    if weights is None:
        return shares_of(count, None)
    try:
        given = [float(part) for part in weights.split(",")]
    except ValueError:
        raise ValueError(f"--weights must be numbers such as .5,.3,.2, got {weights!r}") from None
    return shares_of(count, given)


def _merged(setting: Setting, shares: Sequence[float], given: Any, correction: str) -> Merged:
    """The merged network."""
    data = setting.data
    spec = None if given is None else setting.spec  # a step of its own, before this one
    with setting.progress.step("merged"):
        return llfc.merge(
            setting.models,
            statistics=None if data is None else (data.test if data.train is None else data.train),
            inputs=setting.inputs,
            weights=shares,
            matching=given,
            correction=correction,
            task="classification" if data is None else data.task,
            spec=spec,
            seed=setting.seed,
        )


def _scores(setting: Setting, merged: Merged, shares: Sequence[float]) -> Mapping[str, Score]:
    """Test loss and error of all there is to be compared; empty without data."""
    if setting.data is None:
        return {}
    batches = setting.data.batches("test", device_of(merged.model))
    found = {}
    with setting.progress.step("evaluated"):
        for network in setting.networks:
            found[network.path] = evaluate(network.model, batches)
        found["ensemble"] = evaluate_ensemble(setting.models, batches)
        found["plain average"] = evaluate(llfc.blend(setting.models, shares), batches)
        found["merged"] = evaluate(merged.model, batches)
    return found


def _report(
    setting: Setting, merged: Merged, shares: Sequence[float], scores: Mapping[str, Score]
) -> str:
    """What was done, for people."""
    lines = []
    moved: Sequence[Found | None] = merged.permutations or [None] * len(shares)
    for network, share, permutation in zip(setting.networks, shares, moved, strict=True):
        units = 0 if permutation is None else permutation.moved()
        lines.append(f"{share:<8.4g} {network.path}, {counted(units, 'unit')} moved")
    lines.append(f"{counted(merged.corrected, 'layer')} corrected")
    lines += [f"not covered: {each.name}: {each.reason}" for each in merged.left_out]
    if scores:
        assert setting.data is not None
        width = max(map(len, scores))
        lines.append(f"{'':<{width}}  {'test loss':>10}  {'test error':>10}  ({setting.data.name})")
        lines += [
            f"{name:<{width}}  {score.loss:>10.4f}  {score.error:>10.4f}"
            for name, score in scores.items()
        ]
    return "\n".join(lines)
