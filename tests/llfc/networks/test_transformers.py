"""Transformers and the mixer: what they compute, and their groups counted by hand."""

import itertools
from collections import Counter
from functools import partial

import pytest
import torch
from torch.nn import functional as F

import llfc
from llfc.networks.architectures import skeleton
from llfc.networks.families.gpt import gpt
from llfc.networks.families.mixer import mixer
from llfc.networks.families.transformer import STREAM_NORMS, turned
from llfc.networks.families.vit import vit
from llfc.seeds import stream
from tests.helpers.quick_cases import slow_unless

CONTEXT, CLASSES, DEPTH, HEAD_SIZE = 8, 7, 2, 16
IMAGE = (1, 28, 28)
BUILDERS = {
    "gpt": partial(gpt, input_shape=(CONTEXT,)),
    "gpt rotary": partial(gpt, input_shape=(CONTEXT,), positions="rotary"),
    "vit": partial(vit, input_shape=IMAGE),
    "mixer": partial(mixer, input_shape=IMAGE),
}


def made(name, norm="layer", width=0.5, seed=0):
    model = BUILDERS[name](width=width, norm=norm, num_classes=CLASSES, depth=DEPTH)
    model.initialise(stream(seed, "init"))
    with torch.no_grad():  # norms and biases of no special value, as after training
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=stream(seed, "moved"))
    return model.eval()


def inputs(name):
    if name.startswith("gpt"):
        return torch.randint(0, CLASSES, (3, CONTEXT), generator=stream(0, "ids"))
    return torch.randn(3, *IMAGE, generator=stream(0, "images"))


def by_hand(name, heads):
    """The sizes of the groups: the stream; in each block the MLP's units, heads and their insides.

    Rotary positions fix the order of the channels of queries and keys.
    """
    stream_channels = heads * HEAD_SIZE
    block = [4 * stream_channels]
    if name == "mixer":
        block += [32 * heads // 2]
    else:
        insides = 1 if name == "gpt rotary" else 2
        block += [HEAD_SIZE] * heads * insides + [heads] * (heads > 1)
    return Counter([stream_channels, *(DEPTH * block)])


@pytest.mark.parametrize(
    ("width", "norm"),
    slow_unless([(0.5, "layer")], [*itertools.product((0.5, 1.0), STREAM_NORMS)]),
)
@pytest.mark.parametrize("name", BUILDERS)
def test_groups_are_those_counted_by_hand_and_permuting_keeps_the_function(name, width, norm):
    model, x = made(name, norm, width), inputs(name)
    spec = llfc.permutation_spec(model, x)
    heads = round(4 * width)
    assert Counter(spec.groups.values()) == by_hand(name, heads), str(spec)
    moved = made(name, norm, width)
    moved.load_state_dict(spec.apply(spec.random(seed=0), model.state_dict()))
    with torch.no_grad():
        assert torch.allclose(moved(x), model(x), rtol=0, atol=2e-4)


@pytest.mark.parametrize("norm", slow_unless(["layer"], STREAM_NORMS))
@pytest.mark.parametrize("name", BUILDERS)
def test_they_can_be_exported_and_all_parameters_take_part(name, norm):
    model, x = made(name, norm), inputs(name)
    exported = torch.export.export(model, (x,)).module()
    logits = model(x)
    assert logits.shape == ((3, CONTEXT, CLASSES) if "gpt" in name else (3, CLASSES))
    assert torch.allclose(exported(x), logits, atol=1e-5)
    logits.square().sum().backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path


@pytest.mark.parametrize("name", ["gpt", "gpt rotary"])
def test_a_gpt_sees_no_later_token_and_takes_shorter_sequences(name):
    model, ids = made(name), inputs(name)
    changed = ids.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % CLASSES
    with torch.no_grad():
        full, other, short = model(ids), model(changed), model(ids[:, :5])
    assert torch.allclose(full[:, :5], other[:, :5], atol=1e-5)
    assert torch.allclose(full[:, :5], short, atol=1e-5)
    assert not torch.allclose(full[:, 5:], other[:, 5:], atol=1e-2)


def test_turned_products_depend_on_distances_alone():
    vector = torch.randn(1, 1, 1, HEAD_SIZE, generator=stream(0, "q"), dtype=torch.float64)
    same = turned(vector.expand(1, 1, 12, HEAD_SIZE))[0, 0]
    products = same @ same.T
    for distance in range(12):
        diagonal = products.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    norms = F.normalize(same, dim=-1) * vector.norm()
    assert torch.allclose(same, norms, atol=1e-5)


@pytest.mark.parametrize("name", BUILDERS)
def test_first_weights_come_from_the_generator_alone(name):
    torch.manual_seed(0)
    first, again, other = (
        {key: value.clone() for key, value in made(name, seed=seed).state_dict().items()}
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", BUILDERS)
def test_other_norms_are_refused(name):
    with pytest.raises(ValueError, match="norm of a transformer must be one of layer, rms"):
        BUILDERS[name](width=1, norm="batch", num_classes=CLASSES)


def test_a_gpt_of_the_usual_size_has_112k_parameters():
    model = gpt(width=1, norm="layer", input_shape=(64,), num_classes=65)
    assert sum(p.numel() for p in model.parameters()) == 112_512


def test_options_are_depth_heads_and_positions():
    ids = inputs("gpt")
    plain = {"width": 0.5, "norm": "layer", "input_shape": (CONTEXT,), "num_classes": CLASSES}
    deep = gpt(**plain, depth=3)
    assert {name.split(".")[0] for name, _ in deep.named_parameters() if "block" in name} == {
        "block1", "block2", "block3"
    }  # fmt: skip
    few, many = (gpt(**plain, heads=heads).eval() for heads in (2, 16))
    for model, count, size in ((few, 1, 32), (many, 8, 4)):
        model.initialise(stream(0, "init"))
        attention = model.block1.attention
        assert (attention.heads, len(attention.query.weight)) == (count, count * size)
    # One number of channels, shared out in other ways: the same weights, another function.
    many.load_state_dict(few.state_dict())
    with torch.no_grad():
        many.block1.attention.query.weight *= 30
        few.load_state_dict(many.state_dict())
        assert not torch.allclose(few(ids), many(ids), atol=1e-6)
    assert not hasattr(gpt(**plain, positions="rotary"), "positions")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("gpt", {"heads": 3}, "heads must be one of 1, 2, 4, 8, 16, 32, got 3"),
        (
            "vit",
            {"positions": "rotary"},
            "vit has no positions to choose: take another architecture: gpt",
        ),
        (
            "mlp",
            {"depth": 2},
            "mlp has no depth to choose: take another architecture: vit, mixer, gpt",
        ),
    ],
)
def test_options_that_cannot_be_are_one_line(name, options, said):
    shape = (CONTEXT,) if name == "gpt" else IMAGE
    with pytest.raises(ValueError, match=said):
        skeleton(name, input_shape=shape, num_classes=CLASSES, **options)
