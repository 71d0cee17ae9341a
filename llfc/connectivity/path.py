"""One streaming pass along the line: loss, error and every layer's inner products at every alpha.

Each batch goes once through A and through B, whose features are cached for that batch, and once
through each network between them, whose features are only multiplied with those and forgotten.
Memory does not grow with the number of images, and that of networks not with the positions.

Where a correction changes the ends, features are compared with those of the corrected ends, as the
networks between them are corrected too; a batch then goes through A and B as trained as well.
"""

# Shape suffixes: P = positions on the line, L = layers, N = images of a batch.

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from llfc.connectivity.blend import Line
from llfc.connectivity.layerwise import InnerProducts, LayerMoments
from llfc.connectivity.logits import LogitSums
from llfc.connectivity.outputs import BatchOutputs
from llfc.connectivity.probes import Probe, products_between, products_of_ends, tapped
from llfc.connectivity.samples import Batches
from llfc.modules.inputs import Inputs, count_of
from llfc.modules.reals import lost
from llfc.results import Array, LayerProfile, LeftOut, averaged_layers
from llfc.tasks import CLASSIFICATION, Task


@dataclass(frozen=True, eq=False)
class LineProfile:
    """What was found along the line.

    Attributes:
        loss: mean over samples at each position, A and B as trained, shape [P].
        error: mean over samples at each position, A and B as trained, shape [P].
        corrected_loss: `loss`, but of A and B corrected as the networks between them are.
        corrected_error: `error`, but of A and B corrected as the networks between them are.
        layers: one profile per probe, against A and B corrected as the networks between them are.
        eps: rounding error of the features' type, relative to 1; 0 without probes.
        zeros: how many times an image's feature was zero at a position; see
            `llfc.connectivity.layerwise`.
        logits: what the logits alone say.
        logits_differ: the largest difference between a layer's mean that the probe of the logits
            gave and the same from the logits themselves; 0 if no probe reads them.
    """

    loss: Array
    error: Array
    corrected_loss: Array
    corrected_error: Array
    layers: tuple[LayerProfile, ...]
    eps: float
    zeros: int
    logits: LogitSums
    logits_differ: float

    def left_out(self) -> list[LeftOut]:
        """The conventions that replaced undefined values."""
        found = []
        if self.zeros:
            reason = (
                "zero features have no direction: their cosine was set by convention"
                f" {self.zeros} times"
            )
            found.append(LeftOut("definition", "cosine", reason))
        layers = self.layers
        stand_in = layers[averaged_layers([layer.kind for layer in layers])[0]].kind
        if stand_in in ("pre-activation", "logits"):
            reason = f"no post-activation is probed: means over layers are over {stand_in} instead"
            found.append(LeftOut("definition", "llfc_error_mean", reason))
        return found


@torch.no_grad()
def walk(line: Line, batches: Batches, probes: Sequence[Probe] = ()) -> LineProfile:
    """Loss and error at every position, and each probe's profile, in one pass over `batches`.

    Sums over images are in float64; so are products of inner products. The networks and their
    features are in the networks' own type; so are the inner products themselves, and in float64
    where float32 does not hold them.

    Args:
        line: the networks.
        batches: what they are evaluated on.
        probes: the layers to profile; none costs nothing.

    Raises:
        ValueError: if there are no images, a label is out of range, the networks give no logits,
            or a loss or a feature is not finite.
    """
    walker = _Walker(line, probes, batches.task)
    with ExitStack() as stack:
        for model in {id(m): m for m in (*line.ends, line.at(1))}.values():
            stack.enter_context(tapped(model, probes, walker.receive))
        for inputs, targets in batches:
            walker.batch(inputs, targets, batches.split)
    return walker.found(batches.split)


