"""Options said after a matcher's name: one spelling, and one answer through every door."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import llfc
from llfc.matching.matchers import MATCHERS, canonical, named
from llfc.names import divided, readable
from llfc.plugins.options import Option, options_of, spelled
from llfc.specs import fingerprint
from sweeps import SWEEPS
from sweeps.grid.options import parse
from tests.helpers.command_files import status_of, written

OWN = '''
def match(spec, seed, *, rounds: int = 1, scale: float | None = None, kind="plain", sure=False):
    """The first of so many random permutations."""
    return spec.random(10 * seed + rounds)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("none", ("none", {})),
        ("weights", ("weights", {})),
        ("weights:effort=4", ("weights", {"effort": 4.0})),
        ("weights:effort=0.25", ("weights", {"effort": 0.25})),
        ("weights:effort=1e-07", ("weights", {"effort": 1e-7})),
        ("weights:effort=12.000000000000002", ("weights", {"effort": 12.000000000000002})),
        ("orthogonal:sweeps=3", ("orthogonal", {"sweeps": 3})),
        ("learned:seconds=2.5,steps=400", ("learned", {"seconds": 2.5, "steps": 400})),
    ],
)
def test_a_spelling_that_is_canonical_says_the_same_again(said, meant):
    name, options = named(said)
    assert (name, options) == meant
    assert {option: type(value) for option, value in options.items()} == {
        option: type(value) for option, value in meant[1].items()
    }
    assert canonical(said) == said == spelled(name, options)


@pytest.mark.parametrize(
    ("said", "spelling"),
    [
        ("weights:effort=4.0", "weights:effort=4"),
        ("weights:effort=12", "weights"),
        ("learned:steps=400,seconds=60", "learned:seconds=60,steps=400"),
        ("learned:seconds=inf,steps=None", "learned"),
    ],
)
def test_the_same_options_have_one_spelling(said, spelling):
    assert canonical(said) == spelling


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("weights:efort=4", "matching 'weights' has no option 'efort': its options are effort"),
        ("none:effort=4", "matching 'none' has no option 'effort': it has none"),
        ("weights:effort=x", "effort of matching 'weights' must be a number, got 'x'"),
        ("weights:effort=nan", "effort of matching 'weights' must be a number, got 'nan'"),
        ("orthogonal:sweeps=2.5", "sweeps of matching 'orthogonal' must be a whole number, got"),
        ("learned:steps=few", "steps of matching 'learned' must be None or a whole number, got"),
        ("learned:task=regression", "task of matching 'learned' cannot be said in the name: give"),
        ("weights:effort=4,effort=5", "effort of matching 'weights' must be said once, as effort="),
        ("weights:effort=4,", "matching 'weights' has no option ''"),
        ("learned:steps=4,seconds", "seconds of matching 'learned' must be said once, as seconds="),
        ("weight:effort=4", "unknown matching 'weight': choose from .*; did you mean 'weights'?"),
        (
            "own.py:match:rounds=True",
            "rounds of matching 'own.py:match' must be a whole number, got",
        ),
        ("own.py:match:sure=1", "sure of matching 'own.py:match' must be True or False, got '1'"),
        ("own.py:match:kind=a/b", "kind of matching 'own.py:match' must be a word, got 'a/b'"),
        ("own.py:match:speed=1", "no option 'speed': its options are rounds, scale, kind, sure"),
    ],
)
def test_refused_in_one_line(folder, said, why):
    for read in (named, canonical):
        with pytest.raises(ValueError, match=why) as caught:
            read(said)
        assert "\n" not in str(caught.value)


def test_every_option_of_every_matcher_is_read_as_it_is_written():
    for name, matcher in MATCHERS.items():
        for option in options_of(matcher, ("a", "b", "spec", "batches", "seed")).values():
            assert name == "learned" or option.kinds, option
            if option.kinds:
                values = [
                    option.default,
                    *(kind(3) for kind in option.kinds if kind in (int, float)),
                ]
                for value in values:
                    assert named(spelled(name, {option.name: value}))[1] == {option.name: value}


def test_numbers_are_written_so_that_they_are_read_back():
    option = Option("x", (float,), 0.0)
    for value in (0.1, 1 / 3, 1e22, 123456789.0, -2.5, math.pi, math.inf):
        assert option.read(spelled("n", {"x": value}).partition("=")[2]) == value


def test_a_plugin_has_the_options_that_its_function_has(folder):
    full = canonical("own.py:match:sure=True,rounds=7,kind=odd,scale=None")
    assert readable(full) == "own:match:kind=odd,rounds=7,sure=True"
    assert named(full)[1] == {"kind": "odd", "rounds": 7, "sure": True}
    assert canonical(full) == full
    models = written(folder)
    spec = llfc.permutation_spec(models[0], torch.randn(6, 4))
    assert llfc.match("own.py:match:rounds=7", *models, spec, seed=2) == spec.random(27)
    assert llfc.match("own.py:match", *models, spec, seed=2, rounds=7) == spec.random(27)
    assert llfc.match(full, *models, spec, seed=2) == spec.random(27)


def test_a_plugin_is_told_the_task_as_a_matcher_is(folder):
    (folder / "told.py").write_text(
        "def match(spec, task=None):\n    assert task.classes\n    return spec.random(1)\n"
    )
    models, samples = written(folder), (torch.randn(16, 4), torch.arange(16) % 3)
    how = {"matching": "told.py:match", "test": samples, "correction": "none", "alphas": 3}
    assert llfc.connect(*models, measures=[], **how).matching["moved"] > 0


EFFORT = "weights:effort=1"
DEEP = """
from torch import nn

