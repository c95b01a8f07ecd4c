"""The C library's allocator, set for networks on a processor."""

from __future__ import annotations

import ctypes
import platform
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MOST_ARENAS = -1, -3, -8  # names of glibc's mallopt parameters
_LARGE = 2**30


@cache
def keep_large_blocks() -> None:
    """Let freed memory be used again instead of going back to the system; does nothing without glibc.

    A layer's output at 512 pixels is larger than the 32 MiB above which glibc takes fresh pages from the system, for
    every layer of every batch anew: up to half of a U-Net's time on a processor is spent on clearing them. What is kept
    is kept in one arena: with one for each thread that reads or writes, a long job's memory grows by what each of them
    once needed.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, _LARGE)
    libc.mallopt(_TRIM_THRESHOLD, _LARGE)
    libc.mallopt(_MOST_ARENAS, 1)
