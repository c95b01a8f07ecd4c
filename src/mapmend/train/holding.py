"""One training at a time in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mapmend.core.durable import typed_faults
from mapmend.core.errors import JobError

_PATIENCE = 15  # seconds; readers of a killed training hold its lock until they notice, which takes five


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other processes from working in it inside of the block.

    Raises:
        JobError: another one does.
    """
    with typed_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    with typed_faults(folder):
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:  # an OSError too
            raise JobError("another process is training here", where=folder, fix="wait for its end") from None
    try:
        yield
    finally:
        lock.release()
