"""Files that appear whole or not at all: written in a hidden folder beside their place, synced, renamed into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mapmend.core.durable import DISK_FULL, sync
from mapmend.core.errors import DiskError, RasterError

# libtiff names the operation and not the cause; on a file that could be opened, that is a disk that takes no more
_FULL_TEXTS = (*map(os.strerror, DISK_FULL), "TIFFAppendToStrip", "TIFFRewriteDirectory", "TIFFWriteDirectory")
_SPARE_BYTES = 2**20  # where GDAL says no more than that a write failed, this much is tried to be written


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A place to write a file to, which becomes `path` at the end, and vanishes if anything is raised inside.

    The hidden folder's name follows from the file's, so that what a killed process left is cleared by the next one.

    Raises:
        DiskError: the disk is full.
        RasterError: the folder cannot be written.
    """
    folder = path.parent / f".{path.name}.part"
    try:
        with disk_faults(path):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder / path.name
        with disk_faults(path):
            sync(folder / path.name)
            (folder / path.name).replace(path)
            sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn a failed write into a DiskError if the disk is full, and else into a RasterError.

    Raises:
        DiskError: the disk is full.
        RasterError: the file cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        raise write_fault(path, error.strerror or str(error), full=error.errno in DISK_FULL) from None


def write_fault(path: Path, reason: str, *, full: bool = False) -> DiskError | RasterError:
    """The error for a write that failed, told from the reason's text and from trying to write a little more."""
    if full or any(text in reason for text in _FULL_TEXTS) or _is_full(path.parent):
        return DiskError("cannot be written: the disk is full", where=path, fix="free some space and run it again")
    return RasterError(f"cannot be written ({reason})", where=path, fix="check the folder and its permissions")


def check_disk(path: str | Path, needed_bytes: int) -> None:
    """Refuse to start what will not fit on the disk.

    Args:
        path: a file or folder to be written; its nearest existing parent counts.
        needed_bytes: estimate of what will be written.

    Raises:
        DiskError: less is free.
    """
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DiskError(
            f"needs about {_size(needed_bytes)} and {_size(free)} are free",
            where=path,
            fix="free some space or choose another folder",
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _is_full(folder: Path) -> bool:
    """Whether a mebibyte more cannot be written: a quota or limit fills a disk that has space left."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            if probe.write(bytes(_SPARE_BYTES)) < _SPARE_BYTES:
                return True
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in DISK_FULL
    return False
