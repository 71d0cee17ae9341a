"""Two networks, brought into one basis, and all that lies between them: `connect`."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from llfc.connectivity.barrier import (
    barriers,
    corrected_summaries,
    curve_summaries,
    lemma1_slack,
)
from llfc.connectivity.blend import (
    Line,
    check_same_architecture,
    device_of,
    positions,
)
from llfc.connectivity.corrections import CORRECTIONS, Correction
from llfc.connectivity.distances import weight_distance
from llfc.connectivity.layerwise import summarise, summarised
from llfc.connectivity.logits import logit_scalars
from llfc.connectivity.measures.registry import MEASURES
from llfc.connectivity.measures.subject import Measure, Subject
from llfc.connectivity.path import Walk, walk
from llfc.connectivity.probes import select_probes
from llfc.connectivity.samples import Batches, Samples
from llfc.devices import whole_float32
from llfc.matching.matchers import match
from llfc.matching.permutation import Permutation, PermutationSpec
from llfc.matching.symmetry import permutation_spec
from llfc.modules import check_inputs, check_network
from llfc.names import lookup, names
from llfc.results import METRICS, Array, Connection, LeftOut
from llfc.seeds import stream
from llfc.specs import DEFAULT_MEASURES

BATCH = 250  # images a batch; larger ones were no faster on a CPU, and their features take memory


@whole_float32()
def connect(
    model_a: nn.Module,
    model_b: nn.Module,
    *,
    test: Samples,
    train: Samples | None = None,
    statistics: Samples | None = None,
    matching: str | Permutation | None = "weights",
    correction: str = "reset",
    alphas: int | Sequence[float] | Array = 25,
    probes: str | Sequence[str] | None = None,
    measures: str | Sequence[str] = DEFAULT_MEASURES,
    spec: PermutationSpec | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Connection:
    """What lies on the line between two networks, from A (alpha = 0) to B, permuted (alpha = 1).

    B's units are brought into A's basis, the line is walked once on each split, and every position
    gives loss and error, on the test split each probed layer's LLFC numbers too. The models are
    never modified; all runs in eval mode, where they are.

    Args:
        model_a: a classifier; gives logits of shape [images, classes].
        model_b: another of the same architecture, in the same place.
        test: float images as the models take them and labels, in memory, or an iterable of such
            batches that can be iterated again.
        train: the same for training data; without, the train columns are NaN.
        statistics: training data whose statistics corrections take: cropped and flipped as the
            networks saw them, and every batch of all classes, as batch norms see a batch at a time;
            `train` if None. Images in memory are mixed here.
        matching: a name in MATCHERS; or a permutation of B's units, as `llfc.match` finds it; or
            None to leave B as it is.
        correction: a name in CORRECTIONS. Curves and barriers are of A and B as trained; barriers
            whose name ends in `_corrected`, and all that compares features, of A and B corrected as
            the networks between them are.
        alphas: an odd number of positions, or the positions themselves.
        probes: names of modules, or patterns, or one; None for those `select_probes` finds.
        measures: names in MEASURES, or one: what else is measured, at a cost that each one says.
        spec: the symmetry of both; derived from A if None and there is something to permute.
        seed: of the matcher's random choices.
        batch_size: at most so many images a batch, where images are in memory.

    Raises:
        ValueError: if a name is unknown; the models differ in architecture, or wrap others; there
            are no images, the models do not take them, a label is out of range, or training data
            are needed and not given; a loss or feature is not finite.
    """
    alpha = positions(alphas)
    correct = lookup("correction", correction, CORRECTIONS)
    wanted = [lookup("measure", name, MEASURES) for name in names("measures", measures)]
    layers = None if probes is None else names("probes", probes)
    seen, trained_on = _checked(model_a, model_b, test, train, batch_size)
    source = trained_on
    if statistics is not None:
        source = Batches("statistics", statistics, batch_size, seen.device)
    if source is not None:
        source = source.mixed(stream(seed, "order/statistics"))
    basis = _into_one_basis(model_a, model_b, matching, spec, seen, trained_on, seed)
    unmatched = None if basis.b is model_b else model_b
    line = Line(model_a, basis.b, alpha)
    subject = _subject(line, unmatched, seen, source, layers, correct, seed)
    return _connection(subject, trained_on, wanted, basis)


@dataclass(frozen=True, eq=False)
class _Basis:
    """B in A's basis, a model of its own if units moved; how it was found, and what was not."""

    b: nn.Module
    record: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def _checked(
    a: nn.Module, b: nn.Module, test: Samples, train: Samples | None, batch_size: int
) -> tuple[Batches, Batches | None]:
    """The test and the train samples in batches, if the models are alike and take them."""
    check_network("model_a", a)
    check_network("model_b", b)
    check_same_architecture(a, b)
    device = device_of(a)
    seen = Batches("test", test, batch_size, device)
    trained_on = None if train is None else Batches("train", train, batch_size, device)
    check_inputs("test images", a, [seen.example()])
    return seen, trained_on