def build():
    layers = [each for _ in range(3) for each in (nn.Linear(4, 4), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(4, 3))
"""
DOORS = ("match", "keyword", "connect", "merge", "llfc match", "llfc connect")


def records(models, folder):
    """The record of the matching EFFORT, through every door."""
    samples = torch.randn(16, 4), torch.arange(16) % 3
    spec = llfc.permutation_spec(models[0], samples[0])
    yield llfc.match(EFFORT, *models, spec).record
    yield llfc.match("weights", *models, spec, effort=1).record
    how = {"alphas": 3, "measures": [], "correction": "none"}
    yield llfc.connect(*models, test=samples, matching=EFFORT, **how).matching
    merged = llfc.merge(models, inputs=samples[0], matching=EFFORT, correction="none")
    yield merged.permutations[1].record
    files = ("0.safetensors", "1.safetensors", "-m", "deep.py:build", "-q", "--matching", EFFORT)
    assert status_of("match", *files, "--input", "6,4", "-o", "m.safetensors") == 0
    with safe_open("m.safetensors", "pt") as file:
        header = json.loads(file.metadata()["llfc"])
    assert header["matching"] == EFFORT
    yield header["record"]
    merge = ("--input", "6,4", "--correction", "none", "-o", "both.safetensors")
    assert status_of("merge", *files, *merge) == 0
    with safe_open("both.safetensors", "pt") as file:
        assert json.loads(file.metadata()["llfc"])["matching"] == EFFORT
    of_file = load_file("both.safetensors")
    for name, tensor in merged.model.state_dict().items():
        assert torch.allclose(of_file[name], tensor, atol=1e-6), name
    connect = ("--data", "mine.py:load", "--alphas", "3", "--correction", "none", "--out", "pair")
    assert status_of("connect", *files, *connect, "--measure", "samples") == 0
    yield json.loads((folder / "pair" / "connection.json").read_text())["matching"]


@pytest.mark.slow
def test_the_same_answer_through_every_door(folder):
    written(folder)  # whose data are taken
    (folder / "deep.py").write_text(DEEP)
    names = {}
    exec(DEEP, names)
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(names["build"]().eval())
        save_file(models[-1].state_dict(), f"{seed}.safetensors")
    found = dict(zip(DOORS, records(models, folder), strict=True))
    spec = llfc.permutation_spec(models[0], torch.randn(6, 4))
    usual = llfc.match("weights", *models, spec).record
    for door, record in found.items():
        for name in ("iterations", "objective", "moved"):
            assert record[name] == pytest.approx(found["keyword"][name], rel=1e-5), (door, name)
    assert usual["iterations"] > found["keyword"]["iterations"]


def test_an_option_is_said_once(folder):
    models = written(folder)
    spec = llfc.permutation_spec(models[0], torch.randn(6, 4))
    with pytest.raises(ValueError, match=r"^effort is given twice: in 'weights:effort=4' and"):
        llfc.match("weights:effort=4", *models, spec, effort=4)
    with pytest.raises(ValueError, match=r"one of weights, orthogonal, got 'weights:effort=4'$"):
        llfc.match_many(models, spec, matching="weights:effort=4")


def test_trials_of_a_sweep_have_options_and_those_without_their_old_name(folder):
    words = "--width 1 --seed 0 --matching none weights weights:effort=12.0 weights:effort=4.0"
    _, _, trials = parse(SWEEPS["width"], words.split())
    assert [trial.matching for trial in trials] == ["none", "weights", "weights:effort=4"]
    _, _, usual = parse(SWEEPS["width"], "--width 1 --seed 0 --matching none weights".split())
    assert trials[:2] == usual
    assert len({fingerprint(trial) for trial in trials}) == 3
    _, _, own = parse(SWEEPS["width"], ["--matching", "own.py:match:rounds=2", "--seed", "0"])
    name, said = divided(own[0].matching)
    assert said == "rounds=2"
    assert readable(name) == "own:match"
