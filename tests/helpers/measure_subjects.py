"""What a measure looks at, for tests."""

from llfc.connectivity.blend import Line, line_positions
from llfc.connectivity.corrections import CORRECTIONS
from llfc.connectivity.probes import choose_probes
from llfc.connectivity.samples import Batches
from llfc.connectivity.subject import Subject
from llfc.modules import frozen_copy


def subject(
    a,
    b,
    test,
    *,
    unmatched=None,
    train=None,
    batch=7,
    probes=None,
    correction="none",
    alphas=3,
):
    line = Line(a, b, line_positions(alphas))
    source = Batches("test", test, batch, line.device)
    images = None if train is None else Batches("train", train, batch, line.device)
    example = source.example()
    line.correct(CORRECTIONS[correction](line, images, example, line.every))
    return Subject(
        line=line,
        unmatched=None if unmatched is None else frozen_copy(unmatched),
        test=source,
        statistics=images,
        probes=choose_probes(line.a, source.example(), probes),
        correction=CORRECTIONS[correction],
        seed=0,
    )
