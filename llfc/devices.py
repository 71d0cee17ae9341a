"""How a device is used best: layout of images, TF32 disabled, a stream of one's own, memory."""

import ctypes
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import torch
from torch import nn
from torch.backends import _FP32Precision

WIDE = 512  # channels
NARROW = 8  # channels

_T = TypeVar("_T")


def fastest_layout(model: nn.Module) -> torch.memory_format:
    """Channels last for two-dimensional convolutions, unless they are wide ones on a CPU.

    In bfloat16 on a GPU a ResNet-20 is then twice as fast, as batch norms of few channels otherwise
    keep few of its cores busy. On CPUs with AVX-512, steps and passes of ResNet-20 and of narrow
    VGGs took a tenth to nearly a half less, those of a VGG-11 or VGG-16 of width 1, whose widest
    layers have 512 channels, a fifth more; with 256 channels it was a draw; with AVX2 alone they
    took a fifth less. Values stay what they are, up to the rounding of sums that are taken in
    another order.

    Nor on a CPU where a strided convolution of one pixel reads fewer than 8 channels, as in a
    ResNet-20 of width 1/4: PyTorch's kernel for AVX2 (oneDNN's) writes the weights' gradient beyond
    its memory then, which ends the process or, unseen, spoils the gradient.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if not layers or (on_cpu and any(is_wide(layer) or is_spoilt(layer) for layer in layers)):
        return torch.contiguous_format
    return torch.channels_last


def is_wide(layer: nn.Conv2d) -> bool:
    """Whether a CPU takes longer for it with channels last."""
    return layer.out_channels >= WIDE


def is_spoilt(layer: nn.Conv2d) -> bool:
    """Whether its gradient is not to be had on every CPU with channels last."""
    pixel = max(layer.kernel_size) == 1 and max(layer.stride) > 1
    return pixel and layer.in_channels < NARROW


# All that lets float32 operations round their inputs: what others inherit first.
_SWITCHES = tuple(
    _FP32Precision(backend, operation)  # type: ignore[no-untyped-call]
    for backend, operation in (
        ("generic", "all"),
        ("cuda", "all"),
        ("mkldnn", "all"),
        *((backend, name) for backend in ("cuda", "mkldnn") for name in ("matmul", "conv", "rnn")),
    )
)
# How many are inside `tf32_disabled`, in all threads: the switches are one set for the process.
_inside, _outside, _lock = 0, ExitStack(), threading.Lock()


@contextmanager
def tf32_disabled() -> Iterator[None]:
    """Products, convolutions and recurrences in float32 as IEEE has it.

    Otherwise a GPU may round what it multiplies to TF32, which drops 13 of 23 bits: cuDNN by
    default, cuBLAS under `torch.set_float32_matmul_precision("high")`. A CPU may round to bfloat16,
    under "medium"; both may under a caller's `torch.autocast`. Attention in eval mode is not run as
    one operation, which would round otherwise in a network with hooks than in one without. The
    switches come back to what they were when the last of the threads that need this is out.
    """
    global _inside
    with _lock:
        if not _inside:
            _outside.enter_context(_float32_switches_off())
            _outside.enter_context(fused_attention_disabled())
        _inside += 1
    try:
        with _autocast_disabled():
            yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _outside.close()


@contextmanager
def _autocast_disabled() -> Iterator[None]:
    """This thread's, where there is any."""
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def _float32_switches_off() -> Iterator[None]:
    """The switches off, and PyTorch's older ones with them: where both differ, reading them fails.

    Older switches that contradict the newer ones already cannot be read, and stay off.
    """
    matmul, convolution = _older(torch.get_float32_matmul_precision), _older(_cudnn_allows)
    before = []
    for switch in _SWITCHES:
        before.append(switch.fp32_precision)  # its own, as none is left that it could inherit
        switch.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if convolution is not None:
            torch.backends.cudnn.allow_tf32 = convolution
        for switch, value in zip(_SWITCHES, before, strict=True):
            switch.fp32_precision = value


@contextmanager
def fused_attention_disabled() -> Iterator[None]:
    """Attention in eval mode, and what is around it, as the operations that it is made of."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _older(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except RuntimeError:
        return None


def _cudnn_allows() -> bool:
    return torch.backends.cudnn.allow_tf32


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

    Otherwise glibc gives a large tensor's memory back to the system at once, and the next one's
    comes anew, cleared page by page. Without that, on two CPU cores, forward passes of ResNet-20
    and VGG-16 took a third and a fifth less, walks a fifth, training of ResNet-20 a seventh; an
    MLP's nothing. What the process holds is then its peak. With another C library nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, -1)  # never give back what is free at the heap's end
        mallopt(_M_MMAP_MAX, 0)  # give no block a mapping of its own


# Of a network with as many numbers, copies in double precision take half a GiB.
LARGE = 2**26


def give_back_freed_memory(model: nn.Module) -> None:
    """Let the system have what was freed of copies of `model`, if that is large.

    glibc keeps what is freed within its heap: after the canonical forms of two GPT-2 1.3 GiB, as
    much again as both networks, and after their kinds 2.1. With another C library nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        tensors = [*model.parameters(), *model.buffers()]
        if sum(tensor.numel() for tensor in tensors) >= LARGE:
            ctypes.CDLL(None).malloc_trim(0)
