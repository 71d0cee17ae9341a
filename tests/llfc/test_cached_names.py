"""What is cached under a name is not found again once the method that decides it is another.

One row for each kind of cached thing: how it gets there, and the counts of changes that decide it.
A kind that has no row fails, and so does a row whose name does not follow each of its counts.
"""

import ast
import dataclasses
import functools
import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from llfc.codec import to_plain
from llfc.data import imagefolder
from llfc.data.datasets import resolve_dataset
from llfc.matching import PermutationSpec, cached, permutation_spec
from llfc.matching.cached import PERMUTATIONS, cached_permutation
from llfc.networks import spawning
from llfc.networks.checkpoints import RUNNING
from llfc.networks.code import CODE
from llfc.networks.history import HISTORIES, History
from llfc.networks.store import NETWORKS, STATES, Store
from llfc.networks.training import TrainState
from llfc.specs import fingerprint, fingerprints
from llfc.tasks import CLASSIFICATION
from sweeps.record import measurement
from sweeps.record.measurement import FIGURES, PROVENANCE, RESULTS
from sweeps.run import worker
from sweeps.run.board import CANCEL, STATUS
from sweeps.run.storage import MARKS
from tests.helpers.named_trials import PAIR, TRIAL
from tests.helpers.picture_folders import picture_folder
from tests.helpers.small_networks import convnet
from tests.helpers.trainable_networks import DATA

ROOT = Path(__file__).parents[2]
FAILURES, FOLDERS = "failures", "decoded folders"


def network_names(store, folder):
    store.save_network(PAIR.a, {"w": torch.zeros(1)})
    return store.names(NETWORKS)


def state_names(store, folder):
    name = spawning._state_name(PAIR.a, 1)
    store.put_tensors(STATES, name, {"w": torch.zeros(1)}, {})
    return store.names(STATES)


def running_names(store, folder):
    states = spawning.checkpoints_of(PAIR.a, "0", store)
    states.keep(TrainState(0, {"w": torch.zeros(1)}, {}))
    return store.names(RUNNING)


def history_names(store, folder):
    History(PAIR.a, store, DATA, torch.nn.Identity(), (0, 0))._write({})
    return store.names(HISTORIES)


IMAGES = torch.zeros(2, 2, 7, 7, dtype=torch.float64)


@functools.cache
def symmetry():
    return permutation_spec(convnet(0), IMAGES)


def permutation_names(store, folder):
    a, b, x = convnet(0), convnet(1), IMAGES
    cached_permutation(TRIAL, a, b, symmetry(), [x], store, CLASSIFICATION)
    return store.names(PERMUTATIONS)


def measured(store, monkeypatch):
    """A trial done by a worker, whose measuring and drawing are cut short."""
    found = SimpleNamespace(barriers={"test_loss_chord": 0.0})
    monkeypatch.setattr(worker, "_dataset_of", lambda *given: DATA)
    monkeypatch.setattr(worker, "run_trial", lambda *given, **rest: found)
    monkeypatch.setattr(measurement, "connection_to_json", lambda found: "{}")
    monkeypatch.setattr(worker, "draw", lambda trial, found: {})
    monkeypatch.setattr(Store, "has", lambda self, network: True)
    job = {"stage": "trials", "name": "job", "record": to_plain(TRIAL)}
    place = {"store": str(store.root), "provenance": {}, "threads": 1, "device": "cpu"}
    worker._do(job, place, torch.device("cpu"))


def names_in(kind):
    def names(store, folder):
        with pytest.MonkeyPatch.context() as patch:
            measured(store, patch)
        return store.names(kind)

    return names


def folder_names(store, folder):
    pets = folder / "pets"
    if not pets.exists():
        picture_folder(pets)
    resolve_dataset(f"imagefolder:{pets}", folder / "cache")
    return [path.name for path in (folder / "cache").glob("listing-*")]


