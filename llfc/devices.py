"""How a device is used best: layout of images, whole float32, a stream of one's own, memory."""

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

WIDE = 512  # channels


def fastest_layout(model: nn.Module) -> torch.memory_format:
    """Channels last for two-dimensional convolutions, unless they are wide ones on a CPU.

    In bfloat16 on a GPU a ResNet-20 is then twice as fast, as batch norms of few channels else keep
    few of its cores busy. On CPUs with AVX-512, steps and passes of ResNet-20 and of narrow VGGs
    took a tenth to nearly a half less, those of a VGG-11 or VGG-16 of width 1, whose widest layers
    have 512 channels, a fifth more; with 256 channels it was a draw. Values stay what they are, up
    to the rounding of sums that are taken in another order.
    """
    widths = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    wide = on_cpu and max(widths, default=0) >= WIDE
    return torch.channels_last if widths and not wide else torch.contiguous_format


# How many are inside `whole_float32`, in all threads: the switch is one for the process.
_inside, _outside, _switch = 0, True, threading.Lock()


@contextmanager
def whole_float32() -> Iterator[None]:
    """Convolutions in float32 as IEEE has it: on a GPU, cuDNN else drops 13 of its 23 bits.

    The switch comes back to what it was when the last of the threads that need it is out.
    """
    global _inside, _outside
    with _switch:
        if not _inside:
            _outside, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
        _inside += 1
    try:
        yield
    finally:
        with _switch:
            _inside -= 1
            if not _inside:
                torch.backends.cudnn.allow_tf32 = _outside


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """On a GPU, work after all that was queued before, beside what others queue meanwhile."""
    if device.type != "cuda":
        yield
        return
    outside, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(outside)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        outside.wait_stream(stream)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees and use it again, as long as it runs.

    Else glibc gives a large tensor's memory back to the system at once, and the next one's comes
    anew, cleared page by page. Without that, on two CPU cores, forward passes of ResNet-20 and
    VGG-16 took a third and a fifth less, walks a fifth, training of ResNet-20 a seventh; an MLP's
    nothing. What the process holds is then its peak. With another C library nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, -1)  # never give back what is free at the heap's end
        mallopt(_M_MMAP_MAX, 0)  # give no block a mapping of its own
