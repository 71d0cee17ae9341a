"""What is switched for a while is switched back, whatever else runs beside; memory is kept."""

import platform
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from llfc.devices import fastest_layout, own_stream, whole_float32

SWITCH = torch.backends.cudnn


@pytest.fixture(params=[True, False])
def before(request, monkeypatch):
    monkeypatch.setattr(SWITCH, "allow_tf32", request.param)
    return request.param


def test_float32_is_whole_inside_and_as_before_outside(before):
    with whole_float32(), whole_float32():
        assert not SWITCH.allow_tf32
    assert SWITCH.allow_tf32 == before
    with pytest.raises(ZeroDivisionError), whole_float32():
        _ = 1 / 0
    assert SWITCH.allow_tf32 == before


def test_a_thread_that_leaves_first_leaves_it_whole_for_the_other(before):
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def first():
        with whole_float32():
            entered.set()
            leave.wait(60)
        left.set()

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(60)
    with whole_float32():
        leave.set()
        assert left.wait(60)
        assert not SWITCH.allow_tf32
    thread.join()
    assert SWITCH.allow_tf32 == before


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
