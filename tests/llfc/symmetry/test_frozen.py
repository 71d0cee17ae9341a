"""What does not move is no symmetry, or has a line in `frozen` that says why it was held back."""

import copy
import itertools
from operator import itemgetter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.symmetry import permutation_spec
from tests.helpers.quick_cases import a_third_quick
from tests.helpers.wired_networks import Net, between

UNITS = 6
fixed = torch.arange(UNITS)
order = torch.tensor([4, 2, 0, 5, 1, 3])
pairs = torch.tensor([[0, 2], [1, 0]])
line = torch.linspace(-1, 1, 4)
places = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).expand(2, -1, -1, -1)


def as_images(function):
    return lambda h: function(h.view(2, 1, 2, 3)).flatten(1)


def as_sequences(function):
    return lambda h: function(h[:, None]).flatten(1)


def halves_after_a_write(h):
    h = h * 2
    h[:, :3].add_(1)
    return h[:, :3] * h[:, 3:]


def halves_of_a_view(h):
    h = h.view(2, 2, 3)
    return h[:, 0] * h[:, 1]


def halves_in_heads(h):
    h = h.view(2, 2, 3)
    return (h[:, :1] * h[:, 1:]).flatten(1)


# One or more of every rule that can hold units in place, and some that cannot.
OPERATORS = {
    "sum so far": lambda h: h.cumsum(-1),
    "product so far": lambda h: h.cumprod(-1),
    "largest so far": lambda h: h.cummax(-1)[0],
    "log sum so far": lambda h: h.logcumsumexp(-1),
    "sorted": lambda h: h.sort(-1)[0],
    "order": lambda h: h.argsort(-1).float(),
    "order and values": lambda h: torch.cat([h.sort(-1)[0], h.sort(-1)[1].float()], 1),
    "ranks": lambda h: h.argsort(-1).argsort(-1).float(),
    "ranks beside": lambda h: h + h.sort(-1)[0],
    "largest three": lambda h: h.topk(3)[0],
    "places of three": lambda h: h.topk(3)[1].float(),
    "looked up in order": lambda h: h.gather(1, h.argsort(-1)),
    "place of the largest": lambda h: h.argmax(-1, keepdim=True).float(),
    "place of the middle": lambda h: h.median(-1, keepdim=True)[1].float(),
    "place of the third": lambda h: h.kthvalue(3, keepdim=True)[1].float(),
    "most frequent": lambda h: h.mode(-1, keepdim=True)[1].float(),
    "one of all": lambda h: F.one_hot(h.argmax(-1), UNITS).float(),
    "a row of its own": lambda h: torch.eye(UNITS)[h.argmax(-1)],
    "below the diagonal": lambda h: (h[:, :, None] * h[:, None]).tril().sum(-1),
    "reflected": lambda h: F.pad(h, (1, 2), mode="reflect"),
    "padded": lambda h: F.pad(h, (1, 2), value=0.5),
    "cut": lambda h: F.pad(h, (-1, 1)),
    "windows": lambda h: h.unfold(1, 2, 1).amax(-1),
    "windows over all": lambda h: h.unfold(1, UNITS, 1).amax(-1),
    "pool": as_sequences(lambda h: F.max_pool1d(h, 3)),
    "pool over all": as_sequences(lambda h: F.max_pool1d(h, UNITS)),
    "pool to two": as_sequences(lambda h: F.adaptive_avg_pool1d(h, 2)),
    "pool to as many": as_sequences(lambda h: F.adaptive_avg_pool1d(h, UNITS)),
    "kernel": as_sequences(lambda h: F.conv1d(h, torch.tensor([[[1.0, 2.0]]]))),
    "kernel of one": as_sequences(lambda h: F.conv1d(h, torch.tensor([[[2.0]], [[3.0]]]))),
    "kernel that grows": as_sequences(
        lambda h: F.conv_transpose1d(h, torch.ones(1, 1, 1), stride=2)
    ),
    "resolution": as_sequences(lambda h: F.interpolate(h, scale_factor=2.0)),
    "resolution of images": as_images(lambda h: F.interpolate(h, (3, 4), mode="bilinear")),
    "between pixels": as_images(lambda h: F.grid_sample(h, places, align_corners=True)),
    "patches": as_images(lambda h: F.unfold(h, (1, 2))),
    "patches and back": as_sequences(lambda h: F.fold(h.view(2, 2, 3), (1, 4), (1, 2))),
    "shuffled pixels": lambda h: F.pixel_shuffle(h[:, :4, None, None], 2).flatten(1),
    "boundaries": lambda h: torch.bucketize(h, torch.tensor([-0.5, 0.5])).float(),
    "complex pairs": lambda h: torch.view_as_complex(h.view(2, 3, 2)).abs(),
    "written by number": lambda h: torch.zeros(2, UNITS).scatter(1, pairs, h[:, :2]),
    "added by number": lambda h: torch.zeros(2, UNITS).index_add(1, order, h),
    "put by number": lambda h: h.index_put(
        (torch.tensor([0, 1]), torch.tensor([1, 2])), torch.ones(2)
    ),
    "filled by number": lambda h: h.index_fill(1, torch.tensor([1, 2]), 0.5),
    "read by number": lambda h: h[:, order],
    "read by mask": lambda h: h[:, order > 2],
    "one by one": lambda h: torch.stack([h[:, k] for k in range(UNITS)], 1).relu(),
    "one": lambda h: h[:, :1].expand(-1, 3),
    "differences": lambda h: h.diff(),
    "halves": lambda h: h[:, :3] * h[:, 3:],
    "halves, the larger": lambda h: torch.maximum(*h.chunk(2, 1)),
    "halves in pixels": as_images(lambda h: h[..., :1, :] + h[..., 1:, :]),
    "halves in heads": halves_in_heads,
    "halves, selected": halves_of_a_view,
    "halves, apart": lambda h: torch.cat([h[:, :2] * h[:, 2:4], h[:, 4:]], 1),
    "halves, one gated": lambda h: h[:, :3] * h[:, 3:].sigmoid(),
    "halves, weighted": lambda h: torch.add(h[:, :3], h[:, 3:], alpha=2),
    "halves, one seen": lambda h: torch.cat([h[:, :3] * h[:, 3:], h[:, :3]], 1),
    "halves, one overwritten": halves_after_a_write,
    "around": lambda h: h.roll(1, 1) + h,
    "by a constant": lambda h: h * (fixed // 2),
    "matrix": lambda h: (h.view(2, 2, 3) @ h.view(2, 3, 2)).flatten(1),
    "statistics": lambda h: (
        torch.native_batch_norm(h, None, None, None, None, True, 0.1, 1e-5)[1] + h
    ),
    "norm in groups": lambda h: F.group_norm(h, 2),
    "frequencies": lambda h: torch.fft.fft(h).real,
    "masked writes": lambda h: h.masked_scatter(h > 0, h.flip(-1)),
    "rotations": lambda h: torch.linalg.qr(h.view(2, 2, 3)).Q.flatten(1),
    "two in a row": lambda h: h.cumsum(-1).flip(-1).tril(),
}


def orbits(spec):
    """For each unit the units in whose places the spec's permutations put it."""
    found = {k: {k} for k in range(UNITS)}
    for seed in range(40):
        index = spec.index(spec.random(seed), spec.axes["first.weight"][0]).tolist()
        for new, old in enumerate(index):
            found[old].add(new)
    return found


def columns(function, h):
    """What each entry of the result is, over many inputs; entries in no order."""
    rows = torch.cat([function(part) for part in h.split(2)])
    return sorted(rows.T.round(decimals=6).tolist())


@pytest.mark.parametrize("operator", a_third_quick(OPERATORS))
def test_what_does_not_move_has_a_line_or_is_no_symmetry(operator):
    """Brute force over all swaps: one that only rearranges what comes next is a symmetry."""
    torch.manual_seed(0)
    function = OPERATORS[operator]
    out = function(torch.randn(2, UNITS)).shape[1]
    model, (x,) = between(function, UNITS, out)
    spec = permutation_spec(model, x, strict=False)
    assert all(": " in line for line in spec.frozen)
    moving, h = orbits(spec), torch.randn(10, UNITS)
    for i, j in itertools.combinations(range(UNITS), 2):
        swap = list(range(UNITS))
        swap[i], swap[j] = j, i
        free = columns(function, h) == columns(function, h[:, itemgetter(*swap)(fixed)])
        assert j in moving[i] or not free or spec.frozen, (i, j)


HELD = ("sum so far", "order", "ranks", "places of three", "reflected", "windows", "pool", "kernel")


@pytest.mark.parametrize("operator", a_third_quick(HELD))
def test_what_a_rule_holds_back_has_its_reason(operator):
    torch.manual_seed(0)
    function = OPERATORS[operator]
    model, (x,) = between(function, UNITS, function(torch.randn(2, UNITS)).shape[1])
    spec = permutation_spec(model, x)
    assert not [n for n in spec.groups.values() if n == UNITS]
    assert [found for found in spec.frozen if found.startswith("units of first: aten.")]


@pytest.mark.parametrize("table", ["parameter", "embedding", "positions"])
def test_places_of_an_embedding_beyond_the_example_stay(table):
    """They are read by longer inputs, on which the permuted network is the same function too."""

    def forward(m, x):
        length = x.shape[1]
        where = {
            "parameter": lambda: m.table.weight[:length],
            "embedding": lambda: m.table(torch.arange(length)),
            "positions": lambda: m.table(torch.arange(12).flip(0)[:length]),
        }[table]()
        return m.last(F.relu(m.first(x) + where)).mean(1)

    torch.manual_seed(0)
    model = Net(forward, first=nn.Linear(3, 5), last=nn.Linear(5, 2), table=nn.Embedding(12, 5))
    spec = permutation_spec(model, torch.randn(2, 4, 3))
    assert [*spec.groups.values()] == [5]
    assert spec.frozen == (
        "table.weight: 8 of 12 rows are not read on the example, and may be on others",
    )
    longer, moved = torch.randn(2, 9, 3), copy.deepcopy(model)
    moved.load_state_dict(spec.apply(spec.random(0), model.state_dict()))
    assert torch.allclose(model(longer), moved(longer), atol=1e-6)


def test_units_that_are_read_without_any_other_fact_move():
    """The second half of the units, without bias, is only summed; the first half is shown."""
    model = Net(
        lambda m, x: (m.first(x).relu()[:, :4], m.first(x).relu()[:, 4:].sum(1)),
        first=nn.Linear(3, 9, bias=False),
    )
    spec = permutation_spec(model, torch.randn(2, 3))
    assert spec.groups == {"first": 5}
    assert spec.frozen == ()
