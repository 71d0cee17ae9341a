"""Trials of networks in their canonical form: the same ends, another line between them."""

import dataclasses

import pytest

from llfc.matching.cached import PERMUTATIONS
from llfc.networks.spawning import train_network
from llfc.networks.store import Store
from llfc.specs import Pair, fingerprint, permutation_name
from llfc.trial import check_trial, run_trial
from tests.helpers.trainable_networks import DATA, network
from tests.llfc.test_tasks_trial import counting, trial_of

# Independent, or the line would be nearly flat in both forms.
TRAINED = dataclasses.replace(
    trial_of(), pair=dataclasses.replace(trial_of().pair, spawn_epoch=None)
)
CANONICAL = dataclasses.replace(TRAINED, form="canonical")
TRIALS = (TRAINED, CANONICAL)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What both forms find, and the names of the permutations that are then in the store."""
    store, data = Store(tmp_path_factory.mktemp("store")), counting()
    for each in (TRAINED.pair.a, TRAINED.pair.b):
        train_network(each, store, data)
    return [run_trial(trial, store, data) for trial in TRIALS], store.names(PERMUTATIONS)


@pytest.mark.slow
def test_the_ends_are_the_same_functions_and_the_line_between_them_is_another(found):
    (trained, canonical), _ = found
    one, other = (each.curve["test_loss"] for each in (trained, canonical))
    assert other[[0, -1]] == pytest.approx(one[[0, -1]], rel=1e-4)
    assert abs(other[1] - one[1]) > 1e-3
    assert [x.name for x in canonical.layers] == [x.name for x in trained.layers]


@pytest.mark.slow
def test_each_form_has_a_permutation_of_its_own(found):
    _, names = found
    mine = [[name for name in names if f"{permutation_name(trial)}-" in name] for trial in TRIALS]
    assert sorted(map(len, mine)) == [1, 1]
    assert mine[0] != mine[1]


def pair_of_perceptrons():
    one = network()
    fields = {field.name for field in dataclasses.fields(Pair)} & vars(one).keys()
    return Pair(**{name: getattr(one, name) for name in fields})


def test_a_network_without_such_a_form_is_refused_before_training():
    trial = dataclasses.replace(CANONICAL, pair=pair_of_perceptrons())
    line = rf"^trial {fingerprint(trial)}: canonical: .* has no norm over hidden units to fold$"
    with pytest.raises(ValueError, match=line):
        check_trial(trial, DATA)
    check_trial(dataclasses.replace(trial, form="trained"), DATA)