class _Walker:
    """The state of one walk: running sums, and the features of A and B on the batch at hand."""

    def __init__(self, line: Line, probes: Sequence[Probe], task: Task = CLASSIFICATION) -> None:
        self.line, self.probes, self.task = line, probes, task
        size, device = len(line.alpha) + 2, line.device  # all positions, and the ends as trained
        self.alpha = torch.as_tensor(line.alpha, device=device)
        self.count = 0
        self.loss = torch.zeros(size, dtype=torch.float64, device=device)
        self.error = torch.zeros(size, dtype=torch.float64, device=device)
        self.moments = LayerMoments({})
        self.of_logits = LayerMoments({})  # what the probe that reads them should give
        self.sums: LogitSums | None = None
        self.ends: dict[str, list[Tensor]] = {"a": [], "b": []}
        self.products: list[Tensor] = []  # of the position at hand, [4, N] a probe
        self.at: str = "a"
        self.weight = 0.0  # alpha of the position at hand
        # Whether each layer's products are looked through at once: a GPU would wait every time.
        self.careful = device.type == "cpu"
        self.eps = 0.0
        self.counted: Tensor | None = (
            None  # the tokens of the batch at hand, where they are samples
        )

    def receive(self, index: int, feature: Tensor) -> None:
        """Take the feature [N, D] of probe `index`, of the network that is running."""
        if self.counted is not None:
            feature = feature[self.counted]  # a copy
        if self.at in self.ends:
            # A copy, as a module that works in place may follow.
            self.ends[self.at].append(feature.clone() if self.counted is None else feature)
        else:
            ends = self.ends["a"][index], self.ends["b"][index]
            found = products_between(feature, *ends, self.weight, careful=self.careful)
            self.products.append(found)

    def batch(self, inputs: Inputs, targets: Tensor, split: str) -> None:
        """Add one batch."""
        task = self.task
        counted, labels = task.counted(targets), task.targets(targets)
        if not len(labels):
            return
        self.counted = None if counted is None else counted.reshape(-1)
        self.ends = {"a": [], "b": []}
        features = None
        if self.probes and not task.whole:
            features = count_of(inputs) if counted is None else len(labels)
        outputs = self._outputs(inputs, targets, labels, split, features)
        self.count += outputs.count
        self.loss += outputs.loss
        self.error += outputs.error
        if features is not None:
            self.of_logits = self.of_logits.update(self.alpha, outputs.products(), self.eps)
        sums = outputs.sums()
        self.sums = sums if self.sums is None else self.sums.merged(sums)

    def _outputs(
        self, inputs: Inputs, targets: Tensor, labels: Tensor, split: str, features: int | None
    ) -> BatchOutputs:
        """What counts of the outputs of all networks, summed; and the products of features."""
        line, task = self.line, self.task

        def output(model: nn.Module, at: str) -> Tensor:
            self.at = at
            found = task.run(model, inputs)
            if at == "a":
                task.check(found, targets, split)
            picked, _ = task.picked(found, targets)
            return picked

        first, last = output(line.ends[0], "a"), output(line.ends[1], "b")
        trained = None
        if line.ends != (line.a, line.b):
            trained = output(line.a, "trained"), output(line.b, "trained")
        ends = first, last
        outputs = BatchOutputs(self.alpha, ends, labels, task, trained=trained, features=features)
        outputs.add(first)
        rows = []
        for position in line.inner:
            self.products, self.weight = [], float(line.alpha[position])
            outputs.add(output(line.at(position), "between"))
            if self.probes:
                rows.append(torch.stack(self.products, 1))
        outputs.add(last)
        if not self.careful and any(bool(lost(row).any()) for row in rows):
            self.careful = True
            rows = self._products_again(output)
        if self.probes:
            products = self._with_ends(rows)
            self.moments = self.moments.update(self.alpha, products, self.eps)
        return outputs

    def _products_again(self, output: Callable[[nn.Module, str], Tensor]) -> list[Tensor]:
        """The products of each network between the ends on the same batch, [4, L, N]."""
        rows = []
        for position in self.line.inner:
            self.products, self.weight = [], float(self.line.alpha[position])
            output(self.line.at(position), "between")
            rows.append(torch.stack(self.products, 1))
        return rows

    def found(self, split: str) -> LineProfile:
        """The result, on the CPU."""
        alpha = self.line.alpha
        if self.sums is None:
            raise ValueError(f"{split} has no tokens that count")
        loss, corrected_loss = self._curves(self.loss / self.count)
        error, corrected_error = self._curves(self.error / self.count)
        finite = np.isfinite(loss) & np.isfinite(corrected_loss)
        if not finite.all():
            at = int(finite.argmin())
            worst = loss[at] if not np.isfinite(loss[at]) else corrected_loss[at]
            raise ValueError(f"{split} loss is {worst} at alpha {alpha[at]:g}")
        return LineProfile(
            loss=loss,
            error=error,
            corrected_loss=corrected_loss,
            corrected_error=corrected_error,
            layers=self.moments.profiles(self.probes, alpha) if self.probes else (),
            eps=self.eps,
            zeros=int(self.moments.zeros),
            logits=self.sums,
            logits_differ=self._logits_differ(),
        )

    def _logits_differ(self) -> float:
        at = [index for index, probe in enumerate(self.probes) if probe.logits]
        at = at if self.of_logits.moments else []
        return self.moments.differ(self.of_logits, at[0]) if at else 0.0

    def _curves(self, values: Tensor) -> tuple[Array, Array]:
        """With the ends as trained, and with corrected ends; from one row per network."""
        *alike, a, b = values.tolist()
        return np.array([a, *alike[1:-1], b]), np.array(alike)

    def _with_ends(self, rows: list[Tensor]) -> InnerProducts:
        """The batch's products; those of the ends, at the ends, are A's and B's own."""
        of_a, of_b = self.ends["a"], self.ends["b"]
        aa, bb, ab, step = products_of_ends(of_a, of_b)
        self.eps = torch.finfo(of_a[0].dtype).eps
        none = torch.zeros_like(aa)
        first, last = torch.stack([aa, aa, ab, none]), torch.stack([bb, ab, bb, none])
        between = torch.stack([first, *rows, last], 1)
        return InnerProducts(aa, bb, ab, step, *between)
