"""The command line: every axis and setting is a typed option; bad input is one line and exit 2."""

import re
import sys
from pathlib import Path

import pytest

from llfc.connectivity.corrections import CORRECTIONS
from llfc.matching.matchers import MATCHERS
from llfc.networks.store import Store
from sweeps import SWEEPS
from sweeps.cli import main
from sweeps.grid.grid import DEFAULTS, RECIPE_AXES, trials_of
from sweeps.grid.options import parse
from sweeps.grid.settings import Settings
from sweeps.spawn_epoch import SPAWN_EPOCH
from sweeps.width import WIDTH

GRIDS = {name: sweep for name, sweep in SWEEPS.items() if name != "checkpoints"}  # it needs files


def refused(capsys, *words):
    """What is said about `words`, which must be refused with exit code 2 and one line."""
    with pytest.raises(SystemExit) as stop:
        main(WIDTH, words)
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    return said.err.strip()


def test_options_replace_axes_and_settings():
    words = (
        "--width 1 2 0.25 --architecture resnet20 --dataset cifar10 --seed 0 1 2 --spawn-epoch 0 5"
        " none --epochs 6 --milestones 0.5 0.75 --augment true --alphas 11 --probes conv1 fc"
        " --storage /elsewhere --cpus-per-trial 2"
    )
    settings, sweep, trials = parse(WIDTH, words.split())
    assert sweep.axes["width"] == [1.0, 2.0, 0.25]
    assert sweep.axes["spawn_epoch"] == [0, 5, None]
    assert sweep.axes["milestones"] == [(0.5, 0.75)]
    assert sweep.axes["augment"] == [True]
    assert {(t.alphas, t.probes) for t in trials} == {(11, ("conv1", "fc"))}
    assert settings.store == "/elsewhere/store"
    assert settings.cpus_per_trial == 2
    assert len(trials) == 3 * 3 * 3 * len(WIDTH.axes["matching"])
    assert {trial.pair.recipe.epochs for trial in trials} == {6}
    assert {trial.pair.norm for trial in trials} == {"batch"}  # the architecture's usual one


def test_the_environment_stands_in_for_an_option(monkeypatch, capsys):
    monkeypatch.setenv("LLFC_STORAGE", "/shared")
    monkeypatch.setenv("LLFC_GPUS_PER_TRIAL", "0.5")
    monkeypatch.setenv("RAY_ADDRESS", "")  # as good as not there
    settings, _, _ = parse(WIDTH, ["--storage", "/mine"])
    assert (str(settings.storage), settings.gpus_per_trial, settings.address) == (
        "/mine",
        0.5,
        None,
    )
    assert str(parse(WIDTH, [])[0].storage) == "/shared"
    monkeypatch.setenv("LLFC_GPUS_PER_TRIAL", "half")
    assert "argument --gpus-per-trial: invalid number value: 'half'" in refused(capsys)


def test_a_storage_under_the_home_folder_is_there(monkeypatch):
    monkeypatch.setenv("LLFC_STORAGE", "~/runs")
    settings, _, _ = parse(WIDTH, [])
    assert settings.store == str(Path.home() / "runs" / "store")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_storage_is_made_without_folders_on_the_way_back(scheme, tmp_path):
    (tmp_path / "link").symlink_to("there/below")
    (tmp_path / "there/below").mkdir(parents=True)
    for typed, meant in (("new/../q", "q"), ("link/../q", "there/q"), ("link/q", "link/q")):
        settings = Settings(storage=f"{scheme}{tmp_path}/{typed}")
        assert settings.store == f"{scheme}{tmp_path}/{meant}/store"
    Store(Settings(storage=f"{scheme}{tmp_path}/new/../q").store).check_writable()
    assert not (tmp_path / "new").exists()


def test_a_storage_that_mlflow_would_refuse_is_refused_before_it_is_made(tmp_path):
    with pytest.raises(ValueError, match=r"must not contain \.\. after a \?, got .*/a\?\.\.b"):
        Settings(storage=f"{tmp_path}/a?..b")
    assert not list(tmp_path.iterdir())
    assert Settings(storage=f"{tmp_path}/a?b/../..c/q").folder == tmp_path / "..c/q"


