"""Positions of units that come back only as positions on their axis: experts, codes, prototypes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llfc.symmetry import permutation_spec
from tests.helpers.quick_cases import a_third_quick, slow_unless
from tests.helpers.wired_networks import Net, P, assert_groups, lin

x = torch.randn(5, 6)
EACH = [4, 8, 8, 8, 8, 3]  # experts, the hidden units of each, what all of them return


def experts(forward):
    """A router of 4 experts of 8 hidden units each."""
    return Net(forward, router=lin(6, 4), w1=P(4, 8, 6), b1=P(4, 8), w2=P(4, 3, 8), head=lin(3, 2))


def hidden(m, x):
    """What every expert makes of every input."""
    return F.gelu(torch.einsum("eui,ni->neu", m.w1, x) + m.b1)


def weighted(gates):
    """All experts, by gates [inputs, experts] that are a function of the router's scores."""

    def forward(m, x):
        each = torch.einsum("eou,neu->neo", m.w2, hidden(m, x))
        return m.head(torch.einsum("ne,neo->no", gates(m.router(x)), each))

    return experts(forward)


def in_place(scores):
    values, index = scores.topk(2, -1)
    gates = torch.zeros(5, 4)
    gates.scatter_(1, index, values.softmax(-1))
    return gates


def above_the_third(scores):
    least = scores.topk(2, -1).values[:, -1:]
    return torch.where(scores >= least, scores, torch.full_like(scores, -1e9)).softmax(-1)


GATES = {
    "soft": lambda s: s.softmax(-1),
    "one-hot": lambda s: F.one_hot(s.argmax(-1), 4) * s.softmax(-1),
    "compared": lambda s: (s.argmax(-1)[:, None] == torch.arange(4)) * s.softmax(-1),
    "compared, kept": lambda s: (s.argmax(-1, keepdim=True) == torch.arange(4)).float(),
    "scattered": lambda s: torch.zeros(5, 4).scatter(1, s.topk(2)[1], s.topk(2)[0].softmax(-1)),
    "scattered in place": in_place,
    "scattered, one number": lambda s: torch.zeros(5, 4).scatter(1, s.topk(2)[1], 1.0),
    "above a bound": above_the_third,
    "one-hot of two": lambda s: F.one_hot(s.topk(2).indices, 4).sum(1) * s,
    "sorted": lambda s: torch.zeros(5, 4).scatter(1, s.argsort(-1)[:, -2:], 1.0),
}


def picked(m, x):
    index = m.router(x).argmax(-1)
    h = F.relu(torch.einsum("nui,ni->nu", m.w1[index], x) + m.b1[index])
    return m.head(torch.einsum("nou,nu->no", m.w2[index], h))


def picked_by_products(m, x):
    index = m.router(x).max(-1)[1]
    h = F.relu(torch.bmm(m.w1[index], x[:, :, None]).squeeze(-1) + m.b1.index_select(0, index))
    return m.head((m.w2[index] @ h.unsqueeze(-1)).squeeze(-1))


def picked_two(m, x):
    gates, index = m.router(x).softmax(-1).topk(2, -1)
    h = F.gelu(torch.einsum("nkui,ni->nku", m.w1[index], x) + F.embedding(index, m.b1))
    each = torch.einsum("nkou,nku->nko", m.w2[index], h)
    return m.head((gates[..., None] * each).sum(1))


def gated(m, x):
    """The gate of the expert that was picked is looked up by its position."""
    scores = m.router(x).softmax(-1)
    index = scores.argmax(-1, keepdim=True)
    h = F.gelu((m.w1[index[:, 0]] @ x[..., None])[..., 0] + m.b1[index.squeeze(1)])
    return m.head(scores.gather(1, index) * (m.w2[index[:, 0]] @ h[..., None])[..., 0])


def of_all(m, x):
    """All experts are asked, and the answer of one is looked up."""
    each = torch.einsum("eou,neu->neo", m.w2, hidden(m, x))
    index = m.router(x).argmax(-1)[:, None, None].expand(-1, 1, 3)
    return m.head(each.gather(1, index).squeeze(1))


