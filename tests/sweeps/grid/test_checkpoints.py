"""Checkpoints of one's own in a sweep: every pair, and refusals before anything is measured."""

import pytest
import torch

from llfc.networks.architectures import build_network
from llfc.networks.spawning import load_network, train_network
from llfc.networks.store import Store
from llfc.networks.weightfiles import named_checkpoint
from llfc.seeds import stream
from sweeps import SWEEPS
from sweeps.checkpoints import CHECKPOINTS
from sweeps.grid.inputs import data_key, load_each
from sweeps.grid.options import parse
from sweeps.grid.study_file import sweeps_in
from sweeps.run.study import _check_checkpoints

WIDTH = "0.0625"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for number in range(3):
        model = build_network(
            "mlp",
            width=float(WIDTH),
            input_shape=(1, 28, 28),
            num_classes=10,
            generator=stream(number, "init"),
        )
        state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save(state, folder / f"{number}.pt")
    return [str(folder / f"{number}.pt") for number in range(3)]


def parsed(*words):
    return parse(CHECKPOINTS, [*words, "--matching", "none", "weights"])


def test_every_pair_of_files_with_every_matching(files):
    _, _, trials = parsed("--width", WIDTH, "--checkpoints", *files)
    assert len(trials) == 3 * 2
    networks = {network for trial in trials for network in (trial.pair.a, trial.pair.b)}
    assert len(networks) == 3


def test_a_checkpoint_is_the_network_and_is_never_trained(files, tmp_path, capsys):
    settings, _, trials = parsed("--width", WIDTH, "--checkpoints", *files, "--limit-train", "20")
    datasets = load_each(trials, settings)
    _check_checkpoints(trials, datasets)
    assert "checkpoint 0: stripped module." in capsys.readouterr().err
    network = trials[0].pair.a
    store, dataset = Store(tmp_path), datasets[data_key(network)]
    with pytest.raises(ValueError, match="is not in the store: run the sweep again"):
        train_network(network, store, dataset)
    store.save_network(network, named_checkpoint(network.weights).tensors)
    found = load_network(network, store, dataset).state_dict()
    given = torch.load(files[0], weights_only=True)
    assert all(torch.equal(found[n.removeprefix("module.")], t) for n, t in given.items())


def test_another_architecture_is_refused(files):
    settings, _, trials = parsed("--width", "0.125", "--checkpoints", *files)
    with pytest.raises(ValueError, match=r"^checkpoint 0: \S+ must be of shape"):
        _check_checkpoints(trials, load_each(trials, settings))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "checkpoints must be at least two files, got none"),
        (["--lr", "1"], "axis lr has no effect here: checkpoints are trained already"),
        (["--spawn-epoch", "1"], "axis spawn_epoch has no effect here"),
        (["--shared-data", "0"], "axis shared_data has no effect here"),
    ],
)
def test_what_is_no_sweep_of_checkpoints(files, words, said):
    given = ["--checkpoints", *files] if words else []
    with pytest.raises(ValueError, match=said):
        parsed(*words, *given)


def test_a_study_file_names_the_files(files, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(f"[checkpoints]\nwidth = {WIDTH}\ncheckpoints = {files}\n")
    (sweep,) = sweeps_in(study, SWEEPS)
    _, _, trials = parse(sweep, ["--config", str(study), "--matching", "none"])
    assert (
        trials
        == parse(CHECKPOINTS, ["--width", WIDTH, "--matching", "none", "--checkpoints", *files])[2]
    )
    assert len(trials) == 3