def test_a_spawn_step_takes_the_place_of_the_spawn_epoch(tmp_path):
    _, sweep, trials = parse(SPAWN_EPOCH, "--spawn-step 0 30 none --seed 0 --matching none".split())
    assert (sweep.x, "spawn_epoch" in sweep.axes) == ("spawn_step", False)
    assert [(t.pair.spawn_epoch, t.pair.spawn_step) for t in trials] == [
        (None, 0),
        (None, 30),
        (None, None),
    ]
    (tmp_path / "study.toml").write_text("[spawn_epoch]\nspawn-step = [7]\nseed = 0")
    config = ["--config", str(tmp_path / "study.toml")]
    assert {t.pair.spawn_step for t in parse(SPAWN_EPOCH, config)[2]} == {7}
    _, sweep, trials = parse(SPAWN_EPOCH, [*config, "--spawn-epoch", "3"])  # what is typed wins
    assert {(t.pair.spawn_epoch, t.pair.spawn_step) for t in trials} == {(3, None)}
    assert sweep.x == "spawn_epoch"


def test_norm_none_is_no_norm_and_not_the_usual_one():
    _, _, trials = parse(WIDTH, "--architecture resnet20 --norm none batch".split())
    assert {trial.pair.norm for trial in trials} == {"none", "batch"}


def test_without_options_the_sweep_is_as_written():
    _, sweep, trials = parse(WIDTH, [])
    assert (sweep, trials) == (WIDTH, trials_of(WIDTH))


def test_measures_are_named_or_none():
    _, _, trials = parse(WIDTH, "--measures similarity random-direction".split())
    assert {t.measures for t in trials} == {("random-direction", "similarity")}
    _, _, trials = parse(WIDTH, "--measures none --probes none".split())
    assert {(t.measures, t.probes) for t in trials} == {((), None)}


def test_networks_that_only_an_unused_field_tells_apart_are_one():
    words = "--optimizer adam sgd --momentum 0 0.9 --matching none --seed 0 --width 1"
    _, _, trials = parse(WIDTH, words.split())
    recipes = [trial.pair.recipe for trial in trials]
    assert [(r.optimizer, r.momentum) for r in recipes] == [
        ("adam", 0.9),
        ("sgd", 0.0),
        ("sgd", 0.9),
    ]


def test_an_option_of_an_architecture_at_its_usual_value_is_no_other_network():
    words = "--depth 2 3 --heads 4 --positions learned --seed 0 --matching none --form trained"
    _, _, trials = parse(SWEEPS["transformer"], [*words.split(), "--spawn-epoch", "none"])
    assert [trial.pair.a.options for trial in trials] == [{}, {"depth": 3}]
    words = "--activation relu tanh --seed 0 --matching none --width 1"
    _, _, trials = parse(WIDTH, words.split())
    assert [trial.pair.a.options for trial in trials] == [{}, {"activation": "tanh"}]


