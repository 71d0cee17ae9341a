"""What `connect` says while it works, to whom, and that it is asked to."""

import pytest
import torch

import llfc
from llfc.connectivity.samples import Batches
from llfc.progress import Progress
from tests.helpers.small_networks import mlp, samples

STEPS = ["aligned B with A", "corrected the networks between", "walked the line"]


def connected(**options):
    torch.manual_seed(0)
    given = {"matching": None, "alphas": 3, "measures": "random-direction"} | options
    return llfc.connect(mlp(0), mlp(1), test=samples(20, (6,), 1), correction="none", **given)


def steps_of(text):
    return [line.rpartition(": ")[0] for line in text.splitlines()]


def test_no_terminal_hears_nothing_unless_it_is_asked_for(capsys):
    found = connected()
    assert connected(progress=False).curve["test_loss"].tolist() == (
        found.curve["test_loss"].tolist()
    )
    assert capsys.readouterr() == ("", "")


def test_every_step_is_said_on_standard_error_with_its_seconds(capsys):
    connected(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert steps_of(err) == [*STEPS, "measured random-direction"]
    assert all(line.endswith(" s") for line in err.splitlines())


def test_a_terminal_is_told_of_itself(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which rich takes anything for a terminal
    connected()
    assert "walked the line: test batch 1/1" in capsys.readouterr().err


def test_a_caller_may_hand_over_its_own(capsys):
    own = Progress(quiet=True)
    connected(progress=own, measures=())
    assert [*own.seconds] == STEPS
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", ["yes", 1, 0.5])
def test_anything_else_is_refused(wrong):
    with pytest.raises(ValueError, match=f"progress must be True, False or None, got {wrong!r}"):
        connected(progress=wrong)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (samples(5, (6,), 1), ["1/3", "2/3", "3/3"]),
        ([samples(5, (6,), 1), samples(2, (6,), 2)], ["1/2", "2/2"]),
    ],
)
def test_batches_say_which_is_read_and_of_how_many(source, said):
    heard = []
    batches = Batches("train", source, 2, torch.device("cpu"), report=heard.append)
    assert len(list(batches)) == len(heard)
    assert heard == [f"train batch {each}" for each in said]
