"""Files that are there whole or not at all, even after a power cut; what goes wrong is one typed line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mapmend.core.errors import DiskError, JobError, MapmendError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXT = "cannot be written: the disk is full"


def replace_file(path: Path, content: bytes | str, *, error: type[MapmendError] = JobError) -> None:
    """Write a file beside its place and rename it into it; its folder is made.

    A text is written in UTF-8. What a kill left beside the place is overwritten by the next write.

    Raises:
        DiskError: the disk is full.
        MapmendError: of the class `error`; the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    with typed_faults(path, error=error):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(temporary, content.encode() if isinstance(content, str) else content)
            temporary.replace(path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def replace_json(path: Path, content: Mapping[str, Any], *, error: type[MapmendError] = JobError) -> None:
    """`replace_file` with plain values as JSON."""
    replace_file(path, json.dumps(content, indent=1) + "\n", error=error)


def create_json(path: Path, content: Mapping[str, Any], *, error: type[MapmendError] = JobError) -> bool:
    """Write plain values as JSON unless the file is there; several processes may try at once, and one succeeds.

    Returns:
        Whether it was this call.

    Raises:
        DiskError: the disk is full.
        MapmendError: of the class `error`; the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.new")
    with typed_faults(path, error=error):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(temporary, (json.dumps(content, indent=1) + "\n").encode())
            os.link(temporary, path)
            sync(path.parent)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    return True


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
def typed_faults(
    place: Path, *, error: type[MapmendError] = JobError, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn what the system says about a write into a typed error.

    Args:
        place: the file or folder.
        error: what a fault becomes unless the disk is full.
        also: other exceptions that report such a fault, with the system's number in their message.

    Raises:
        DiskError: the disk is full.
        MapmendError: of the class `error`; anything else.
    """
    try:
        yield
    except Exception as fault:
        if not isinstance(fault, (OSError, *also)):
            raise
        number = fault.errno if isinstance(fault, OSError) else None
        if number in DISK_FULL or any(f"os error {code}" in str(fault) for code in DISK_FULL):
            raise DiskError(_FULL_TEXT, where=place, fix="free some space and run it again") from None
        said = fault.strerror if isinstance(fault, OSError) else str(fault)
        raise error(f"cannot be written ({said})", where=place, fix="check the path and its rights") from None
