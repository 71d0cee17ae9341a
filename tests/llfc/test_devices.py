"""What is switched for a while is switched back, whatever else runs beside; memory is kept."""

import copy
import platform
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from llfc.devices import fastest_layout, own_stream, tf32_disabled
from llfc.networks.architectures import build_network
from llfc.seeds import stream

# How a program may let float32 be rounded, by the older and by the newer of PyTorch's switches.
ASKED = {
    "nothing": lambda: None,
    "cudnn": lambda: setattr(torch.backends.cudnn, "allow_tf32", True),
    "no cudnn": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "cublas": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "new cublas": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "new cudnn": lambda: setattr(torch.backends.cudnn, "fp32_precision", "tf32"),
    "new onednn": lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
    "everything": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
}
LEAVES = [
    getattr(getattr(torch.backends, backend), operation)
    for backend, operations in (("cudnn", ("conv", "rnn")), ("mkldnn", ("matmul", "conv", "rnn")))
    for operation in operations
]


def switches():
    """What each kind of operation may do; the older switches as far as they can be read."""
    found = [torch.backends.fp32_precision, torch.backends.cuda.matmul.fp32_precision]
    found += [leaf.fp32_precision for leaf in LEAVES]
    for older in (
        torch.get_float32_matmul_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.backends.cudnn.allow_tf32,
    ):
        try:
            found.append(older())
        except RuntimeError:  # as the two kinds of switches differ
            found.append(None)
    return found


@pytest.fixture(params=ASKED)
def before(request):
    """The switches as they are when the context is entered."""
    start, legacy = switches()[:-3], switches()[-3:]
    ASKED[request.param]()
    yield switches()
    torch.set_float32_matmul_precision(legacy[0])
    torch.backends.cudnn.allow_tf32 = legacy[2]
    torch.backends.cudnn.fp32_precision = torch.backends.fp32_precision = "none"
    for leaf, value in zip(
        [torch.backends, torch.backends.cuda.matmul, *LEAVES], start, strict=True
    ):
        leaf.fp32_precision = value


def is_whole():
    """Whether no operation may round, by either kind of switches, which agree."""
    found = switches()
    return set(found[:-3]) <= {"none", "ieee"} and found[-3:] == ["highest", False, False]


def test_float32_is_whole_inside_and_as_before_outside(before):
    with tf32_disabled(), tf32_disabled():
        assert is_whole()
    assert switches() == before
    with pytest.raises(ZeroDivisionError), tf32_disabled():
        _ = 1 / 0
    assert switches() == before


def test_a_thread_that_leaves_first_leaves_it_whole_for_the_other(before):
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def first():
        with tf32_disabled():
            entered.set()
            leave.wait(60)
        left.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(60)
    with tf32_disabled():
        leave.set()
        assert left.wait(60)
        assert is_whole()
    thread.join()
    assert switches() == before


def test_a_setting_that_is_inherited_goes_on_being_so():
    torch.backends.fp32_precision = "tf32"
    with tf32_disabled():
        pass
    torch.backends.fp32_precision = "none"
    assert torch.backends.mkldnn.conv.fp32_precision == "none"
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"  # PyTorch's own default


def test_a_callers_autocast_does_not_reach_in():
    one, x = nn.Linear(3, 3), torch.ones(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        with tf32_disabled():
            assert one(x).dtype == torch.float32
            with torch.autocast("cpu", torch.bfloat16):
                assert one(x).dtype == torch.bfloat16
        assert one(x).dtype == torch.bfloat16


def test_a_cpu_has_no_streams():
    with own_stream(torch.device("cpu")):
        assert torch.ones(2).sum() == 2


@pytest.mark.parametrize(
    ("channels", "device", "layout"),
    [
        (511, "cpu", torch.channels_last),
        (512, "cpu", torch.contiguous_format),
        (512, "meta", torch.channels_last),  # as any device that is no CPU
    ],
)
def test_wide_convolutions_lie_as_they_are_on_a_cpu(channels, device, layout):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, channels, 1)).to(device)
    assert fastest_layout(model) == layout
    assert fastest_layout(nn.Linear(600, 600).to(device)) == torch.contiguous_format


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 12, 15, 16])
def test_gradients_are_right_in_the_fastest_layout(channels):
    model = nn.Sequential(nn.Conv2d(channels, 8, 1, stride=2, bias=False))
    drawn = torch.Generator().manual_seed(0)
    nn.init.uniform_(model[0].weight, -1, 1, generator=drawn)
    wanted = copy.deepcopy(model).double()
    images = torch.randn(4, channels, 28, 28, generator=drawn)
    wanted(images.double()).square().sum().backward()
    layout = fastest_layout(model)
    model.to(memory_format=layout)
    model(images.to(memory_format=layout)).square().sum().backward()
    found, wanted = model[0].weight.grad, wanted[0].weight.grad.float()
    # Small ones are what is left of terms as large as those of others, and so is their rounding.
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * wanted.abs().max())


@pytest.mark.parametrize("norm", ["batch", "layer"])  # a layer norm puts channels last by itself
def test_a_narrow_resnets_gradients_are_right(norm):
    made = {"input_shape": (1, 16, 16), "num_classes": 4, "generator": stream(0, "init")}
    model = build_network("resnet20", width=1 / 4, norm=norm, **made)
    wanted = copy.deepcopy(model).double()
    images = torch.randn(8, 1, 16, 16, generator=stream(0, "images"))
    wanted(images.double()).square().sum().backward()
    layout = fastest_layout(model)
    model.to(memory_format=layout)(images.to(memory_format=layout)).square().sum().backward()
    for found, exact in zip(model.parameters(), wanted.parameters(), strict=True):
        exact = exact.grad.float()
        torch.testing.assert_close(found.grad, exact, rtol=1e-3, atol=1e-3 * exact.abs().max())


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_used_again():
    """Tensors in the place of freed ones ask the system for no page, once the heap has its size.

    How soon is chance: a small block that lies where an aligned one began keeps it from its place.
    """
    code = """
import resource, torch
from llfc.devices import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
print(sorted(faults() for _ in range(32))[16])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 16