TRAINING, MATCHING, MEASURING = ((fingerprints, n) for n in ("TRAINING", "MATCHING", "MEASURING"))
DECODING, DRAWING = (imagefolder, "DECODING"), (measurement, "DRAWING")
METHODS = (TRAINING, MATCHING, MEASURING, DECODING)

KINDS = {
    NETWORKS: (network_names, [TRAINING]),
    STATES: (state_names, [TRAINING]),
    RUNNING: (running_names, [TRAINING]),
    HISTORIES: (history_names, [TRAINING]),
    PERMUTATIONS: (permutation_names, [TRAINING, MATCHING]),
    RESULTS: (names_in(RESULTS), [TRAINING, MATCHING, MEASURING]),
    PROVENANCE: (names_in(PROVENANCE), [TRAINING, MATCHING, MEASURING]),
    FIGURES: (names_in(FIGURES), [TRAINING, MATCHING, MEASURING]),  # and DRAWING, its room's
    FOLDERS: (folder_names, [DECODING]),  # its arrays are named after their content
}
PUTS = ("put_text", "put_tensors", "put_files")
BY_CONTENT = {CODE}  # named after a digest of itself
NEVER_READ = {FAILURES}  # for people; written over
OF_ONE_RUN = {MARKS}  # a driver's own, named after its process and gone when it ends
OF_ONE_SWEEP = {STATUS, CANCEL}  # how far it is now, and whether it is to stop


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_follows_the_method(kind, method, tmp_path, monkeypatch):
    names, decided_by = KINDS[kind]
    store = Store(tmp_path / "store")
    assert len(names(store, tmp_path)) == 1
    assert len(names(store, tmp_path)) == 1  # nothing changed: found again
    monkeypatch.setattr(*method, getattr(*method) + 1)
    assert len(names(store, tmp_path)) == 1 + (method in decided_by)


def test_the_folder_of_figures_follows_their_drawing():
    assert FIGURES.split("-") == ["pictures", str(measurement.DRAWING)]


def written_kinds():
    """The kinds that the store's `put_...` are called with, anywhere."""
    for package in ("llfc", "sweeps", "analysis"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                name = getattr(getattr(node, "func", None), "attr", "")
                if isinstance(node, ast.Call) and name in PUTS:
                    kind = node.args[0]
                    if getattr(kind, "id", "") == "kind":  # passed on
                        continue
                    if isinstance(kind, ast.Constant):
                        yield kind.value
                        continue
                    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                    yield getattr(importlib.import_module(module), kind.id)


@pytest.mark.slow
def test_every_kind_that_the_store_is_given_has_a_row():
    assert set(written_kinds()) == (
        (KINDS.keys() - {FOLDERS}) | BY_CONTENT | NEVER_READ | OF_ONE_RUN | OF_ONE_SWEEP
    )


def test_what_is_never_read_is_read_nowhere():
    for package in ("llfc", "sweeps", "analysis"):
        for path in (ROOT / package).rglob("*.py"):
            assert "get_text(" + json.dumps(FAILURES) not in path.read_text()


def test_a_permutation_follows_its_spec(tmp_path):
    """What more is known to move, or to be read, is matched anew."""
    a, b, spec = convnet(0), convnet(1), symmetry()
    bare = PermutationSpec(spec.groups, spec.axes)
    one, two, three = (cached._digest(each, a, b) for each in (spec, bare, spec))
    assert one == three != two


def test_equal_numbers_in_tensors_of_other_names_are_another_network():
    a, b = torch.nn.Module(), torch.nn.Module()
    a.one, b.two = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    bare = PermutationSpec({}, {})
    assert cached._digest(bare, a) != cached._digest(bare, b)


def test_names_follow_every_field_too():
    other = dataclasses.replace(TRIAL, limit_measured=7)
    assert fingerprints.permutation_name(TRIAL) != fingerprints.permutation_name(other)
    assert fingerprint(TRIAL) != fingerprint(other)
