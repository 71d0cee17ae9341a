"""Model stitching without an adapter: A's layers up to a probe, followed by B's after it."""

import numpy as np
from torch import Tensor

from llfc.connectivity.evaluation import Score
from llfc.connectivity.measures.replay import Replay, replaying
from llfc.connectivity.subject import Measured, Subject
from llfc.modules.inputs import Inputs


def stitching(subject: Subject) -> Measured:
    """Loss and error of one network's layers up to a probe followed by the other's after it.

    At every probe, A's feature goes on through the rest of B (`into` is `b`), and B's through the
    rest of A. `into` names the network whose remaining layers run; all else that they read is its
    own: at a probe inside a block, the shortcut around it is B's own. At the logits, stitching into
    B gives A. Errors are from 0 to 1, losses in nats. A and B are as trained: no blend takes part.

    The scalars are the mean and the largest error over probes and directions, and how far each is
    above the larger of the two ends' errors.

    Costs a forward pass over the test data of A and B, and for each probe and direction what comes
    after the probe: about half a pass. Memory is that of a batch's features in all layers.

    Raises:
        ValueError: if a network runs other modules when it is run on the same images again.

    Reference:
        Zhou, Yang, Yang, Yan & Hu, Going Beyond Linear Mode Connectivity: The Layerwise Linear
        Feature Connectivity, NeurIPS 2023. https://arxiv.org/abs/2307.08286
        Bansal, Nakkiran & Barak, Revisiting Model Stitching to Compare Neural Representations,
        NeurIPS 2021. https://arxiv.org/abs/2106.07682
    """
    line, names = subject.line, [probe.name for probe in subject.probes]
    task = subject.test.task
    ends = (Score(task), Score(task))
    scores = [(Score(task), Score(task)) for _ in names]
    start = subject.probes, subject.test.example(), task
    with replaying(line.a, *start) as a, replaying(line.b, *start) as b:
        for images, labels in subject.test:
            _add_batch(a, b, images, labels, ends, scores)
    into_b, into_a = zip(*scores, strict=True)
    error = np.array([score.error for score in (*into_b, *into_a)])
    larger = max(end.error for end in ends)
    return Measured(
        tables={
            "stitching": {
                "layer": names * 2,
                "into": ["b"] * len(names) + ["a"] * len(names),
                "loss": np.array([score.loss for score in (*into_b, *into_a)]),
                "error": error,
            }
        },
        scalars={
            "stitching_error_mean": float(error.mean()),
            "stitching_error_max": float(error.max()),
            "stitching_excess_mean": float(error.mean()) - larger,
            "stitching_excess_max": float(error.max()) - larger,
        },
    )


def _add_batch(
    a: Replay,
    b: Replay,
    images: Inputs,
    labels: Tensor,
    ends: tuple[Score, Score],
    scores: list[tuple[Score, Score]],
) -> None:
    logits_a, features_a = a.record(images)
    logits_b, features_b = b.record(images)
    ends[0].add(logits_a, labels)
    ends[1].add(logits_b, labels)
    # From the last probe: a module before a probe that keeps something for one after it has then
    # kept it when it was recorded, and not since.
    for into, features, way in ((b, features_a, 0), (a, features_b, 1)):
        for index in reversed(range(len(scores))):
            scores[index][way].add(into.resume(index, features[index]), labels)
