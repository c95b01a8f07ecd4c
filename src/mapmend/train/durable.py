"""Files that are there whole or not at all, even after a power cut; what goes wrong is one typed line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from mapmend.core.errors import DiskError, JobError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_PATIENCE = 15  # seconds; readers of a killed training hold its lock until they notice, which takes five


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a small JSON file at once; faults as in `typed_faults`."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    with typed_faults(path):
        try:
            write_synced(temporary, json.dumps(content, indent=1).encode())
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def typed_faults(place: Path) -> Iterator[None]:
    """Turn what the system says about a write into a typed error.

    Raises:
        DiskError: the disk is full.
        JobError: anything else.
    """
    try:
        yield
    except (OSError, SafetensorError) as fault:
        # safetensors' error carries in its message the number that its type does not
        number = fault.errno if isinstance(fault, OSError) else None
        if number in _DISK_FULL or any(f"os error {code}" in str(fault) for code in _DISK_FULL):
            raise DiskError("the disk is full", where=place, fix="make room; the same command goes on") from None
        said = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise JobError(f"cannot be written ({said})", where=place, fix="check the path and its rights") from None


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
