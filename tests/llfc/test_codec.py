"""Records come back as they went in, and what is no such record is refused in one line."""

import dataclasses
import json
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from llfc.codec import from_plain, from_text, to_json, to_plain


@dataclasses.dataclass(frozen=True)
class Inner:
    name: str
    share: float = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Outer:
    inner: Inner
    places: tuple[int, ...]
    limit: int | None
    columns: Mapping[str, NDArray[np.float64] | list[str]]
    inners: tuple[Inner, ...] = ()
    plain: bool = False


WHOLE = Outer(
    inner=Inner("a", 1 / 3),
    places=(1, 2),
    limit=None,
    columns={"word": ["x", "y"], "number": np.array([0.1, np.inf])},
    inners=(Inner("b"),),
)


def test_a_record_survives_as_json():
    back = from_plain(Outer, json.loads(to_json(WHOLE)))
    assert (back.inner, back.places, back.inners) == (WHOLE.inner, (1, 2), WHOLE.inners)
    assert back.columns["word"] == ["x", "y"]
    assert back.columns["number"].tolist() == [0.1, np.inf]
    assert to_json(back) == to_json(WHOLE)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("inner", 3, "inner must be Inner, got 3"),
        ("inner", {"name": 3}, "inner name must be str, got 3"),
        ("inner", {}, "inner .* missing 1 required .* 'name'"),
        ("places", [1, "2"], "places must be int, got '2'"),
        ("places", 1, "places must be tuple, got 1"),
        ("limit", "7", "limit must be int, got '7'"),
        ("columns", {"x": [1, "y"]}, "columns must be str, got 1"),
        ("columns", [], "columns must be Mapping, got \\[\\]"),
        ("plain", 1, "plain must be bool, got 1"),
        ("further", 1, "Outer has no field 'further'"),
    ],
)
def test_what_is_of_another_type_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        from_plain(Outer, {**to_plain(WHOLE), field: value})


def test_a_number_that_is_too_large_is_none():
    with pytest.raises(ValueError, match="share must be float"):
        from_plain(Inner, {"name": "a", "share": 10**400})


@pytest.mark.parametrize(
    ("kind", "text"), [(int, "5.0"), (bool, "1"), (tuple[int, ...], "(1, 'a')")]
)
def test_text_of_another_type_is_refused(kind, text):
    with pytest.raises(ValueError, match=r"^must be "):
        from_text(kind, text)
