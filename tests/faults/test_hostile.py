"""Files that somebody made to do harm: one line or quarantined, and nothing is run or written.

What a checksum does not see, for whoever makes a file can make its checksum too.
"""

import hashlib
import json
import struct

import numpy as np
import pytest
import torch

from analysis.runs.params import params_of, trial_from_params
from llfc.codec import to_plain
from llfc.networks.store import Store, StoreWarning
from llfc.results import (
    BARRIERS,
    CURVE,
    PROFILE,
    Connection,
    connection_from_json,
    connection_to_json,
)
from llfc.specs import fingerprint
from sweeps.grid.grid import trials_of
from sweeps.record.measurement import (
    FIGURES,
    PROVENANCE,
    RESULTS,
    Measurement,
    load,
    save,
)
from sweeps.run.recorder import Recorder
from sweeps.run.worker import work
from sweeps.smoke import SMOKE
from tests.helpers.quick_cases import slow_unless

TRIAL = trials_of(SMOKE)[0]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def header(text, *, size=None, rest=b""):
    raw = text.encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + rest


def entry(shape, start, end):
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        header("{}", size=2**64 - 1),
        header("{}", size=2**63),
        header("[" * 100_000),
        header(json.dumps({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}), rest=bytes(12)),
        header(json.dumps({"a": entry([2**62], 0, 2**64)}), rest=bytes(8)),
        header(json.dumps({"__metadata__": {"llfc": '["x"]'}})),
        header(json.dumps({"__metadata__": {"llfc": "[null, 3]"}})),
        header(json.dumps({"__metadata__": []})),
    ],
    ids=["endless", "negative", "deep", "overlapping", "huge", "one", "types", "list"],
)
def test_a_crafted_header_is_quarantined(store, content):
    path = store.root / "networks/x.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.warns(StoreWarning, match=r"x\.safetensors quarantined as"):
        assert store.get_tensors("networks", "x") is None


def test_a_file_larger_than_the_memory_is_quarantined(store):
    path = store.root / "networks/x.safetensors"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(2**43)  # which takes no room
    with pytest.warns(StoreWarning, match="it is larger than the memory"):
        assert store.get_tensors("networks", "x") is None


def test_names_in_a_network_are_never_paths_and_its_trial_fails_in_one_line(store, tmp_path):
    for network in (TRIAL.pair.a, TRIAL.pair.b):
        store.save_network(network, {"../../../escaped": torch.zeros(2)})
    before = sorted(tmp_path.rglob("*"))
    place = {
        "store": str(store.root),
        "data_root": None,
        "cache": str(tmp_path),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "checkpoint_seconds": 120,
        "provenance": {},
    }
    job = {"name": "x", "stage": "trials", "record": json.loads(json.dumps(to_plain(TRIAL)))}
    failed = work([job], place)["ended"][0]["failed"]
    assert "does not fit data set" in failed
    assert "\n" not in failed
    new = set(tmp_path.rglob("*")) - set(before)
    assert {path.relative_to(store.root).parts[0] for path in new} == {"failures"}


def whole():
    """A connection as plain values, to be spoilt."""
    found = Connection(
        curve=dict.fromkeys(CURVE, np.zeros(3)),
        barriers=dict.fromkeys(BARRIERS, 0.5),
        layers=(),
        summaries={"llfc_error_mean": 0.1},
        tables={"similarity": {"layer": ["fc1"], "cka_ab": np.ones(1)}},
    )
    layer = {"name": "fc1", "baseline": 1.0, "baseline_std": 0.0}
    layer |= {name: [0.0, 1.0, 2.0] for name in PROFILE}
    return {**json.loads(connection_to_json(found)), "layers": [layer]}


def spoilt(*keys, value):
    """`whole()` as text, with `value` at the end of a path of keys."""
    raw = whole()
    *inner, last = keys
    at = raw
    for key in inner:
        at = at[key]
    at[last] = value
    return json.dumps(raw)