@pytest.mark.parametrize("name", [*DEFAULTS, *RECIPE_AXES])
def test_every_axis_is_an_option(name, capsys):
    option = f"--{name.replace('_', '-')}"
    assert refused(capsys, option) == (
        f"error: {Path(sys.argv[0]).name}: argument {option}: expected at least one argument"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--momentum 0.5 --optimizer adam",
            "axis momentum has no effect here: only optimizer 'sgd' has momentum, got",
        ),
        (
            "--milestones 0.5 --schedule cosine",
            "milestones has no effect here: only schedule 'step' has milestones, got 'cosine'",
        ),
        (
            "--widht 1",
            "error: unknown option '--widht'",
        ),
        ("--width 0", "error: width must be a positive number, got 0.0"),
        ("--width -1", "error: width must be a positive number, got -1.0"),
        ("--width 1/0", "argument --width: invalid number value: '1/0'"),
        ("--width nan", "error: width must be a positive number, got nan"),
        ("--seed 1.5", "argument --seed: invalid integer value: '1.5'"),
        ("--augment maybe", "argument --augment: invalid true/false value: 'maybe'"),
        (
            "--spawn-epoch 10000",
            "spawn_epoch must be None or in [0, epochs=",
        ),
        (
            "--spawn-epoch 1 --spawn-step 30",
            "error: spawn_epoch and spawn_step both say where a pair forks: one of them must be"
            " None, got 1 and 30",
        ),
        ("--matching weight", "did you mean 'weights'?"),
        ("--matching weights:efort=4", "error: matching 'weights' has no option 'efort': its opt"),
        ("--matching weights:effort=x", "error: effort of matching 'weights' must be a number, g"),
        ("--architecture resnt20", "did you mean 'resnet20'?"),
        ("--measures simlarity", "did you mean 'similarity'?"),
        ("--correction rest", "did you mean 'reset'?"),
        ("--norm bath", "did you mean 'batch'?"),
        ("--dataset fashion_mnist", "did you mean 'fashion-mnist'?"),
        ("--alphas 4", "error: alphas must be odd and at least 3, got 4"),
        ("--device gpu", "error: device must be auto, cpu or cuda, got 'gpu'"),
        ("--cpus-per-trial 0", "error: cpus_per_trial must be at least 1, got 0"),
        (
            "--gpus-per-trial nan",
            "error: gpus_per_trial must be 0, a fraction of a GPU or a whole number, got nan",
        ),
        (
            "--gpus-per-trial 1.5",
            "gpus_per_trial must be 0, a fraction of a GPU or a whole number, got 1.5",
        ),
        (
            "--gpus-per-trial 0 --device cuda",
            "gpus_per_trial must be more than 0 where device is cuda",
        ),
        ("--memory-per-trial 0", "memory_per_trial must be a positive number of GiB, got 0.0"),
        ("--node-timeout -1", "node_timeout must be a number >= 0, got -1.0"),
        ("--stop-after-failures 0", "error: stop_after_failures must be at least 1, got 0"),
        ("--address http://127.0.0.1:8265", "error: address must be HOST:PORT or auto, got 'http"),
        (
            "--name all",
            "error: name must consist of letters, digits, - and _, begin with a letter, and be",
        ),
        ("--name ../x", "neither 'all' nor 'networks', got '../x'"),
        (
            "--positions rotary",
            "error: mlp has no positions to choose: take another architecture: gpt",
        ),
        ("--lr 0", "error: lr must be a positive number, got 0.0"),
        ("--dataset king-jame", "did you mean 'king-james'?"),
        ("--dataset king-james", "architecture mlp takes images or rows, and the data set is of"),
        ("--architecture gpt", "architecture gpt takes tokens, and the data set is of images:"),
        (
            "--architecture gpt --dataset text:x --norm batch",
            "norm of gpt must be one of layer, rms",
        ),
        (
            "--architecture gpt --dataset modular-addition --augment true",
            "augment must be false for tokens, as modular-addition is of, got true",
        ),
        ("--shared-data 1.5", "error: shared_data must be in [0, 1] or None, got 1.5"),
        ("--shared-data 0 --split-by class", "unknown split_by 'class': choose from classes, samp"),
        ("--form folded", "unknown form 'folded': choose from canonical, trained"),
        ("--split-by classes", "axis split_by has no effect here: shared_data must be given, got"),
        (
            "--architecture gpt --dataset king-james --shared-data 0 --split-by classes",
            "split_by must be samples for tokens, as king-james is of, got classes",
        ),
    ],
)
def test_bad_input_is_one_line(words, message, capsys):
    assert message in refused(capsys, *words.split())


@pytest.mark.parametrize("name", GRIDS)
def test_every_sweep_lists_distinct_trials_and_has_its_question(name):
    sweep = SWEEPS[name]
    trials = trials_of(sweep)
    assert len(trials) == len(set(trials))
    assert sweep.name == name
    assert sweep.x in DEFAULTS
    assert "?" in sweep.question.splitlines()[0]
    if sweep.search is not None:  # whose further trials are asked for as it goes
        return
    assert len(trials) >= 4
    of = [t if hasattr(t, sweep.x) else t.pair for t in trials]
    assert len({getattr(each, sweep.x) for each in of}) > 1


def test_a_number_can_be_a_fraction():
    _, _, typed = parse(WIDTH, ["--width", "1/16", "3/4", "--seed", "0"])
    assert {trial.pair.width for trial in typed} == {0.0625, 0.75}


def test_every_sweep_has_a_target_that_says_its_question():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    targets = set(re.findall(r"^sweep-([a-z-]+): .*## .*\?", makefile, re.MULTILINE))
    assert targets == {name.replace("_", "-") for name in SWEEPS.keys() - {"smoke"}}


def test_the_matching_sweep_has_every_matcher_and_correction():
    sweep = SWEEPS["matching"]
    assert sorted(sweep.axes["matching"]) == sorted(MATCHERS)
    assert sorted(sweep.axes["correction"]) == sorted(CORRECTIONS)
