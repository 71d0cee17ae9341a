"""Two networks, aligned, and everything measured on the line between them: `connect`."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from llfc.basis import Basis, into_one_basis
from llfc.connectivity.barrier import (
    all_barriers,
    corrected_summaries,
    curve_summaries,
    lemma1_slack,
)
from llfc.connectivity.blend import Correction, Line, line_positions
from llfc.connectivity.corrections import correction_of
from llfc.connectivity.distances import weight_distances
from llfc.connectivity.layerwise import summarise
from llfc.connectivity.left_out import blended_in_parts, of_batches, of_task
from llfc.connectivity.logits import logit_scalars
from llfc.connectivity.measures.registry import MEASURES
from llfc.connectivity.path import LineProfile, walk
from llfc.connectivity.probes import confirmed, for_task, select_probes
from llfc.connectivity.samples import Batches, Samples
from llfc.connectivity.subject import Measure, Subject
from llfc.devices import tf32_disabled
from llfc.modules import (
    check_inputs,
    check_network,
    check_same_architecture,
    check_same_function,
    device_of,
    eval_copy,
    spare_inputs,
)
from llfc.modules.few_values import few_values_told
from llfc.names import as_names, lookup
from llfc.progress import Progress, progress_of
from llfc.results import METRICS, Array, Connection, Table, midpoint
from llfc.seeds import generators_left, stream
from llfc.specs import DEFAULT_MEASURES
from llfc.symmetry.spec import Permutation, PermutationSpec
from llfc.symmetry.transform import Transform
from llfc.tasks import Task, as_task

BATCH_SIZE = 250  # larger batches were no faster on a CPU, and their features take memory


@few_values_told()
@tf32_disabled()
@generators_left()
@torch.inference_mode(False)
def connect(
    model_a: nn.Module,
    model_b: nn.Module,
    *,
    test: Samples,
    train: Samples | None = None,
    statistics: Samples | None = None,
    task: str | Task = "classification",
    matching: str | Permutation | Transform | None = "weights",
    correction: str = "reset",
    alphas: int | Sequence[float] | Array = 25,
    probes: str | Sequence[str] | None = None,
    measures: str | Sequence[str] = DEFAULT_MEASURES,
    spec: PermutationSpec | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    progress: bool | Progress | None = None,
) -> Connection:
    """Measure the line between two networks, from A (alpha = 0) to B, permuted (alpha = 1).

    B's units are permuted to align with A's, and the networks on the line are evaluated in one pass
    over each split: loss and error at every position and, on the test split, the LLFC numbers of
    every probed layer. Only copies of the models are run, in eval mode and on the models' device.
    The line blends parameters and buffers; everything else must be the same in both, which is
    checked on the first test batch before anything is measured. A weight that is derived from
    others (weight norm, a pruning mask) is recomputed from the blended ones; `left_out` says where
    that differs from the line between the derived weights, and where the logits of an image depend
    on the other images in its batch, as with a batch norm without running statistics.

    Args:
        model_a: a network for the task; a classifier returns logits of shape [images, classes].
        model_b: another of the same architecture, on the same device.
        test: inputs as the models take them, and targets; in memory, or as an iterable of such
            batches that can be iterated repeatedly. Inputs are a tensor, a tuple of positional
            arguments, or a dictionary of keyword arguments; targets are a tensor. Samples are along
            dimension 0 of every tensor.
        train: the same for training data; if None, the train columns are NaN.
        statistics: training data on which corrections compute statistics, ideally augmented as in
            training and with all classes in every batch, as batch norms see one batch at a time;
            `train` if None. Images in memory are shuffled here.
        task: a name in `llfc.tasks.TASKS`, or a `llfc.Task` of one's own: which part of the output
            counts, its loss and error, and what LLFC takes as a sample.
        matching: a name in MATCHERS, or a plug-in's as `FILE.py:FUNCTION`, which options may follow
            as in `weights:effort=4`; or a permutation of B's units, or a transform of them, as
            returned by `llfc.match`; or None to leave B as it is.
        correction: a name in CORRECTIONS, or a plug-in's. Curves and barriers use A and B as
            trained; barriers whose name ends in `_corrected`, and everything that compares
            features, use A and B corrected in the same way as the networks between them.
        alphas: an odd number of positions, or the positions themselves.
        probes: one or several names or patterns of modules; None for those that `select_probes`
            finds.
        measures: one or several names in MEASURES: further measurements, whose docstrings state
            their cost.
        spec: the permutation symmetry of both; if None, derived from A when B is to be permuted.
        seed: seed of the matcher's random choices.
        batch_size: maximum number of images per batch, for images in memory.
        progress: whether standard error says what is being done and how long each step took; if
            None, on a terminal and in a notebook alone.

    Raises:
        ValueError: if a name is unknown; the models differ in more than the values of their
            parameters and buffers (on the first batch, A with B's must give B's outputs), are
            wrappers of other modules, are random in eval mode, or cannot be copied; B, permuted, is
            another function; there are no images, the models do not accept them, a label is out of
            range, or training data are needed and not given; a loss or feature is not finite.
    """
    alpha = line_positions(alphas)
    correct = correction_of(correction)
    wanted = {name: lookup("measure", name, MEASURES) for name in as_names("measures", measures)}
    layers = None if probes is None else as_names("probes", probes)
    a, b = _copies(model_a, model_b)
    wanted_task, said = as_task(task), progress_of(progress)
    seen, trained_on = _checked(a, b, test, train, batch_size, wanted_task, said)
    source = trained_on
    if statistics is not None:
        source = Batches(
            "statistics", statistics, batch_size, seen.device, task=wanted_task, report=said.report
        )
    if source is not None:
        source = source.shuffled(stream(seed, "order/statistics"))
    first = seen.first()
    with said.step("aligned B with A"):
        basis = into_one_basis(a, b, matching, spec, first, wanted_task, trained_on, seed)
    unmatched = None if basis.b is b else b
    line = Line(a, basis.b, alpha)
    with said.step("corrected the networks between"):
        subject = _subject(line, unmatched, seen, source, layers, correct, seed)
    return _connection(subject, trained_on, wanted, basis, said)


def _copies(model_a: nn.Module, model_b: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Copies of both in eval mode, if they are networks of one architecture."""
    roles = {"model_a": model_a, "model_b": model_b}
    for role, model in roles.items():
        check_network(role, model)
    a, b = (eval_copy(model, role) for role, model in roles.items())
    check_same_architecture(a, b)
    return a, b


