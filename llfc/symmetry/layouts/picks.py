"""Picked axes (`Pick`) in a contraction: each gets a letter of its own."""

from collections.abc import Sequence

from llfc.symmetry.layouts.layout import Layout, Pick


def with_picks(layout: Layout) -> Layout:
    """The tensor with its picked axes as dimensions, the last ones."""
    if not layout.picks:
        return layout
    return Layout(layout.space, (*layout.raw, *(pick.slots for pick in layout.picks)))


def pick_letters(layout: Layout, names: Sequence[str]) -> list[str]:
    """Letters of the picked axes: one for two tensors if the same index lies alike in both."""
    return [f"{p.index} at {','.join(names[d] for d in p.dims)}" for p in layout.picks]


def picks_of(
    inputs: Sequence[tuple[Layout, Sequence[str]]], result: Sequence[str]
) -> dict[str, Pick]:
    """The picked axes, by letter, that the result has too: all dimensions of the index remain."""
    found: dict[str, Pick] = {}
    for layout, names in inputs:
        for letter, pick in zip(pick_letters(layout, names), layout.picks, strict=True):
            at = [names[d] for d in pick.dims]
            if {*at} <= {*result}:
                found[letter] = Pick(pick.index, tuple(map([*result].index, at)), ())
    return found
