"""Misalignment: the function stays, and as many units move, or as far, as the dose says."""

import dataclasses
import math

import pytest
import torch

from llfc import Transform, canonical, permutation_spec
from llfc.seeds import stream
from llfc.specs import fingerprint
from llfc.symmetry.transform.misalignment import exchanged, misaligned, rotated
from llfc.trial import check_trial
from tests.helpers.kinds_by_hand import network
from tests.helpers.named_trials import TRIAL
from tests.helpers.quick_cases import slow_unless
from tests.helpers.trainable_networks import DATA
from tests.llfc.test_trial_form import pair_of_perceptrons


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 1])
def test_a_share_of_the_units_moves_and_more_at_a_larger_share(share):
    index = exchanged(20, share, stream(3, "units"))
    assert sorted(index.tolist()) == list(range(20))
    moved = {unit for unit, source in enumerate(index.tolist()) if source != unit}
    assert len(moved) == round(share * 20)
    larger = exchanged(20, 1, stream(3, "units"))
    assert moved <= {unit for unit, source in enumerate(larger.tolist()) if source != unit}


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_every_vector_turns_by_the_angle(share):
    turned = rotated(6, share, stream(0, "planes"))
    x = torch.randn(6, 9, dtype=torch.float64, generator=stream(1, "x"))
    torch.testing.assert_close((turned @ x).norm(dim=0), x.norm(dim=0))
    cosines = (x * (turned @ x)).sum(0) / x.square().sum(0)
    wanted = math.cos(share * math.pi / 2)
    torch.testing.assert_close(cosines, torch.full_like(cosines, wanted))


def canonical_gpt():
    model, *inputs, _ = network("gpt")
    model = canonical(model, *inputs).double()
    return model, inputs, permutation_spec(model, *inputs)


@pytest.mark.parametrize("of", slow_unless(["transform"], ["permutation", "transform"]))
def test_the_function_stays_and_one_group_alone_moves(of):
    model, inputs, spec = canonical_gpt()
    state = model.state_dict()
    found = spec.random(0) if of == "permutation" else Transform.random(spec, 0)
    before_it = as_transform(found, spec)
    (stream_group,) = (name for name, kind in spec.kinds.items() if kind == "orthogonal")
    (units,) = (name for name in spec.groups if name.endswith("mlp.hidden"))
    with torch.no_grad():
        before = model(*inputs)
        for share, group in ((0, "all"), (0.8, "all"), (1, stream_group), (1, units)):
            other = misaligned(found, spec, share, group, seed=0)
            angle = share * math.pi / 2 if group in ("all", stream_group) else 0
            assert isinstance(other, Transform if angle else type(found))
            other = as_transform(other, spec)
            same = [name for name in spec.groups if equal(other[name], before_it[name])]
            assert len(same) == {"all": 0 if share else len(other)}.get(group, len(other) - 1)
            turn = other[stream_group].as_matrix() @ before_it[stream_group].as_matrix().T
            cosine = torch.full((len(turn),), math.cos(angle), dtype=turn.dtype)
            torch.testing.assert_close(turn.diagonal(), cosine)
            model.load_state_dict(other.apply(state))
            torch.testing.assert_close(model(*inputs), before)
            model.load_state_dict(state)


def as_transform(found, spec):
    return found if isinstance(found, Transform) else Transform.of_permutation(spec, found)


def equal(one, other):
    return torch.equal(one.as_matrix(), other.as_matrix())


def test_a_dose_of_nothing_is_the_trial_without_it():
    none = dataclasses.replace(TRIAL, misalignment=0, misaligned="hidden1")
    assert none == TRIAL
    assert fingerprint(none) == fingerprint(TRIAL)


def test_what_is_no_share_and_no_group_is_refused_before_training():
    with pytest.raises(ValueError, match=r"^misalignment must be in \[0, 1\], got 1.5$"):
        dataclasses.replace(TRIAL, misalignment=1.5)
    trial = dataclasses.replace(TRIAL, pair=pair_of_perceptrons(), misalignment=0.5)
    check_trial(trial, DATA)
    with pytest.raises(ValueError, match=r"^unknown group of units 'hiden1': .* 'hidden1'\?$"):
        check_trial(dataclasses.replace(trial, misaligned="hiden1"), DATA)
