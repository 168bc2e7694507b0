"""Which number format multiplies faster here. It is measured: a processor may have instructions that gain nothing.

With AMX bf16 is several times as fast as fp32; some processors have AVX-512's bf16 instructions alone, which on one of
them is twice as fast and on another half.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import torch

INSTRUCTIONS = (" avx512_bf16", " amx_bf16")
GAIN = 1.2  # bf16 must be as many times as fast, or what is cast to and fro eats it up
ROWS, INNER, COLUMNS = 512, 512, 1536  # what a step of the default model multiplies, a quarter of its frames
TRIES = 4


def can_bf16(accelerator: str) -> bool:
    """Whether the device has instructions for bf16; elsewhere it would be emulated, slowly."""
    if accelerator == "gpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and any(name in flags.read_text() for name in INSTRUCTIONS)


def prefers_bf16(accelerator: str) -> bool:
    """Whether matrices of bf16 are multiplied faster than those of fp32, by enough to be of use."""
    return can_bf16(accelerator) and (accelerator == "gpu" or _gain() >= GAIN)


@cache
def _gain() -> float:
    """How many times as fast as in fp32 a product of bf16 is, on the threads now set; in under a tenth of a second."""
    wide, narrow = (_fastest(dtype) for dtype in (torch.float32, torch.bfloat16))
    return wide / narrow


def _fastest(dtype: torch.dtype) -> float:
    """Seconds of one product, the fastest of some."""
    a, b = torch.ones(ROWS, INNER, dtype=dtype), torch.ones(INNER, COLUMNS, dtype=dtype)
    torch.mm(a, b)  # the first prepares
    seconds = []
    for _ in range(TRIES):
        began = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
