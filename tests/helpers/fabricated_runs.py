"""Trials that were never run, with numbers such as real ones have, for what reads results.

The wider, the lower the barrier under matching; the LLFC error follows the barrier, with noise.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.frames import UNFINISHED, Runs, frame_of
from analysis.runs.params import params_of
from llfc.results import BARRIERS, Connection, LayerProfile
from llfc.specs import Pair, Recipe, Trial, fingerprint

MLP_LAYERS = ("hidden.0", "hidden.0.relu", "hidden.1", "hidden.1.relu", "hidden.2", "head")
MATCHINGS = ("none", "weights", "activations")
# How much of the barrier of networks trained independently is left at width 1, and how it falls
# with each doubling.
LEFT = {"none": (1.0, 0.97), "weights": (0.35, 0.55), "activations": (0.45, 0.6)}


def recipe(**changes: Any) -> Recipe:
    fields = {"epochs": 20, "batch_size": 250, "optimizer": "adam", "lr": 1e-3}
    return Recipe(**fields | changes)


def trial(**changes: Any) -> Trial:
    """A trial whose fields are `changes` and otherwise those of a small MLP."""
    measuring = {field.name for field in dataclasses.fields(Trial)} & changes.keys()
    measured = {name: changes.pop(name) for name in measuring}
    fields = {
        "architecture": "mlp",
        "width": 1.0,
        "norm": "none",
        "dataset": "fashion-mnist-small",
        "limit_train": None,
        "seed": 0,
        "spawn_epoch": None,
        "recipe": recipe(),
    }
    return Trial(pair=Pair(**fields | changes), **measured)


def grid(**axes: Sequence[Any]) -> list[Trial]:
    """A trial a point of the grid."""
    return [
        trial(**dict(zip(axes, point, strict=True))) for point in itertools.product(*axes.values())
    ]


def width_grid() -> list[Trial]:
    """Three matchings of three seeds at five widths."""
    return grid(width=[0.125, 0.25, 0.5, 1.0, 2.0], seed=[0, 1, 2], matching=MATCHINGS)


def height(of: Trial, rng: np.random.Generator) -> float:
    """The test loss barrier of a trial."""
    start, ratio = LEFT.get(of.matching, (0.5, 0.7))
    share = start * ratio ** np.log2(of.pair.width)
    if of.pair.spawn_epoch is not None:
        share *= 0.8 ** (4 * of.pair.spawn_epoch)
    return float(1.4 * share * np.exp(0.12 * rng.standard_normal()))


def connection(of: Trial, layers: Sequence[str] = MLP_LAYERS) -> Connection:
    """What `of` might have found."""
    rng = np.random.default_rng(int(fingerprint(of), 16))
    barrier = height(of, rng)
    alpha = np.linspace(0, 1, of.alphas)
    bump = 4 * alpha * (1 - alpha)
    ends = {"train": (0.21, 0.24), "test": (0.36, 0.39)}
    curve = {"alpha": alpha}
    for split, (a, b) in ends.items():
        loss = (1 - alpha) * a + alpha * b + barrier * bump**2
        curve |= {f"{split}_loss": loss, f"{split}_error": np.minimum(0.34 * loss, 0.9)}
    profiles = tuple(_profile(name, i, barrier, bump, rng) for i, name in enumerate(layers))
    middle = of.alphas // 2
    errors = np.array([profile.cos_error[middle] for profile in profiles])
    baselines = np.array([profile.baseline for profile in profiles])
    summaries = {
        "test_loss_a": ends["test"][0],
        "test_loss_b": ends["test"][1],
        "test_error_a": float(curve["test_error"][0]),
        "test_error_chance": 0.9,
        "test_error_b": float(curve["test_error"][-1]),
        "llfc_error_mean": float(errors.mean()),
        "llfc_error_max": float(errors.max()),
        "llfc_error_last": float(errors[-1]),
        "llfc_baseline_mean": float(baselines.mean()),
        "llfc_ratio_mean": float((errors / baselines).mean()),
        "lemma1_slack": 0.1,
        "commutativity_dist_h_mean": float(0.8 * baselines.mean() * rng.uniform(0.8, 1.2)),
        "weight_cos": float(np.exp(-barrier) * rng.uniform(0.5, 0.9)),
        "commutativity_dist_com_mean": float(0.3 * errors.mean() * rng.uniform(0.8, 1.2)),
        "additivity_dist_mean": float(0.5 * errors.mean() * rng.uniform(0.8, 1.2)),
        "weight_distance": float(20 + 5 * barrier + rng.standard_normal()),
    }
    return Connection(
        curve=curve,
        barriers=_barriers(curve),
        layers=profiles,
        summaries=summaries,
        matching={"objective": 12.5, "moved": 40.0},
    )


def _profile(
    name: str, index: int, barrier: float, bump: np.ndarray, rng: np.random.Generator
) -> LayerProfile:
    error = 0.22 * (1 - np.exp(-barrier)) * (index + 0.3) / 5 * np.exp(0.1 * rng.standard_normal())
    return LayerProfile(
        name=name,
        cos_error=error * bump,
        cos_error_std=0.4 * error * bump,
        baseline=0.35 + 0.02 * index + 0.05 * barrier,
        baseline_std=0.1,
        coef=1 + 0.1 * error * bump,
        residual=np.sqrt(2 * error) * bump,
        cos_a=1 - 0.3 * bump,
        cos_b=1 - 0.3 * bump,
    )


def _barriers(curve: Mapping[str, np.ndarray]) -> dict[str, float]:
    alpha, found = curve["alpha"], {}
    for name in BARRIERS:
        column, _, kind = name.rpartition("_")
        y = curve[column]
        chord = (1 - alpha) * y[0] + alpha * y[-1]
        found[name] = float((y - (chord if kind == "chord" else (y[0] + y[-1]) / 2)).max())
    return found


def runs_of(trials: Iterable[Trial], sweep: str = "width", failed: Iterable[Trial] = ()) -> Runs:
    """`trials` as if they had been read from a store."""
    found = {f"run-{fingerprint(one)}": (one, connection(one)) for one in trials}
    rows = [
        {
            "run_id": run_id,
            "fingerprint": fingerprint(one),
            "sweep": sweep,
            "source": "memory",
            "url": "",
            "start": pd.Timestamp("2026-11-24T08:00:00", tz="UTC"),
            "commit": "0123456789abcdef",
            "device": "cpu, 2 cores",
            "versions": '{"python": "3.11.7", "torch": "2.13.0"}',
            "command": "python sweeps/width.py",
            **params_of(one),
            **what.scalars(),
        }
        for run_id, (one, what) in found.items()
    ]
    return Runs(
        sweep=sweep,
        source="memory",
        trials=frame_of(rows),
        unfinished=pd.DataFrame([_failed(one, sweep) for one in failed], columns=list(UNFINISHED)),
        read=lambda run_ids: {run_id: found[run_id][1] for run_id in run_ids},
    )


def _failed(of: Trial, sweep: str) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint(of),
        "status": "FAILED",
        "reason": "loss is nan at alpha 0.5",
        "start": pd.Timestamp("2026-11-24T08:00:00", tz="UTC"),
        "run_id": f"run-{fingerprint(of)}",
        "attempts": 1,
        "sweep": sweep,
        "source": "memory",
        **params_of(of),
    }
