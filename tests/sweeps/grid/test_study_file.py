"""A study file says what options say; what is typed wins; what it does not know is one line."""

import re
from pathlib import Path

import pytest

from sweeps import SWEEPS
from sweeps.__main__ import main
from sweeps.grid.grid import MEASURING
from sweeps.grid.options import parse
from sweeps.grid.study_file import sweeps_in, text_of, words_for
from sweeps.width import WIDTH

ROOT = Path(__file__).parents[3]
FAMILIES = sorted((ROOT / "docs" / "results" / "study").glob("*.toml"))
STUDY = """
storage = "/elsewhere"
alphas = 11

[width]
width = [0.5, 1]
spawn-epoch = [0, "none"]
milestones = [0.5, 0.75]
augment = true
schedule = "step"

[narrow]
base = "width"
question = "And in narrow ones?"
width = 0.0625
alphas = 5

[mine]
question = "Does the seed matter?"
x = "seed"
seed = [0, 1]
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def test_a_file_says_what_options_say(study):
    words = (
        "--width 0.5 1 --spawn-epoch 0 none --milestones 0.5 0.75 --augment true --schedule step"
        " --storage /elsewhere --alphas 11"
    )
    assert parse(WIDTH, ["--config", str(study)]) == parse(WIDTH, words.split())


def test_what_is_typed_wins(study):
    settings, changed, trials = parse(
        WIDTH, ["--config", str(study), "--width", "2", "--storage", "here"]
    )
    assert changed.axes["width"] == [2.0]
    assert settings.storage == "here"
    assert {trial.alphas for trial in trials} == {11}


def test_every_table_is_a_sweep(study):
    width, narrow, mine = sweeps_in(study, SWEEPS)
    assert width == WIDTH
    assert (narrow.name, narrow.x, narrow.question) == ("narrow", "width", "And in narrow ones?")
    assert (mine.name, mine.x, dict(mine.axes)) == ("mine", "seed", {})
    _, _, trials = parse(narrow, ["--config", str(study)])
    assert {(t.pair.width, t.alphas, t.pair.seed) for t in trials} == {
        (0.0625, 5, seed) for seed in WIDTH.axes["seed"]
    }
    _, _, trials = parse(mine, ["--config", str(study)])
    assert [trial.pair.seed for trial in trials] == [0, 1]


@pytest.mark.parametrize("name", sorted(SWEEPS.keys() - {"checkpoints"}))
def test_what_is_kept_is_read_as_the_same(name, tmp_path):
    words = "--seed 3 --milestones 0.25 --schedule step --measures none --limit-test 7"
    _, sweep, trials = parse(SWEEPS[name], words.split())
    path = tmp_path / "config.toml"
    path.write_text(text_of(sweep, {field: getattr(trials[0], field) for field in MEASURING}))
    (same,) = sweeps_in(path, {})
    _, changed, again = parse(same, words_for(name, path))
    assert again == trials
    assert (changed.question, changed.x) == (sweep.question, sweep.x)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width = [", "no TOML file: "),
        ("seed = 1", "must have at least one table"),
        ("[widht]\nseed = 1", "table [widht] must be called as one of the sweeps"),
        ('[mine]\nbase = "widht"', "did you mean 'width'?"),
        ("[width]\nwidht = 1", "unknown option '--widht'"),
        ("[width]\nwidth = 'wide'", "invalid number value: 'wide'"),
        ("[width]\nwidth = -1", "width must be a positive number"),
        ("[width]\nseed = []", "argument --seed: expected at least one argument"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_a_file_does_not_know_is_one_line(text, said, tmp_path, capsys):
    path = tmp_path / "study.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["run", "--config", str(path)])
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in err
    assert err.count("\n") == 1


def typed(text):
    """The commands in a text, as (sweep, words)."""
    made = re.findall(r'make\s+sweep-([\w-]+)\s+ARGS="([^"]+)"', text)
    scripts = re.findall(r"^sweeps/(\w+)\.py (.+)$", text, re.MULTILINE)
    return [(name.replace("-", "_"), words.split()) for name, words in made + scripts]


@pytest.mark.parametrize(
    ("text", "studies"),
    [
        ("docs/sweeps.md", ["sweeps/study.toml"]),
        ("docs/results/earlier.md", ["docs/results/results.toml", "docs/results/layer-norm.toml"]),
    ],
)
def test_the_studies_of_the_repository_are_the_commands_of_its_texts(text, studies):
    """Each table asks for the same trials, under the same name, as the command does."""
    commands, tables = [], []
    for name, words in typed((ROOT / text).read_text()):
        if not any(word.endswith(".pt") for word in words):  # files that only a reader has
            commands.append((name, parse(SWEEPS[name], words)[2]))
    for study in studies:
        for sweep in sweeps_in(ROOT / study, SWEEPS):
            settings, _, trials = parse(sweep, ["--config", str(ROOT / study)])
            tables.append((settings.name or sweep.name, trials))
    assert len(commands) == len(tables)
    assert all(command in tables for command in commands)
    assert all(table in commands for table in tables)


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_the_study_has_five_seeds_and_matched_pairs_of_every_family(path):
    trials = []
    for sweep in sweeps_in(path, SWEEPS):
        settings, _, found = parse(sweep, ["--config", str(path)])
        assert settings.name.startswith(f"study-{path.stem}")
        trials += found
    assert {trial.pair.seed for trial in trials} == {0, 1, 2, 3, 4}
    independent = [t for t in trials if t.pair.spawn_epoch is None and t.pair.spawn_step is None]
    assert {"none", "weights", "activations"} <= {trial.matching for trial in independent}
