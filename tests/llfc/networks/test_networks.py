"""Architectures: one contract for all that are registered."""

import math

import pytest
import torch
from torch import nn
from torchvision.models.convnext import LayerNorm2d

import llfc
from llfc.networks.architectures import ARCHITECTURES, build_network, skeleton
from llfc.networks.families.layers import IMAGE_NORMS, image_norm, vector_norm
from llfc.networks.families.resnet import ResidualBlock
from llfc.seeds import stream
from llfc.specs import ACTIVATIONS
from tests.helpers.quick_cases import slow_unless

# Networks of images; those of tokens are in test_transformers.py.
IMAGES = {name: entry for name, entry in ARCHITECTURES.items() if "images" in entry.inputs}
ALL = [(name, norm) for name, entry in IMAGES.items() for norm in entry.norms]
# Transformers and the mixer have tests of their own for their layers and their first weights.
RELU = [name for name in IMAGES if name not in ("mixer", "vit")]
SHAPES = [(1, 28, 28), (3, 32, 32)]
DEEP = ("vgg13", "vgg16", "vgg19", "resnet32", "resnet50", "resnet56")


def made(name, norm=None, *, width=1 / 8, shape=(1, 28, 28), seed=0, num_classes=7):
    return build_network(
        name,
        width=width,
        norm=norm,
        input_shape=shape,
        num_classes=num_classes,
        generator=stream(seed, "init"),
    )


every_norm = pytest.mark.parametrize(
    ("name", "norm"), slow_unless([each for each in ALL if each[0] not in DEEP], ALL)
)


@pytest.mark.parametrize("shape", slow_unless([(SHAPES[0],)], [(s,) for s in SHAPES]))
@every_norm
def test_logits_and_gradients_are_finite_and_all_parameters_take_part(name, norm, shape):
    model = made(name, norm, shape=shape)
    images = torch.randn(4, *shape, generator=stream(0, "images"))
    logits = model(images)
    assert logits.shape == (4, 7)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize(
    ("name", "training"),
    slow_unless(
        [("resnet20", True), ("mlp", False), ("vgg11", False), ("vit", False)],
        [*((name, False) for name in IMAGES), ("mlp", True), ("vgg11", True), ("resnet20", True)],
    ),
)
def test_networks_can_be_exported(name, training):
    model = made(name, width=1 / 32).train(training)
    images = torch.randn(2, 1, 28, 28, generator=stream(0, "images"))
    exported = torch.export.export(model, (images,)).module()
    with torch.no_grad():
        assert torch.allclose(exported(images), model(images), atol=1e-5)


@pytest.mark.parametrize(("name", "norm"), ALL)
def test_norms_are_where_they_are_asked_for(name, norm):
    kinds = {
        "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
        "group": (nn.GroupNorm,),
        "layer": (nn.LayerNorm,),
        "none": (),
        "rms": (nn.RMSNorm,),
    }
    model = made(name, norm)
    for other, types in kinds.items():
        found = [module for module in model.modules() if types and isinstance(module, types)]
        assert bool(found) == (other == norm and norm != "none")


def test_layer_norm_is_over_the_channels_of_a_position_and_group_norm_over_positions_too():
    images = 3 + 2 * torch.randn(4, 6, 5, 7, generator=stream(0, "images"), dtype=torch.float64)
    layer, group = (image_norm(name, 6).double() for name in ("layer", "group"))
    for norm in (layer, group):
        nn.init.normal_(norm.weight, generator=stream(0, "scale"))
        nn.init.normal_(norm.bias, generator=stream(0, "shift"))
    theirs = LayerNorm2d(6, eps=layer.eps).double()
    theirs.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), theirs(images))
    scale, shift = layer.weight.view(-1, 1, 1), layer.bias.view(-1, 1, 1)
    for norm, dims in ((layer, 1), (group, (1, 2, 3))):
        var, mean = torch.var_mean(images, dims, correction=0, keepdim=True)
        plain = (images - mean) / (var + norm.eps).sqrt() * scale + shift
        assert torch.allclose(norm(images), plain, rtol=0, atol=1e-12)


