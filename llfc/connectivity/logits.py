"""What the logits alone say: the barrier taken apart, the ensemble, calibration, disagreement."""

# Shape suffixes: P = positions on the line, N = images of a batch, C = classes, B = bins.

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from llfc.connectivity.barrier import excess
from llfc.results import Array, Table, midpoint

BINS = 15  # of confidence, as in Guo et al. 2017
NETWORKS = ("a", "b", "blend", "ensemble")


@dataclass(frozen=True, eq=False)
class Networks:
    """Running sums of NETWORKS: A and B as trained, a blend, and the mean of A's and B's logits.

    What needs logits of classes is not a number where there are none.

    Attributes:
        loss: sums of losses, shape [4].
        wrong: sums of errors, shape [4].
        bins: of each bin of confidence: the sum of confidences less the number of hits, [4, B].
        disagreed: number of images that A and B put into different classes.
        labels: number of images of each class, shape [C].
    """

    loss: Tensor
    wrong: Tensor
    bins: Tensor
    disagreed: Tensor
    labels: Tensor

    @staticmethod
    def of(a_NC: Tensor, b_NC: Tensor, blend_NC: Tensor, labels_N: Tensor) -> "Networks":
        """Those of some images, from logits in float64."""
        each = torch.stack([a_NC, b_NC, blend_NC, (a_NC + b_NC) / 2])
        hits = each.argmax(-1) == labels_N
        confidence = each.softmax(-1).amax(-1)
        # Clamped from below too: a confidence that is not a number must not end the walk here.
        bins = (confidence * BINS).long().clamp(0, BINS - 1)
        gaps = each.new_zeros(len(NETWORKS), BINS)
        losses = [F.cross_entropy(one, labels_N, reduction="sum") for one in each]
        return Networks(
            loss=torch.stack(losses),
            wrong=(~hits).sum(-1),
            bins=gaps.scatter_add_(1, bins, confidence - hits.double()),
            disagreed=(a_NC.argmax(-1) != b_NC.argmax(-1)).sum(),
            labels=torch.bincount(labels_N, minlength=each.shape[-1]),
        )

    @staticmethod
    def without_classes(loss: Tensor, wrong: Tensor) -> "Networks":
        """Of outputs that are no logits of classes: losses and errors alone."""
        unknown = loss.new_full((), math.nan)
        return Networks(loss, wrong, unknown.expand(len(NETWORKS), BINS), unknown, unknown[None])

    def merged(self, other: "Networks") -> "Networks":
        """The sums of both together."""
        return Networks(
            self.loss + other.loss,
            self.wrong + other.wrong,
            self.bins + other.bins,
            self.disagreed + other.disagreed,
            self.labels + other.labels,
        )


@dataclass(frozen=True, eq=False)
class LogitSums:
    r"""Running sums over images, enough for all that is said of the logits, in float64.

    With :math:`z_\alpha` the blend's logits, :math:`z_I = (1-\alpha) z_A + \alpha z_B`,
    :math:`e = z_\alpha - z_I` and :math:`y` the label, the loss on the line is its chord plus

    .. math:: \mathbb{E}[D - J - e_y], \quad D = \mathrm{LSE}(z_\alpha) - \mathrm{LSE}(z_I), \quad
              J = (1-\alpha)\mathrm{LSE}(z_A) + \alpha\mathrm{LSE}(z_B) - \mathrm{LSE}(z_I) \ge 0

    where LSE is the log of the sum of exponentials. If LLFC holds at the logits with coefficient 1,
    e is zero and the loss lies below its chord by J. As in all of LLFC, A and B are corrected as
    the blend is, in :math:`z` and in the chord; where they stand for themselves, they are as
    trained.

    Attributes:
        count: number of images.
        parts: sums of D, J and e_y at each position, shape [3, P].
        above: of each image and position, the network's error there, less the mean of A's and B's:
            sums and sums of squares, shape [2, P].
        networks: of A, B, the blend nearest to alpha = 1/2 and the ensemble.

    Reference:
        Bae 2026, for the identity; re-derived here.
    """

    count: int
    parts: Tensor
    above: Tensor
    networks: "Networks"

    def merged(self, other: "LogitSums") -> "LogitSums":
        """The sums of both together."""
        return LogitSums(
            self.count + other.count,
            self.parts + other.parts,
            self.above + other.above,
            self.networks.merged(other.networks),
        )

    def decomposition(self, alpha: Array, loss: Array) -> Table:
        """The loss above its chord, and the D, J and e_y that it is made of, at each position.

        Args:
            alpha: positions, shape [P].
            loss: mean loss at each, all corrected alike, found without these sums, shape [P].
        """
        d, j, e = (self.parts / self.count).cpu().numpy()
        return {"alpha": alpha, "excess": excess(alpha, loss), "d": d, "j": j, "e": e}

    def ensemble(self) -> Table:
        """Loss in nats, error rate and expected calibration error of each of NETWORKS.

        Reference:
            Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
            https://arxiv.org/abs/1706.04599
        """
        return {
            "network": list(NETWORKS),
            "loss": (self.networks.loss / self.count).cpu().numpy(),
            "error": (self.networks.wrong.double() / self.count).cpu().numpy(),
            "ece": (self.networks.bins.abs().sum(1) / self.count).cpu().numpy(),
        }

    def instability_se(self) -> float:
        """The standard error of the mean barrier of the error rate, as the images are a sample.

        The networks are evaluated on the same images, so it is that of a paired difference: of the
        mean over images of whether the network where the barrier is highest errs, less the mean of
        whether A and B do. Two networks that err on the same images have the standard error 0.
        """
        means, squares = (self.above / self.count).cpu()
        at = int(means.argmax())
        return math.sqrt(max(0.0, float(squares[at] - means[at].square())) / self.count)

    def disagreement(self) -> float:
        """Share of images that A and B put into different classes."""
        return float(self.networks.disagreed) / self.count

    def chance(self) -> float:
        """Error rate of always naming the class that most images have."""
        return 1 - float(self.networks.labels.max()) / self.count


