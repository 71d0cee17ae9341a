"""Operators one by one: the groups counted by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.quick_cases import a_third_quick
from tests.helpers.wired_networks import (
    Net,
    P,
    assert_groups,
    between,
    chain,
    conv,
    image,
    lin,
    on_images,
)


def two_halves(h):
    y = torch.zeros(2, 8)
    y[:, :5] = h[:, :5]
    y[:, 5:] = h[:, 5:].relu()
    return y


def through_a_view(h):
    y = torch.zeros(2, 5)
    view = y.view(5, 2)
    y.add_(h)
    return view.reshape(2, 5)


def added_to_a_slice(h):
    h[:, :3] += h[:, 2:]
    return h


def a_result_written(h):
    y = F.silu(h, inplace=True)
    y += 2 * h.flip(0)
    return h


def without_gradients(h):
    with torch.no_grad():
        return h.relu() * 2


def turned(h):
    pairs = torch.view_as_complex(h.view(2, 3, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones(3), torch.arange(3.0))).flatten(1)


EDGES = torch.tensor([[0, 1, 2], [1, 2, 2]])  # from, to

# name -> (model, inputs, the sizes of its groups)
CASES = {
    "sorted values": lambda: (*between(lambda h: h.sort(-1).values), [5]),
    "largest values": lambda: (*between(lambda h: h.topk(3, -1).values, out=3), [5]),
    "largest of pieces": lambda: (
        *between(lambda h: h.view(2, 5, 2).max(-1)[0], 10, 5),
        [5] + [2] * 5,
    ),
    "places of the largest": lambda: (*between(lambda h: h.sort(-1)[1].float()), []),
    "soft maximum of units": lambda: (*between(lambda h: h.softmax(-1)), [5]),
    "turned round": lambda: (*between(lambda h: h.roll(1, -1)), [5]),
    # Unit 4 of the first sample comes before unit 0 of the second.
    "turned round as a line": lambda: (*between(lambda h: h.roll(1)), [4]),
    "a constant order": lambda: (*between(lambda h: h[:, [2, 0, 3, 1, 4]]), [5]),
    # Two are read, three are not.
    "a constant mask": lambda: (
        *between(lambda h: h[:, torch.tensor([True, False, False, True, False])], 5, 2),
        [2, 3],
    ),
    # What a unit is in one half may not be taken for what it is in the other.
    # Units i and i + 3 move together, and in a product either may be taken for the other.
    "a product of halves": lambda: (
        *between(lambda h: torch.cat([h[:, :3] * h[:, 3:], h], 1), 6, 9),
        [3, 2, 2, 2],
    ),
    "a half gated by the other": lambda: (
        *between(lambda h: torch.cat([h[:, :3] * h[:, 3:].sigmoid(), h], 1), 6, 9),
        [3],
    ),
    "both signs, shuffled": lambda: (
        *between(lambda h: F.relu(torch.cat([h, -h], 1)[:, [0, 4, 1, 3, 2, 5]]), 3, 6),
        [3],
    ),
    # Three copies of each unit, which change places in the weight that reads them.
    "copies end to end": lambda: (*between(lambda h: h.repeat(1, 3), 4, 12), [4, 3, 3, 3, 3]),
    "copies side by side": lambda: (
        *between(lambda h: h.repeat_interleave(3, 1), 4, 12),
        [4, 3, 3, 3, 3],
    ),
    "copies scaled apart": lambda: (
        Net(
            lambda m, x: m.last(F.relu(m.scale * m.first(x).repeat(1, 2))),
            first=lin(3, 4),
            scale=P(8),
            last=lin(8, 2),
        ),
        [torch.randn(2, 3)],
        [4, 2, 2, 2, 2],
    ),
    "both signs": lambda: (*between(lambda h: F.relu(torch.cat([h, -h], 1)), 5, 10), [5]),
    "halves written": lambda: (*between(two_halves, 8), [5, 3]),
    "written through a view": lambda: (*between(through_a_view), [5]),
    # Units 0 and 1 take on 2 and 3, unit 2 takes on 4: 0, 1 | 2 | 2, 3 | 4, so no unit is free
    # but the pair 0-2, 1-3 is not either, as unit 2 is in both.
    "a slice added to": lambda: (*between(added_to_a_slice), []),
    "a result written": lambda: (*between(a_result_written), [5]),
    "without gradients": lambda: (*between(without_gradients), [5]),
    "stacked and flattened": lambda: (
        *between(lambda h: torch.stack([h[:, :4], h[:, 4:].relu()], 2).flatten(1), 8),
        [4, 4],
    ),
    "stacked and summed": lambda: (
        *between(lambda h: torch.stack([h[:, :4], h[:, 4:].relu()]).sum(0), 8, 4),
        [4],
    ),
    "distances": lambda: (
        Net(lambda m, x: torch.cdist(m.a(x), m.c), a=lin(3, 5), c=P(4, 5)),
        [torch.randn(2, 3)],
        [5],
    ),
    "cosines": lambda: (
        Net(
            lambda m, x: F.cosine_similarity(m.a(x)[:, None], m.c[None], -1),
            a=lin(3, 5),
            c=P(4, 5),
        ),
        [torch.randn(2, 3)],
        [5],
    ),
    "patches": lambda: (
        Net(
            lambda m, x: m.last(F.relu(m.mid(F.unfold(m.first(x), 2).transpose(1, 2)))),
            first=conv(3, 4, 1),
            mid=lin(16, 3),
            last=lin(3, 2),
        ),
        [image()],
        [4, 3],
    ),
    "patches and back": lambda: (
        *on_images(lambda h: F.fold(F.unfold(h, 2, stride=2), (6, 6), 2, stride=2)),
        [4],
    ),
    "windows": lambda: (
        *on_images(lambda h: h.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))),
        [4],
    ),
    "sampled": lambda: (
        *on_images(lambda h: F.grid_sample(h, torch.rand(2, 3, 3, 2), align_corners=True)),
        [4],
    ),
    "pixel shuffle": lambda: (
        chain(conv(3, 5, 1), nn.ReLU(), conv(5, 8, 1), nn.PixelShuffle(2), conv(2, 2, 1)),
        [image()],
        [5, 2],
    ),
    # A graph network: what comes along each edge is summed up at its end.
    "messages along edges": lambda: (
        *between(lambda h: torch.zeros(3, 5).index_add(0, EDGES[1], h[EDGES[0]]), x=P(3, 3)),
        [5],
    ),
    "messages scattered": lambda: (
        *between(
            lambda h: h.scatter_add(0, EDGES[1][:, None].expand(-1, 5), h[EDGES[0]]),
            x=P(3, 3),
        ),
        [5],
    ),
    "messages of a sparse matrix": lambda: (
        *between(lambda h: torch.sparse.mm(torch.eye(3).roll(1, 0).to_sparse(), h), x=P(3, 3)),
        [5],
    ),
    "scattered over units": lambda: (
        *between(lambda h: torch.zeros(2, 5).scatter(1, torch.tensor([[0, 2], [1, 0]]), h), 2, 5),
        [],
    ),
    # Pairs of units are complex numbers, each turned by an angle of its own.
    "complex rotary": lambda: (*between(turned, 6), []),
    "complex magnitudes": lambda: (
        *between(lambda h: torch.complex(h[:, :4], h[:, 4:].relu()).abs(), 8, 4),
        [4],
    ),
    "entries by place": lambda: (
        *between(
            lambda h: h.gather(1, torch.tensor([[[0], [2]], [[1], [1]]]).expand(-1, -1, 5)),
            x=torch.randn(2, 4, 3),
        ),
        [5],
    ),
}


@pytest.mark.parametrize("case", a_third_quick(CASES))
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    assert_groups(*CASES[case]())