def _checked(
    a: nn.Module,
    b: nn.Module,
    test: Samples,
    train: Samples | None,
    batch_size: int,
    task: Task,
    said: Progress,
) -> tuple[Batches, Batches | None]:
    """The test and the train samples in batches, if the models accept them and agree on them."""
    device = device_of(a)
    seen = Batches("test", test, batch_size, device, task=task, report=said.report)
    trained_on = None
    if train is not None:
        trained_on = Batches("train", train, batch_size, device, task=task, report=said.report)
    example = seen.example()
    check_inputs("test images", a, [example] if isinstance(example, Tensor) else example)
    spare_inputs((a, b), example)
    images, targets = next(iter(seen))
    with torch.no_grad():
        task.check(task.run(a, images), targets, "test")
    check_same_function(a, b, images)
    return seen, trained_on


def _subject(
    line: Line,
    unmatched: nn.Module | None,
    test: Batches,
    statistics: Batches | None,
    layers: Sequence[str] | None,
    correct: Correction,
    seed: int,
) -> Subject:
    """What is measured: the corrected line, its probed layers, and B before it was permuted."""
    example = test.example()
    sampled = (line.at(position) for position in (0, midpoint(line.alpha), len(line.alpha) - 1))
    selected = confirmed(select_probes(line.a, example, layers), sampled, test.first(), layers)
    _, targets = next(iter(test))
    selected = for_task(selected, line.a, example, targets, test.task, layers)
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
    measures: Mapping[str, Measure],
    basis: Basis,
    said: Progress,
) -> Connection:
    """The results of both walks and of all measures, by name."""
    line, alpha = subject.line, subject.line.alpha
    with said.step("walked the line"):
        on_train = None if train is None else walk(line, train)
        on_test = walk(line, subject.test, subject.probes)
    curve, corrected = _curves(alpha, on_train, on_test)
    tables, of_test = _of_test(alpha, on_test)
    summaries = {
        **curve_summaries(curve),
        **corrected_summaries(curve, corrected),
        "correction_layers": float(line.corrections.layers),
        **of_test,
        **weight_distances(line, subject.unmatched),
    }
    for name, measure in measures.items():
        with said.step(f"measured {name}"):
            measured = measure(subject)
        tables |= measured.tables
        summaries |= measured.scalars
    return Connection(
        curve=curve,
        barriers=all_barriers(curve),
        layers=on_test.layers,
        summaries=summaries,
        matching=dict(basis.record),
        tables=tables,
        left_out=(
            *subject.left_out,
            *basis.left_out,
            *line.corrections.left_out,
            *of_task(subject.test.task),
            *on_test.left_out(),
            *of_batches(line, subject.test.first()),
            *blended_in_parts(line, subject.test),
        ),
    )


def _of_test(alpha: Array, on_test: LineProfile) -> tuple[dict[str, Table], dict[str, float]]:
    """The tables and the scalars that the walk on the test split gives, beside its curves."""
    logits = on_test.logits
    decomposition = logits.decomposition(alpha, on_test.corrected_loss)
    ensemble = logits.ensemble()
    return {"logits": decomposition, "ensemble": ensemble}, {
        **summarise(on_test.layers, alpha, on_test.eps),
        "llfc_zero_features": float(on_test.zeros),
        "lemma1_slack": lemma1_slack(on_test.corrected_error),
        "test_error_chance": logits.chance(),
        "test_error_mean_se": logits.instability_se(),
        **logit_scalars(decomposition, ensemble, logits.disagreement(), on_test.logits_differ),
    }


def _curves(
    alpha: Array, on_train: LineProfile | None, on_test: LineProfile
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The columns of CURVE, with the ends as trained and with the ends corrected."""
    curve, corrected = {"alpha": alpha}, {"alpha": alpha}
    missing = np.full(len(alpha), np.nan)
    for split, walked in (("train", on_train), ("test", on_test)):
        for metric in METRICS:
            name = f"{split}_{metric}"
            curve[name] = missing if walked is None else getattr(walked, metric)
            corrected[name] = missing if walked is None else getattr(walked, f"corrected_{metric}")
    return curve, corrected
