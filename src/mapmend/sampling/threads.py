"""Reading on several threads: GDAL decodes without Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_MOST = 8  # decoding gains little beyond, and machines are shared


def in_threads(task: Callable[[_T], None], items: Sequence[_T]) -> None:
    """Do a task for each item; what is raised first stops the rest.

    Raises:
        Exception: whatever the task raises.
    """
    number = min(usable(), len(items))
    if number <= 1:  # the calling thread has its files open already
        for item in items:
            task(item)
        return
    with ThreadPoolExecutor(number) as pool:
        try:
            for _ in pool.map(task, items):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def usable() -> int:
    """How many threads read at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST, cores)
