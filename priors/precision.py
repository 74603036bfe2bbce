"""When bfloat16 may be used: asked of the processor at run time, never assumed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import torch

PRECISIONS = ("auto", "bf16", "fp32")


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # another system: float32 works everywhere
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether `device` multiplies bfloat16 in hardware (AMX or AVX512-BF16 on a CPU); emulation is slower
    than float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8
    return device.type == "cpu" and bool(_cpu_flags() & {"amx_bf16", "avx512_bf16"})


def check_precision(precision: str) -> str:
    """The argument, if it is one of "auto", "bf16" and "fp32"; else ValueError."""
    if precision not in PRECISIONS:
        message = f"precision is {precision!r}: choose one of {', '.join(PRECISIONS)}."
        raise ValueError(message)
    return precision


def resolve(precision: str, device: torch.device | str) -> str:
    """ "bf16" or "fp32" from "auto", "bf16" or "fp32"; "bf16" is obeyed even where the processor emulates it.

    >>> resolve("fp32", "cpu")
    'fp32'
    """
    if check_precision(precision) == "auto":
        return "bf16" if has_bfloat16(device) else "fp32"
    return precision


def autocast(precision: str, device: torch.device | str) -> AbstractContextManager:
    """The context in which convolutions run in bfloat16 if `precision` resolves to it, else an empty one."""
    if resolve(precision, device) == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