def given(m, x, index):
    h = F.relu(torch.einsum("nui,ni->nu", m.w1[index], x) + m.b1[index])
    return m.head(torch.einsum("nou,nu->no", m.w2[index], h))


def coded(m, x):
    """The nearest code (van den Oord et al., Neural Discrete Representation Learning, 2017)."""
    index = torch.cdist(m.first(x), m.codes.weight).argmin(-1)
    return m.head(m.codes(index))


# name -> (model, inputs, the sizes of its groups)
CASES = {f"gates, {name}": lambda g=g: (weighted(g), [x], EACH) for name, g in GATES.items()} | {
    "picked": lambda: (experts(picked), [x], EACH),
    "picked by products": lambda: (experts(picked_by_products), [x], EACH),
    "picked, two": lambda: (experts(picked_two), [x], EACH),
    "picked and gated": lambda: (experts(gated), [x], EACH),
    "all asked": lambda: (experts(of_all), [x], EACH),
    # An input says which expert: the experts stay, the hidden units of each move.
    "given": lambda: (
        Net(given, w1=P(4, 8, 6), b1=P(4, 8), w2=P(4, 3, 8), head=lin(3, 2)),
        [x, torch.tensor([0, 3, 1, 1, 2])],
        EACH[1:],
    ),
    "codes": lambda: (
        Net(coded, first=lin(6, 5), codes=nn.Embedding(7, 5), head=lin(5, 2)),
        [x],
        [5, 7],
    ),
    "rows by number": lambda: (
        Net(
            lambda m, x: m.head(m.rows(m.router(x).argmax(-1))),
            router=lin(6, 4),
            rows=nn.Embedding(4, 3),
            head=lin(3, 2),
        ),
        [x],
        [4, 3],
    ),
    # Places that have weights of their own have hidden units of their own.
    "weights at each place": lambda: (
        Net(
            lambda m, x: m.head(
                torch.einsum("npu,pou->no", F.relu(torch.einsum("npi,pui->npu", x, m.w)), m.v)
            ),
            w=P(4, 5, 6),
            v=P(4, 3, 5),
            head=lin(3, 2),
        ),
        [torch.randn(2, 4, 6)],
        [5, 5, 5, 5, 3],
    ),
    "output tied to the embedding": lambda: (
        Net(
            lambda m, i: F.linear(m.b(F.relu(m.a(m.rows(i).mean(1)))), m.rows.weight),
            rows=nn.Embedding(9, 5),
            a=lin(5, 7),
            b=lin(7, 5),
        ),
        [torch.randint(0, 9, (2, 4))],
        [5, 7],
    ),
}


@pytest.mark.parametrize("case", a_third_quick(CASES))
def test_groups_are_those_counted_by_hand(case):
    torch.manual_seed(0)
    model, inputs, sizes = CASES[case]()
    assert_groups(model, inputs, sizes)


# Any other use of a position is a number, which tells the experts apart.
NUMBERS = {
    "scaled": lambda m, s: s.argmax(-1)[:, None] * 1.0 * m.head.weight[0],
    "compared with one": lambda m, s: (s.argmax(-1)[:, None] == 2) * m.head.weight[0],
    "compared with another order": lambda m, s: (
        (s.argmax(-1)[:, None] == torch.tensor([1, 0, 2, 3])).float() @ m.w2[:, :, 0]
    ),
    "shifted": lambda m, s: m.w2[(s.argmax(-1) + 1) % 4, :, 0],
    "in a longer table": lambda m, s: m.long[s.argmax(-1)],
    "ranks": lambda m, s: s.argsort(-1).argsort(-1).float() @ m.w2[:, :, 0],
    "overwritten": lambda m, s: m.w2[s.argmax(-1).clone().clamp_(max=2), :, 0],
}