def parts_along(
    alpha_P: Tensor, z_PNC: Tensor, a_NC: Tensor, b_NC: Tensor, labels_N: Tensor
) -> Tensor:
    """Sums of D, J and e_y, as `LogitSums` has them, shape [3, P]; all in float64.

    Args:
        alpha_P: the positions.
        z_PNC: the logits there.
        a_NC: A's, corrected as they are.
        b_NC: B's.
        labels_N: classes, int64.
    """
    between = torch.lerp(a_NC[None], b_NC[None], alpha_P[:, None, None])
    of_between = between.logsumexp(-1)
    sums = z_PNC.logsumexp(-1)
    d = sums - of_between
    of_a, of_b = (end[None].logsumexp(-1) for end in (a_NC, b_NC))
    j = torch.lerp(of_a, of_b, alpha_P[:, None]) - of_between
    of_label = labels_N.expand(len(z_PNC), -1)[..., None]
    e = (z_PNC - between).gather(-1, of_label)[..., 0]
    return torch.stack([d, j, e]).sum(-1)


def logit_scalars(
    decomposition: Table, ensemble: Table, disagreement: float, probe_differs: float
) -> dict[str, float]:
    """The scalars of a trial that come from its logits.

    `logit_identity_residual` is rounding error, or something is wrong: the largest difference, over
    positions, between the loss above its chord and D - J - e_y, or `probe_differs` if that is
    larger. The former sees a wrong curve, the latter a wrong feature. `logit_d_mid`, `logit_j_mid`
    and `logit_e_mid` are the three parts nearest to alpha = 1/2.

    Args:
        decomposition: from `LogitSums`.
        ensemble: from `LogitSums`.
        disagreement: from `LogitSums`.
        probe_differs: by how much the numbers of the layer that gives the logits, which were read
            through its probe, differ from those of the logits themselves.
    """
    parts = {name: _column(decomposition, name) for name in ("alpha", "excess", "d", "j", "e")}
    at = midpoint(parts["alpha"])
    residual = parts["excess"] - (parts["d"] - parts["j"] - parts["e"])
    found = {
        "logit_identity_residual": max(float(abs(residual).max()), probe_differs),
        "disagreement": disagreement,
    }
    found |= {f"logit_{name}_mid": float(parts[name][at]) for name in ("d", "j", "e")}
    names: Sequence[str] = [str(name) for name in ensemble["network"]]
    for row, name in enumerate(names):
        found[f"{name}_ece"] = float(_column(ensemble, "ece")[row])
    last = names.index("ensemble")
    found |= {f"ensemble_{k}": float(_column(ensemble, k)[last]) for k in ("loss", "error")}
    return found


def _column(table: Table, name: str) -> Array:
    column = table[name]
    assert not isinstance(column, list)
    return column
