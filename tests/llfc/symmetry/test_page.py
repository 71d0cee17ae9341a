"""The page that explains the derivation prints what the code prints."""

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "symmetry.md"


@pytest.mark.slow
def test_the_page_on_the_derivation_is_true():
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted > 20
    assert not found.failed