def test_without_positions_layer_and_group_norm_are_one_function():
    x = 3 + 2 * torch.randn(4, 6, generator=stream(0, "images"), dtype=torch.float64)
    layer, group = (vector_norm(name, 6).double() for name in ("layer", "group"))
    assert torch.allclose(layer(x), group(x), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_channels_of_a_normed_resnet_can_be_permuted(norm):
    given = {"width": 1 / 8, "shape": (1, 8, 8)}
    model, plain = made("resnet20", norm, **given).eval(), made("resnet20", **given).eval()
    images = torch.randn(2, 1, 8, 8, generator=stream(0, "images"))
    spec = llfc.permutation_spec(model, images)
    assert len(spec.groups) == len(llfc.permutation_spec(plain, images).groups)
    moved = made("resnet20", norm, **given).eval()
    moved.load_state_dict(spec.apply(spec.random(seed=0), model.state_dict()))
    with torch.no_grad():
        assert torch.allclose(moved(images), model(images), atol=1e-5)


@pytest.mark.parametrize("name", RELU)
def test_every_relu_is_a_module_of_its_own_that_keeps_its_input(name):
    model = made(name).eval()
    calls = []
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    assert not any(relu.inplace for relu in relus)
    for relu in relus:
        relu.register_forward_hook(lambda module, *_: calls.append(module))
    model(torch.randn(2, 1, 28, 28, generator=stream(0, "images")))
    assert len(calls) == len(set(calls)) == len(relus) > 0


@every_norm
def test_first_weights_come_from_the_generator_alone(name, norm):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = made(name, norm).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    again, other = made(name, norm).state_dict(), made(name, norm, seed=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    weights = [key for key in first if first[key].ndim > 1 and first[key].abs().sum() > 0]
    assert weights
    assert not any(torch.equal(first[key], other[key]) for key in weights)


@pytest.mark.parametrize("name", RELU)
def test_first_weights_have_the_variance_of_their_fan_in(name):
    model = made(name, "batch", width=0.5)
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.numel() > 2000:
            gain = 1 if path == "head" or "shortcut" in path else 2
            expected = math.sqrt(gain / module.weight[0].numel())
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1), path


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_perceptron_has_the_activation_that_it_is_asked_for(name):
    model = build_network(
        "mlp",
        width=1 / 8,
        input_shape=(1, 4, 4),
        num_classes=3,
        generator=stream(0, "init"),
        activation=name,
    )
    images = torch.randn(5, 1, 4, 4, generator=stream(1, "init"))
    features = images.flatten(1)
    for layer in (model.hidden1, model.hidden2, model.hidden3):
        features = getattr(torch.nn.functional, name)(features @ layer.weight.T + layer.bias)
    torch.testing.assert_close(model(images), features @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize("norm", IMAGE_NORMS)
@pytest.mark.parametrize("name", ["resnet20", "resnet50"])
def test_residual_blocks_without_norm_start_as_their_shortcut(name, norm):
    model = made(name, norm).eval()
    block = [module for module in model.modules() if isinstance(module, ResidualBlock)][1]
    inputs = block.branch.conv1.in_channels
    images = torch.randn(2, inputs, 8, 8, generator=stream(0, "images"))
    with torch.no_grad():
        same = torch.equal(block(images), block.relu(block.shortcut(images)))
    assert same == (norm == "none")


# Weighted layers are what the names count; shortcuts do not count among them.
@pytest.mark.parametrize("name", sorted({*RELU} - {"mlp"}))
def test_depth_is_the_number_in_the_name(name):
    model = made(name)
    layers = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in path
    ]
    # Two of a VGG's linear layers are gone with the image size of ImageNet.
    left_out = 2 if name.startswith("vgg") else 0
    assert len(layers) + left_out == int("".join(filter(str.isdigit, name)))


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("resnet18", (3, 224, 224), 1000, 11_689_512),  # as torchvision's
        ("resnet50", (3, 224, 224), 1000, 25_557_032),  # as torchvision's
        ("mlp", (1, 28, 28), 10, 785 * 512 + 2 * 513 * 512 + 513 * 10),
    ],
)
def test_parameter_counts_are_those_of_the_papers(name, shape, classes, count):
    model = skeleton(name, input_shape=shape, num_classes=classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("name", RELU)
@pytest.mark.parametrize("width", [1e-6, 0.3, 1.0, 2.0])
def test_width_scales_every_hidden_layer(name, width):
    def sizes(width):
        model = skeleton(name, width=width, input_shape=(3, 32, 32), num_classes=10)
        return {
            path: module.weight.shape[0]
            for path, module in model.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
            and path != "head"
            and "shortcut" not in path  # not there where channels that differ round to one
        }

    scaled, usual = sizes(width), sizes(1.0)
    assert scaled == {path: max(1, round(units * width)) for path, units in usual.items()}


def test_large_images_take_the_stem_of_the_original():
    small = skeleton("resnet18", input_shape=(3, 32, 32), num_classes=10)
    large = skeleton("resnet18", input_shape=(3, 64, 64), num_classes=10)
    assert small.conv.kernel_size == (3, 3)
    assert not hasattr(small, "pool")
    assert large.conv.kernel_size == (7, 7)
    assert isinstance(large.pool, nn.MaxPool2d)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": "resnet21"}, "unknown architecture 'resnet21'.*did you mean 'resnet"),
        ({"name": "mlp", "norm": "layer", "width": 1e-6}, "norm 'layer' needs at least 2 units"),
        (
            {"name": "resnet20", "norm": "layer", "width": 1 / 16},
            "norm 'layer' needs at least 2 units.*increase width",
        ),
        ({"norm": "bach"}, "unknown norm 'bach'.*did you mean 'batch'"),
        ({"name": "vit", "norm": "batch"}, "norm of vit must be one of layer, rms, got 'batch'"),
        ({"norm": "rms"}, "norm of mlp must be one of batch, group, layer, none, got 'rms'"),
        ({"width": 0.0}, "width must be a positive number, got 0.0"),
        ({"width": -1.0}, "width must be a positive number, got -1.0"),
        ({"width": math.nan}, "width must be a positive number, got nan"),
        ({"width": 1e9}, "width must let mlp fit into memory, got 1e\\+09: "),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        (
            {"name": "gpt"},
            "architecture gpt takes tokens, and the data set is of images: choose another data set,"
            " or one of mlp, vgg11,",
        ),
        (
            {"name": "vgg11", "shape": (8,)},
            "architecture vgg11 takes images, and the data set is of tokens or rows: choose another"
            " data set, or one of mlp, gpt",
        ),
    ],
)
def test_bad_input_is_one_line(change, line):
    with pytest.raises(ValueError, match=line) as caught:
        made(**{"name": "mlp", "norm": None} | change)
    assert "\n" not in str(caught.value)
