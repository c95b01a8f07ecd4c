"""A file appears whole or not at all."""

import errno
import os
import tempfile
from pathlib import Path

from mapmend.core.errors import DiskError, JobError


def save(content: bytes, path: str | Path) -> None:
    """Write a file beside its place and move it there; the folder is made.

    Raises:
        DiskError: no space left.
        JobError: the place cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError("no space left for it", where=path, fix="free some space") from error
        reason = error.strerror or str(error)
        raise JobError(f"cannot be written ({reason})", where=path, fix="choose another place") from error


def _umask() -> int:
    """What new files of this process are not allowed; reading it means setting it."""
    current = os.umask(0o077)
    os.umask(current)
    return current