def _into_one_basis(
    a: nn.Module,
    b: nn.Module,
    matching: str | Permutation | None,
    spec: PermutationSpec | None,
    test: Batches,
    train: Batches | None,
    seed: int,
) -> _Basis:
    """B with its units permuted towards A's."""
    if matching is None:
        return _Basis(b)
    if not isinstance(matching, str | Permutation):
        raise ValueError(
            f"matching must be a name, a Permutation or None, got a {type(matching).__name__}"
        )
    if spec is None:
        spec = permutation_spec(a, test.example())
    if isinstance(matching, str):
        images = None if train is None else train.images()
        matching = match(matching, a, b, spec, images, seed)
    left_out = (
        *(LeftOut("parameter", *_named(line)) for line in spec.frozen),
        *(LeftOut("group", group, reason) for group, reason in matching.left_out.items()),
    )
    if not matching.moved():
        return _Basis(b, matching.record, left_out)
    permuted = copy.deepcopy(b)
    permuted.load_state_dict(spec.apply(matching, b.state_dict()))
    return _Basis(permuted, matching.record, left_out)


def _named(frozen: str) -> tuple[str, str]:
    """A line of `PermutationSpec.frozen`, as what is frozen and why."""
    name, _, reason = frozen.partition(": ")
    return name, reason


def _subject(
    line: Line,
    unmatched: nn.Module | None,
    test: Batches,
    statistics: Batches | None,
    layers: Sequence[str] | None,
    correct: Correction,
    seed: int,
) -> Subject:
    """What is measured: the line, corrected, its probed layers, and B as it was if it was moved."""
    example = test.example()
    selected = select_probes(line.a, example, layers)
    line.correct(correct(line, statistics, example, line.every))
    if unmatched is not None:
        alone = Line(unmatched, unmatched, line.alpha)
        alone.correct(correct(alone, statistics, example, [0]))
        unmatched, _ = alone.ends
    return Subject(
        line=line,
        unmatched=unmatched,
        test=test,
        statistics=statistics,
        probes=selected.probes,
        left_out=selected.left_out,
        correction=correct,
        seed=seed,
    )


def _connection(
    subject: Subject,
    train: Batches | None,
    measures: Sequence[Measure],
    basis: _Basis,
) -> Connection:
    """What both walks and all measures find, under its names."""
    line, alpha = subject.line, subject.line.alpha
    on_train = None if train is None else walk(line, train)
    on_test = walk(line, subject.test, subject.probes)
    curve, corrected = _curves(alpha, on_train, on_test)
    decomposition = on_test.logits.decomposition(alpha, on_test.corrected_loss)
    ensemble = on_test.logits.ensemble()
    tables = {"logits": decomposition, "ensemble": ensemble}
    summaries = {
        **curve_summaries(curve),
        **corrected_summaries(curve, corrected),
        "correction_layers": float(line.corrections.layers),
        **summarise(on_test.layers, alpha, on_test.eps),
        "llfc_zero_features": float(on_test.zeros),
        "lemma1_slack": lemma1_slack(on_test.corrected_error),
        "test_error_chance": on_test.logits.chance(),
        "test_error_mean_se": on_test.logits.instability_se(),
        **logit_scalars(
            decomposition, ensemble, on_test.logits.disagreement(), on_test.logits_differ
        ),
        **_distances(subject),
    }
    for take in measures:
        measured = take(subject)
        tables |= measured.tables
        summaries |= measured.scalars
    return Connection(
        curve=curve,
        barriers=barriers(curve),
        layers=on_test.layers,
        summaries=summaries,
        matching=dict(basis.record),
        tables=tables,
        left_out=(
            *subject.left_out,
            *basis.left_out,
            *line.corrections.left_out,
            *_stood_in(on_test),
        ),
    )


def _stood_in(walked: Walk) -> list[LeftOut]:
    """The definitions that stood in for values that do not exist."""
    found = []
    if walked.zeros:
        reason = f"features that are zero have no direction: defined {walked.zeros} times"
        found.append(LeftOut("definition", "cosine", reason))
    kinds = {layer.kind for layer in summarised(walked.layers)}
    if kinds & {"pre-activation", "logits"}:
        reason = f"no post-activation is probed: means over layers are over {kinds.pop()} instead"
        found.append(LeftOut("definition", "llfc_error_mean", reason))
    return found


def _curves(
    alpha: Array, on_train: Walk | None, on_test: Walk
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The columns of CURVE with the ends as trained, and with corrected ends."""
    curve, corrected = {"alpha": alpha}, {"alpha": alpha}
    missing = np.full(len(alpha), np.nan)
    for split, walked in (("train", on_train), ("test", on_test)):
        for metric in METRICS:
            name = f"{split}_{metric}"
            curve[name] = missing if walked is None else getattr(walked, metric)
            corrected[name] = missing if walked is None else getattr(walked, f"corrected_{metric}")
    return curve, corrected


def _distances(subject: Subject) -> dict[str, float]:
    """Between A and B, and between A and B as it was before it was matched."""
    line = subject.line
    before = line.b if subject.unmatched is None else subject.unmatched
    distance, cosine = weight_distance(line.a, line.b)
    distance_before, cosine_before = weight_distance(line.a, before)
    return {
        "weight_distance": distance,
        "weight_distance_before": distance_before,
        "weight_cos": cosine,
        "weight_cos_before": cosine_before,
    }