@pytest.mark.parametrize("case", a_third_quick(NUMBERS))
def test_positions_used_as_numbers_hold_units_in_place(case):
    torch.manual_seed(0)
    model = experts(lambda m, x: m.head(NUMBERS[case](m, m.router(x))))
    model.long = P(5, 3)
    spec = permutation_spec(model, x)
    assert 4 not in spec.groups.values()
    assert [
        line for line in spec.frozen if line.startswith("units of router") and " at node " in line
    ]


# Of experts that are modules each is another tensor: which of them it is stays, and is said.
COLUMNS = {
    "selected": lambda g, k: g[:, k, None],
    "sliced": lambda g, k: g[:, k : k + 1],
    "narrowed": lambda g, k: g.narrow(1, k, 1),
    "unbound": lambda g, k: g.unbind(1)[k][:, None],
    "split": lambda g, k: g.split(1, 1)[k],
    "listed": lambda g, k: g[:, [k]],
    "looked up": lambda g, k: g.index_select(1, torch.tensor([k])),
    "gathered": lambda g, k: g.gather(1, torch.full((5, 1), k)),
    "by a product": lambda g, k: g @ torch.eye(4)[:, k : k + 1],
    "by a linear map": lambda g, k: F.linear(g, torch.eye(4)[k : k + 1]),
    "by a vector": lambda g, k: (g @ torch.eye(4)[k])[:, None],
    "by an einsum": lambda g, k: torch.einsum("ne,e->n", g, torch.eye(4)[k])[:, None],
}
# Products and choices that leave one gate of all are said where they are made.
MASKED = {
    "product": lambda g, k: (g * torch.eye(4)[k]).sum(-1, keepdim=True),
    "choice": lambda g, k: torch.where(torch.eye(4)[k] > 0, g, 0.0).sum(-1, keepdim=True),
    "mask": lambda g, k: g.masked_fill(torch.eye(4)[k] == 0, 0.0).sum(-1, keepdim=True),
    "largest": lambda g, k: (g + torch.eye(4)[k].log()).amax(-1, keepdim=True),
    "from the left": lambda g, k: (torch.eye(4)[k : k + 1] @ g.T).T,
    "scaled": lambda g, k: g @ (2 * torch.eye(4)[:, k : k + 1]),
}


@pytest.mark.parametrize("column", a_third_quick(COLUMNS))
@pytest.mark.parametrize("gates", slow_unless(["soft"], ["soft", "one-hot"]))
def test_a_gate_that_is_picked_out_by_its_number_is_said(gates, column):
    def forward(m, x):
        gate = GATES[gates](m.router(x))
        each = [COLUMNS[column](gate, k) * expert(x) for k, expert in enumerate(m.experts)]
        return m.head(sum(each))

    model = Net(forward, router=lin(6, 4), head=lin(3, 2))
    model.experts = nn.ModuleList(lin(6, 3) for _ in range(4))
    spec = permutation_spec(model, x)
    assert spec.groups == {"experts.0": 3}
    assert [line for line in spec.frozen if line.startswith("units of router: aten.")]


@pytest.mark.parametrize("mask", a_third_quick(MASKED))
def test_a_gate_that_a_mask_leaves_is_said(mask):
    def forward(m, x):
        gate = m.router(x).softmax(-1)
        return m.head(sum(MASKED[mask](gate, k) * expert(x) for k, expert in enumerate(m.experts)))

    model = Net(forward, router=lin(6, 4), head=lin(3, 2))
    model.experts = nn.ModuleList(lin(6, 3) for _ in range(4))
    spec = permutation_spec(model, x)
    assert spec.groups == {"experts.0": 3}
    assert [line for line in spec.frozen if "one of them is picked out by its position" in line]


def test_the_order_of_what_was_picked_may_not_be_mixed_up():
    """One index in two orders: the expert of one input is not that of another."""

    def crossed(m, x):
        index = m.router(x).argmax(-1)
        h = F.relu(torch.einsum("nui,ni->nu", m.w1[index], x)).flip(0)
        return m.head(torch.einsum("nou,nu->no", m.w2[index], h))

    assert_groups(experts(crossed), [x], [4, 8, 3])
