"""A pair is matched once by a matcher; what is kept is what was found, or it is found again."""

import copy
import dataclasses

import pytest
import torch

from llfc.matching import Permutation, cached, permutation_spec
from llfc.matching.cached import PERMUTATIONS, cached_permutation
from llfc.matching.record import FIELDS
from llfc.networks.store import Store, StoreWarning
from llfc.tasks import CLASSIFICATION
from tests.helpers.named_trials import PAIR, TRIAL
from tests.helpers.small_networks import convnet, samples


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A function from a trial to its permutation, and the list of what was matched anew."""
    a, b = convnet(0), convnet(1)
    images, _ = samples(12, (2, 7, 7))
    spec = permutation_spec(a, images[:2])
    store, anew = Store(tmp_path), []

    def counted(name, *rest):
        anew.append(name)
        return matching(name, *rest)

    matching = cached.match
    monkeypatch.setattr(cached, "match", counted)

    def find(trial, b=b):
        return cached_permutation(trial, a, b, spec, [images], store, CLASSIFICATION)

    find.b, find.anew, find.store = b, anew, store
    return find


def test_trials_that_differ_after_the_matching_share_it_with_its_record(found):
    first = found(TRIAL)
    assert first.moved()
    for changes in ({"correction": "reset"}, {"alphas": 3}, {"measures": ()}, {"limit_test": 5}):
        again = found(dataclasses.replace(TRIAL, **changes))
        assert again == first
        assert tuple(first.record) == FIELDS
        assert dict(again.record) == dict(first.record)  # to the bit, the seconds too
        assert again.left_out == first.left_out == {}
        assert again.definitions == first.definitions == {}
    assert found.anew == ["weights"]


def test_what_could_not_be_matched_is_said_again(found, monkeypatch):
    left_out = {"a group": "no value carries it, not even \N{GREEK SMALL LETTER ALPHA}"}
    said = {"features": "by the batch"}
    made = Permutation({"a group": torch.arange(3)}, {"seconds": 1.0}, left_out, said)
    monkeypatch.setattr(cached, "match", lambda *given: made)
    again = found(TRIAL)
    assert (again.left_out, again.definitions) == (left_out, said)
    monkeypatch.undo()
    again = found(TRIAL)
    assert (again.left_out, again.definitions) == (left_out, said)


@pytest.mark.slow
def test_another_matcher_pair_or_network_is_matched_anew(found):
    other = copy.deepcopy(found.b)
    with torch.no_grad():
        other.head.bias[0] += 1
    found(TRIAL)
    found(dataclasses.replace(TRIAL, matching="activations"))
    found(dataclasses.replace(TRIAL, pair=dataclasses.replace(PAIR, seed=1)))
    found(TRIAL, other)
    found(dataclasses.replace(TRIAL, matching="weights:effort=1"))
    assert found.anew == ["weights", "activations", "weights", "weights", "weights:effort=1"]
    assert len(found.store.names(PERMUTATIONS)) == 5


def test_a_damaged_permutation_is_quarantined_and_found_again(found):
    first = found(TRIAL)
    (path,) = (found.store.root / PERMUTATIONS).iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(StoreWarning, match="quarantined"):
        assert found(TRIAL) == first
    assert found(TRIAL) == first
    assert found.anew == ["weights", "weights"]
