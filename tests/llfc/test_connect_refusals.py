"""The whole call: what it refuses, each in one line."""

import numpy as np
import pytest
import torch
from torch import nn

import llfc
from llfc.connectivity.corrections import CORRECTIONS
from tests.helpers.small_networks import CLASSES, convnet, mlp, samples


def line_of(*models, **options):
    given = {"test": samples(10, (6,)), "train": samples(10, (6,)), "matching": None} | options
    with pytest.raises(ValueError, match=r".") as refused:
        llfc.connect(*models, **given)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_options_that_are_none_are_refused():
    pair = mlp(0), mlp(1)
    assert line_of(*pair, correction="rest") == (
        f"unknown correction 'rest': choose from {', '.join(sorted(CORRECTIONS))};"
        " did you mean 'reset'?"
    )
    assert line_of(*pair, matching="weight").startswith("unknown matching 'weight': choose from ")
    assert line_of(*pair, measures=["stiching"]).endswith("; did you mean 'stitching'?")
    for what in ("measures", "probes"):
        assert line_of(*pair, **{what: 3}) == f"{what} must be a list of names, got 3"
        assert line_of(*pair, **{what: ["relu0", 3]}) == (
            f"{what} must be a list of names, but contains 3"
        )
    assert line_of(*pair, probes=["linear9"]).startswith("unknown probe 'linear9': choose from ")
    for alphas in (4, 1, -3):
        assert line_of(*pair, alphas=alphas) == f"alphas must be odd and at least 3, got {alphas}"
    assert line_of(*pair, alphas=[0, 0.5, 0.4, 1]) == (
        "alpha must ascend from 0 to 1, got [0.0, 0.5, 0.4, 1.0]"
    )
    assert line_of(*pair, alphas=[0.0, float("nan"), 1.0]) == (
        "alpha must ascend from 0 to 1, got [0.0, nan, 1.0]"
    )
    assert line_of(*pair, alphas=[0, 1]) == (
        "alpha must be a list of at least 3 positions, got [0.0, 1.0]"
    )


def test_data_that_are_none_are_refused():
    pair = mlp(0), mlp(1)
    images, labels = samples(10, (6,))
    assert line_of(*pair, test=(images[:0], labels[:0])) == "test has no images"
    assert line_of(*pair, test=[]) == "test has no images"
    assert line_of(*pair, train=(images, labels + 1)) == "train labels must be in [0, 4), got 4"
    assert line_of(convnet(0), convnet(1), test=samples(9, (2, 7, 7)), train=None) == (
        "correction 'reset' needs train images for the batch norms, got None"
    )
    assert line_of(*pair, train=None, matching="activations").startswith(
        "activation matching needs batches"
    )


class Renamed(nn.Sequential):
    pass


def test_two_architectures_are_refused():
    def change(**modules):
        model = mlp(1)
        for name, module in modules.items():
            setattr(model, name, module)
        return model

    differ = "models differ in architecture: "
    wide = mlp(1, sizes=(6, 9, 7, CLASSES))
    settings = "Linear(in_features=6, out_features={}, bias=True)"
    assert line_of(mlp(0), wide) == (
        f"{differ}module 'linear0' is {settings.format(8)} in A and {settings.format(9)} in B"
    )
    assert line_of(mlp(0), mlp(1, sizes=(6, 8, CLASSES))) == (
        f"{differ}module 'relu1' is in A but not in B"
    )
    assert line_of(mlp(0), change(relu1=nn.Tanh())) == (
        f"{differ}module 'relu1' is ReLU() in A and Tanh() in B"
    )
    assert line_of(mlp(0), mlp(1).float()) == (
        f"{differ}tensor 'linear0.weight' is (8, 6) torch.float64 on cpu in A"
        " and (8, 6) torch.float32 on cpu in B"
    )
    assert line_of(mlp(0), Renamed(*mlp(1))).startswith(differ)


def test_what_has_no_part_in_a_forward_pass_may_differ():
    a, b = convnet(0), convnet(1)
    b.drop.p, b.norm.momentum, b.relu.inplace = 0.1, 0.5, True
    pair = samples(10, (2, 7, 7))
    llfc.connect(a, b, test=pair, train=pair, matching=None, alphas=3)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"matching": 3}, "matching must be a name, a Permutation, a Transform or None, got a int"),
        ({"correction": None}, "unknown correction None: choose from none, repair"),
        ({"batch_size": 2.5}, "batch_size must be a whole number >= 1, got 2.5"),
        ({"probes": "linear9"}, "unknown probe 'linear9': choose from linear0"),
        ({"test": None}, "test must be (images, labels), two tensors, or an iterable of such"),
        ({"test": torch.ones(4, 6)}, "got a Tensor"),
        ({"test": (torch.ones(4, 6).double(), [0, 1, 2, 3])}, "of 2 parts: tensor (4, 6), list"),
        ({"test": (np.ones((4, 6)), np.zeros(4, int))}, "of 2 parts: ndarray, ndarray"),
        ({"test": [torch.ones(4, 6).double()] * 3}, "got a batch that is a Tensor"),
        ({"test": torch.utils.data.TensorDataset(*samples(4, (6,)))}, "got a TensorDataset"),
        ({"test": (torch.ones(6).double(), torch.tensor(0))}, "tensor (6,), tensor ()"),
        (
            {"test": (torch.ones(4, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))},
            "test images must fit the model, got (2, 6) torch.uint8: ",
        ),
        (
            {"test": (torch.ones(4, 5).double(), torch.zeros(4, dtype=torch.int64))},
            "test images must fit the model, got (2, 5) torch.float64: ",
        ),
    ],
    ids=map(str, range(13)),
)
def test_what_is_of_the_wrong_kind_is_refused_in_one_line(options, line, capfd):
    assert line in line_of(mlp(0), mlp(1), **options)
    assert capfd.readouterr() == ("", "")  # torch.export would print its own trace of a bad shape


@pytest.mark.parametrize(
    ("wrapped", "line"),
    [
        (nn.DataParallel, "must be the network itself, got DataParallel: give its .module"),
        (
            lambda model: torch.compile(model, backend="eager"),
            "must be the network itself, got OptimizedModule: give its ._orig_mod",
        ),
        (lambda model: model.state_dict(), "must be a torch.nn.Module, got OrderedDict"),
    ],
    ids=["data parallel", "compiled", "state dict"],
)
def test_what_is_no_network_itself_is_refused(wrapped, line):
    a, b = mlp(0), mlp(1)
    images, _ = samples(4, (6,))
    spec = llfc.permutation_spec(a, images)
    assert line_of(a, wrapped(b)) == f"model_b {line}"
    for call in (
        lambda: llfc.match("weights", wrapped(a), b, spec),
        lambda: llfc.permutation_spec(wrapped(a), images),
    ):
        with pytest.raises(ValueError, match=line.replace(".", r"\.")):
            call()


def test_batches_and_inputs_that_do_not_fit_are_refused():
    a, b = mlp(0), mlp(1)
    images, labels = samples(4, (6,))
    spec = llfc.permutation_spec(a, images)
    with pytest.raises(ValueError, match="batches must be inputs that the models accept: "):
        llfc.match("activations", a, b, spec, batches=[(images, labels)])
    with pytest.raises(ValueError, match=r"example inputs must fit the model, got \(4, 5\) "):
        llfc.permutation_spec(a, images[:, :5])
    with pytest.raises(ValueError, match="spec must be a PermutationSpec, got a NoneType"):
        llfc.match("weights", a, b, None)
