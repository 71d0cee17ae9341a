"""Laws of permutations and specs: dense matrices, inverses, composition, files, refusals."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

from llfc.symmetry.spec import Factor, Permutation, PermutationSpec

HEADS = (Factor(2, ("heads",)), Factor(3, ("inner[0]", "inner[1]")))
ORDER = (2, 4, 0, 3, 1)  # units 2, 0, 3 and 1 of "wide", and at place 1 what does not move
ARRANGED = (Factor(5, order=ORDER, inside=((Factor(4, ("wide",)),), (Factor(1),))),)
INNER = (Factor(6, order=(0, 3, 1, 4, 2, 5), inside=(HEADS,)),)  # heads vary faster than units
SPEC = PermutationSpec(
    groups={"heads": 2, "inner[0]": 3, "inner[1]": 3, "wide": 4},
    axes={
        "query": ((HEADS, (Factor(4),)), ((Factor(2), Factor(4, ("wide",))),)),
        "mixed": ((ARRANGED,),),
        "scalar": (),
        "folded": ((HEADS,),),
        "inner": ((INNER,),),
    },
)
STATE = {
    "query": torch.randn(10, 8, dtype=torch.float64),
    "mixed": torch.randn(5),
    "scalar": torch.tensor(3),
    "folded": torch.randn(2, 3),
    "inner": torch.randn(6),
}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("seed", range(5))
def test_composition_is_one_after_the_other(seed):
    first, second = SPEC.random(seed), SPEC.random(seed + 100)
    both = SPEC.compose(first, second)
    assert same(SPEC.apply(both, STATE), SPEC.apply(second, SPEC.apply(first, STATE)))


@pytest.mark.parametrize("seed", range(5))
def test_inverse_undoes(seed):
    perm = SPEC.random(seed)
    assert SPEC.compose(perm, SPEC.inverse(perm)) == SPEC.identity()
    assert SPEC.compose(SPEC.inverse(perm), perm) == SPEC.identity()
    assert same(SPEC.apply(SPEC.inverse(perm), SPEC.apply(perm, STATE)), STATE)


def test_nested_units_follow_the_group_of_their_new_head():
    perm = {**SPEC.identity(), "heads": torch.tensor([1, 0]), "inner[0]": torch.tensor([2, 0, 1])}
    moved = SPEC.apply(perm, STATE)["folded"]
    assert torch.equal(moved[0], STATE["folded"][1, [2, 0, 1]])
    assert torch.equal(moved[1], STATE["folded"][0])


def test_arranged_units_go_where_their_group_says():
    perm = {**SPEC.identity(), "wide": torch.tensor([3, 1, 0, 2])}
    unit = {0: 2, 1: 4, 2: 0, 3: 3}  # where each unit lies
    moved, old = SPEC.apply(perm, STATE)["mixed"], STATE["mixed"]
    assert moved[1] == old[1]
    for new, source in enumerate([3, 1, 0, 2]):
        assert moved[unit[new]] == old[unit[source]]


def test_heads_that_vary_faster_move_as_if_turned():
    perm, state = SPEC.random(3), STATE | {"folded": STATE["inner"].reshape(3, 2).T.contiguous()}
    moved = SPEC.apply(perm, state)
    assert torch.equal(moved["inner"].reshape(3, 2).T, moved["folded"])


def test_apply_equals_dense_matrices():
    spec = PermutationSpec(
        {"a": 4, "b": 3},
        {"w": (((Factor(4, ("a",)),),), ((Factor(3, ("b",)), Factor(2)),))},
    )
    perm, weight = spec.random(0), torch.randn(4, 6, dtype=torch.float64)
    rows, columns = torch.eye(4).double()[perm["a"]], torch.eye(3).double()[perm["b"]]
    expected = rows @ weight @ torch.kron(columns, torch.eye(2).double()).T
    assert torch.equal(spec.apply(perm, {"w": weight})["w"], expected)


def test_positions_of_units():
    query, wide = SPEC.axes["query"]
    assert SPEC.positions(query, "heads").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert SPEC.positions(query, "inner[1]").tolist() == [[3], [4], [5]]
    assert SPEC.positions(wide, "wide").tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert SPEC.positions(SPEC.axes["mixed"][0], "wide").tolist() == [[2], [4], [0], [3]]
    assert SPEC.positions(SPEC.axes["inner"][0], "heads").tolist() == [[0, 2, 4], [1, 3, 5]]
    assert SPEC.positions(wide, "heads").shape == (2, 0)


def test_random_is_seeded_and_identity_moves_nothing():
    assert SPEC.random(1) == SPEC.random(1) != SPEC.random(2)
    assert SPEC.identity().moved() == 0
    assert same(SPEC.apply(SPEC.identity(), STATE), STATE)


def test_apply_shares_no_memory():
    moved = SPEC.apply(SPEC.identity(), STATE)
    assert all(moved[n].data_ptr() != STATE[n].data_ptr() for n in STATE)


def test_record_is_no_part_of_equality():
    assert Permutation({"g": torch.arange(2)}, record={"objective": 1.0}) == Permutation(
        {"g": torch.arange(2)}
    )


def test_a_permutation_saved_and_loaded_is_the_same_with_all_that_was_said_of_it(tmp_path):
    left_out = {"heads": "no feature was read: naïve"}
    perm = Permutation(SPEC.random(3), {"objective": 1 / 3}, left_out)
    perm.save(tmp_path / "perm.safetensors")
    loaded = Permutation.load(tmp_path / "perm.safetensors")
    assert loaded == perm
    assert (loaded.record, loaded.left_out) == ({"objective": 1 / 3}, left_out)
    assert [path.name for path in tmp_path.iterdir()] == ["perm.safetensors"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("not tensors"),
        lambda path: save_file({"fc.weight": torch.zeros(2)}, path),
        lambda path: save_file({"group/fc": torch.tensor([0, 0])}, path),
    ],
)
def test_a_file_that_holds_no_permutation_is_refused(tmp_path, write):
    write(tmp_path / "perm.safetensors")
    with pytest.raises(ValueError, match="not a saved permutation: ") as caught:
        Permutation.load(tmp_path / "perm.safetensors")
    assert "\n" not in str(caught.value)


def test_saved_and_loaded(tmp_path):
    SPEC.save(tmp_path / "spec.json")
    assert PermutationSpec.load(tmp_path / "spec.json") == SPEC


@pytest.mark.parametrize("text", ["[]", "{}", "not json", json.dumps({"groups": {"g": None}})])
def test_a_file_that_holds_no_spec_is_refused(tmp_path, text):
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(ValueError, match="not a saved permutation spec"):
        PermutationSpec.load(tmp_path / "spec.json")


def whole_file():
    return json.loads(json.dumps(asdict(SPEC)))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda d: d["groups"].update(heads=float("inf")),
            "units of group 'heads' must be a",
        ),
        (lambda d: d["groups"].update(heads=3), "'query' has 2 units of group 'heads'"),
        (lambda d: d["groups"].pop("wide"), "unknown group 'wide'"),
        (lambda d: d["axes"].update(mixed="abc"), "mixed must be a list"),
        (lambda d: d["axes"]["mixed"][0][0][0]["order"].__setitem__(0, 9), "order must be a perm"),
        (lambda d: d["axes"]["mixed"][0][0][0]["order"].pop(), "4 places for 5 positions"),
        (lambda d: d["axes"]["mixed"][0][0][0].update(size=10**20), "must be an integer"),
        (lambda d: d["axes"]["mixed"][0][0].append({"size": 1}), "not alone on its axis"),
        (
            lambda d: d["axes"]["query"][0][0][1].update(groups=["wide"] * 3),
            "3 groups for 2 places",
        ),
        (lambda d: d["features"].update(other=[]), "features of an unknown group 'other'"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_in_one_line(tmp_path, change, match):
    data = whole_file()
    change(data)
    (tmp_path / "spec.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=match) as caught:
        PermutationSpec.load(tmp_path / "spec.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000])
def test_bytes_that_are_no_json_are_refused_in_one_line(tmp_path, data):
    (tmp_path / "spec.json").write_bytes(data)
    with pytest.raises(ValueError, match="not a saved permutation spec") as caught:
        PermutationSpec.load(tmp_path / "spec.json")
    assert "\n" not in str(caught.value)


def test_table_names_every_group_once():
    text = str(SPEC)
    assert "inner[*]" in text
    assert "2 x 3" in text
    assert "4 groups, 12 units, 5 tensors" in text


def test_table_names_every_axis_and_the_printed_one_says_how_many_more():
    axes = {f"w{k}": (((Factor(2, ("g",)),),),) for k in range(5)}
    spec = PermutationSpec({"g": 2}, axes)
    assert all(f"{name}:0" in spec.table() for name in axes)
    assert "w0:0, w1:0, w2:0 and 2 more" in str(spec)
    assert "w3" not in str(spec)
    assert repr(spec) == "PermutationSpec(1 group, 2 units, 5 tensors)"


@pytest.mark.parametrize(
    ("indices", "match"),
    [([0, 0], "must be a permutation"), ([1, 2], "must be a permutation")],
)
def test_not_a_permutation(indices, match):
    with pytest.raises(ValueError, match=match):
        Permutation({"g": torch.tensor(indices)})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("mixed"), "'mixed' of the spec is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "no tensor 'extra'"),
        (lambda s: s.update(mixed=torch.zeros(4)), "'mixed'"),
    ],
)
def test_a_state_of_another_network_is_refused(change, match):
    state = dict(STATE)
    change(state)
    with pytest.raises(ValueError, match=match) as caught:
        SPEC.apply(SPEC.identity(), state)
    assert "\n" not in str(caught.value)


def test_a_permutation_of_other_groups_is_refused():
    with pytest.raises(ValueError, match="only in the spec"):
        SPEC.apply({"heads": torch.arange(2)}, STATE)
    with pytest.raises(ValueError, match="has 4 units"):
        SPEC.apply({**SPEC.identity(), "wide": torch.arange(3)}, STATE)
