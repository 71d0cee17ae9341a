"""The table of rules: every name is an operator's, every rule is in it."""

import importlib
import inspect

import pytest
import torch

from llfc.symmetry.layouts.layout import Value
from llfc.symmetry.rules.calls import Call
from llfc.symmetry.rules.registry import LOOKUPS, OPERATORS, PICKING, RULES

MODULES = ("draws", "elementwise", "indexing", "order", "products", "spatial", "views")
PYTHONS = {"getitem"}  # operator.getitem takes one of the results of a call: no operator of ATen


def is_rule(function):
    signature = inspect.signature(function)
    given = [parameter.annotation for parameter in signature.parameters.values()]
    return given == [Call] and signature.return_annotation is Value


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_name_is_an_operator_of_aten(name):
    found = any(hasattr(torch.ops.aten, each) for each in (name, f"{name}_"))
    assert found != (name in PYTHONS)


def test_no_operator_has_two_rules():
    names = [name for names in OPERATORS.values() for name in names.split()]
    assert len(names) == len({*names}) == len(RULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_rule_is_in_the_table(module):
    found = importlib.import_module(f"llfc.symmetry.rules.{module}")
    rules = {
        function
        for name, function in inspect.getmembers(found, inspect.isfunction)
        if function.__module__ == found.__name__ and is_rule(function)
    }
    own = {rule for rule in OPERATORS if rule.__module__ == found.__name__}
    assert rules == own


def test_what_rules_know_of_is_said_of_operators_that_have_rules():
    assert LOOKUPS <= RULES.keys()
    assert PICKING <= RULES.keys()
