"""Sweeps that were never run: over each axis, of several grids, of one trial, of none."""

from tests.helpers.fabricated_runs import grid, recipe, runs_of, trial, width_grid

SWEEPS = {
    "width": width_grid(),
    "spawn_epoch": grid(spawn_epoch=[0, 4, 16, None], seed=[0, 1, 2], matching=["none", "weights"]),
    "architecture": grid(
        architecture=["mlp", "vgg11"], spawn_epoch=[2, None], seed=[0, 1], matching=["none"]
    ),
    "matching": grid(
        architecture=["mlp", "resnet20"],
        seed=[0, 1, 2],
        matching=["none", "weights"],
        correction=["none", "reset"],
    ),
    # Grids that were run apart: a series that some panels lack.
    "grids": [
        *grid(architecture=["mlp", "vgg11"], spawn_epoch=[2, None], seed=[0, 1, 2]),
        *grid(architecture=["mlp", "vgg11"], seed=[0, 1, 2], matching=["weights"]),
    ],
    "one trial": [trial()],
    "one seed": grid(width=[0.5, 1.0], matching=["none", "weights"]),
    "one width": grid(seed=[0, 1, 2], matching=["none", "weights"]),
    "one matching": grid(width=[0.5, 1.0], seed=[0, 1, 2]),
    "recipes": grid(recipe=[recipe(), recipe(lr=0.1)], seed=[0, 1, 2]),
    "none finished": [],
}


def sweep(name):
    """The runs of one of SWEEPS."""
    known = name in ("width", "spawn_epoch", "architecture", "matching")
    return runs_of(SWEEPS[name], {"grids": "architecture"}.get(name, name if known else "width"))
