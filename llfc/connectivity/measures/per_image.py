"""How linear each layer's feature of each single image is; what the walk only averages."""

# Shape suffixes: L = layers, N = images.

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from llfc.connectivity.layerwise import InnerProducts, quantities
from llfc.connectivity.probes import features_of, products_between, products_of_ends
from llfc.connectivity.subject import Measured, Subject
from llfc.results import Array, midpoint

VALUES = ("cos_error", "baseline", "coef")
# Four bins per decade. The error of a linear feature is rounding: in float32, far below the lowest.
EDGES = np.concatenate([[0], np.geomspace(1e-8, 2, 34)])


def samples(subject: Subject) -> Measured:
    """`cos_error`, `baseline` and `coef` of every image, at the blend nearest to alpha = 1/2.

    Those of `llfc.connectivity.layerwise`, whose profiles are their means over images; A and B are
    corrected as the blend is. `image` counts the test images, of tokens those that count, from 0.
    The table `histogram` has, for every layer, how many images' `cos_error` and how many images'
    `baseline` are in [low, high): the lowest bin is from 0 to 1e-8, the others are equally wide in
    logarithm up to 2, which is in the last.

    Costs a forward pass over the test data of A, B and the blend; memory and table grow with the
    images, by three numbers per image and layer.

    Raises:
        ValueError: if a probe gives no tensor.
    """
    line, at = subject.line, midpoint(subject.line.alpha)
    names = [probe.name for probe in subject.probes]
    alpha = torch.as_tensor(line.alpha[[at]], device=line.device)
    parts = []
    for images, targets in subject.test:
        counted = subject.test.task.counted(targets)
        if counted is not None and not counted.any():
            continue
        networks = (*line.ends, line.at(at))
        of_a, of_b, blend = (
            features_of(model, subject.probes, images, counted) for model in networks
        )
        eps = torch.finfo(blend[0].dtype).eps
        found, _ = quantities(alpha, _products(of_a, of_b, blend, float(alpha)), eps)
        # The baseline has no dimension of positions.
        parts.append(torch.stack([found[name].view(len(names), -1) for name in VALUES]).cpu())
    columns_LN = dict(zip(VALUES, torch.cat(parts, -1).numpy(), strict=True))
    count = columns_LN["coef"].shape[1]
    return Measured(
        tables={
            "samples": {
                "layer": [name for name in names for _ in range(count)],
                "image": np.tile(np.arange(count, dtype=np.float64), len(names)),
                **{name: column_LN.ravel() for name, column_LN in columns_LN.items()},
            },
            "histogram": {
                "layer": [name for name in names for _ in EDGES[1:]],
                "low": np.tile(EDGES[:-1], len(names)),
                "high": np.tile(EDGES[1:], len(names)),
                **{name: _counts(columns_LN[name]) for name in ("cos_error", "baseline")},
            },
        }
    )


def _products(
    of_a: Sequence[Tensor], of_b: Sequence[Tensor], blend: Sequence[Tensor], alpha: float
) -> InnerProducts:
    """The inner products of the three networks' features, those at the one `alpha` [1, L, N]."""
    layers = zip(blend, of_a, of_b, strict=True)
    between = [products_between(*features, alpha) for features in layers]
    return InnerProducts(*products_of_ends(of_a, of_b), *torch.stack(between, 1)[:, None])


def _counts(values_LN: Array) -> Array:
    """How many images are in each bin, layer by layer."""
    rows = [np.histogram(values_N.clip(0, 2), EDGES)[0] for values_N in values_LN]
    return np.concatenate(rows).astype(np.float64)