SPOILT = [
    "",
    "[]",
    "3",
    "null",
    "[" * 100_000,
    spoilt("curve", value=[]),
    spoilt("curve", "alpha", value="0"),
    spoilt("curve", "alpha", value="abc"),
    spoilt("curve", "alpha", value=[0.0, 10**400, 1.0]),
    spoilt("summaries", "llfc_error_mean", value=10**400),
    spoilt("curve", "alpha", value=["0", "0.5", "1"]),
    spoilt("curve", "alpha", value=[0.0, None, 1.0]),
    spoilt("layers", 0, "coef", value=["0", "0.5", "1"]),
    spoilt("tables", "similarity", "cka_ab", value="x"),
    spoilt("curve", "alpha", value=[[0.0], [0.5], [1.0]]),
    spoilt("curve", "alpha", value=[0.0, 1.0]),
    spoilt("curve", "alpha", value={"0": 1}),
    spoilt("barriers", value=[]),
    spoilt("barriers", value={"test_loss_chord": 0.5}),
    spoilt("barriers", "test_loss_chord", value="0.5"),
    spoilt("barriers", "test_loss_chord", value=None),
    spoilt("barriers", "../x", value=0.5),
    spoilt("layers", value=3),
    spoilt("layers", 0, value="fc1"),
    spoilt("layers", 0, "name", value=["fc1"]),
    spoilt("layers", 0, "coef", value=[0.0]),
    spoilt("layers", 0, "baseline", value=[0.0]),
    spoilt("layers", 0, "further", value=1),
    spoilt("tables", value=[]),
    spoilt("tables", "../../escaped", value={}),
    spoilt("tables", "similarity", "cka_ab", value=[1.0, 2.0]),
    spoilt("tables", "similarity", "layer", value=["fc1", 2]),
    spoilt("tables", "similarity", "further", value=[1.0]),
    spoilt("further", value=1),
]


def test_what_is_spoilt_below_was_whole():
    assert connection_from_json(json.dumps(whole())).layers[0].name == "fc1"


@pytest.mark.parametrize("text", SPOILT, ids=[text[-40:] for text in SPOILT])
def test_a_result_of_wrong_types_is_one_line(text):
    with pytest.raises(ValueError, match="not a connection") as said:
        connection_from_json(text)
    assert "\n" not in str(said.value)


class Listening:
    """A tracker that takes everything."""

    def __init__(self):
        self.logged = []

    def log(self, trial, measurement):
        self.logged.append(measurement)

    def log_network(self, network, history):
        assert history == {}


def recorded(store):
    tracker = Listening()
    with Recorder(tracker, store) as recorder:
        recorder.record(TRIAL)
    return tracker.logged, recorder.failed


@pytest.mark.filterwarnings("ignore:store:llfc.networks.store.StoreWarning")
def test_a_result_that_is_none_is_quarantined_and_so_measured_again(store):
    store.put_text(RESULTS, fingerprint(TRIAL), spoilt("layers", value=3))
    logged, failed = recorded(store)
    assert logged == []
    assert "run the sweep again" in failed[TRIAL]
    assert store.get_text(RESULTS, fingerprint(TRIAL)) is None


@pytest.mark.parametrize("text", slow_unless(["["], ["[", "[]", "3", "[" * 100_000]))
def test_provenance_and_figures_that_are_none_are_done_without(store, text):
    store.put_text(RESULTS, fingerprint(TRIAL), json.dumps(whole()))
    store.put_text(PROVENANCE, fingerprint(TRIAL), text)
    store.put_tensors(FIGURES, fingerprint(TRIAL), {"curve": torch.zeros(2)}, {})
    logged, failed = recorded(store)
    assert failed == {}
    (measurement,) = logged
    assert measurement.tags == {}
    assert measurement.figures["curve"].startswith(b"\x89PNG")  # drawn anew


def test_a_figures_name_is_no_path(store):
    found = connection_from_json(json.dumps(whole()))
    save(store, TRIAL, Measurement.of(found, {}, {"curve": b"x"}))
    assert load(store, TRIAL).figures == {"curve": b"x"}
    store.put_files(FIGURES, fingerprint(TRIAL), {"../../escaped": b"x"})
    assert load(store, TRIAL).figures is None


@pytest.mark.parametrize("text", ["(0.5,", "(" * 10_000, "-" * 100_000 + "1", "__import__('os')"])
def test_a_parameter_that_is_code_is_not_run(text):
    params = {name: str(value) for name, value in params_of(TRIAL).items()}
    assert trial_from_params(params) == TRIAL
    with pytest.raises(ValueError, match=r"recipe\.milestones must be tuple"):
        trial_from_params({**params, "recipe.milestones": text})


def test_a_checksum_that_fits_is_not_trusted_with_pickles(store):
    """What torch.save writes, under a name and a checksum that fit, is not opened as such."""
    path = store.root / "networks/x.safetensors"
    path.parent.mkdir(parents=True)
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.warns(StoreWarning):
        assert store.get_tensors("networks", "x") is None
    content = b"cposix\nsystem\n(S'touch escaped'\ntR."
    digest = hashlib.blake2b(content, digest_size=16).hexdigest().encode()
    (store.root / RESULTS).mkdir()
    (store.root / RESULTS / f"{fingerprint(TRIAL)}.txt").write_bytes(digest + b"\n" + content)
    with pytest.raises(ValueError, match="not a connection"):
        connection_from_json(store.get_text(RESULTS, fingerprint(TRIAL)))
