"""The training's log: a JSON object a line, and TensorBoard events on request."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapmend.core.durable import typed_faults
from mapmend.core.errors import TrainError


class Log:
    """Appends rows; each has a `kind` (start, train, skipped, validation) and a `step`.

    Args:
        path: of the file.
        rows: how many rows of an earlier session stand; what comes after them is dropped, for it will be written again.
        step: likewise for the events.
        tensorboard: folder for events, or None.

    Raises:
        TrainError: TensorBoard is asked for and not installed.
        DiskError, JobError: the file cannot be written; `write` and `sync` raise them too.
    """

    def __init__(self, path: Path, rows: int = 0, step: int = 0, tensorboard: Path | None = None) -> None:
        self._path = path
        with typed_faults(path):
            self._file = path.open("r+b" if path.exists() else "w+b")
            whole = self._file.read().splitlines(keepends=True)[:rows]
            self._file.truncate(sum(len(line) for line in whole))
            self._file.seek(0, os.SEEK_END)
        self.rows = len(whole)
        self._events = _events(tensorboard, step) if tensorboard else None

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        with typed_faults(self._path):
            self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._file.flush()
        self.rows += 1
        if self._events:
            for name, value in _scalars(row):
                self._events.add_scalar(f"{row['kind']}/{name}", value, row["step"])

    def sync(self) -> None:
        """Force the rows to the disk: a checkpoint must not know of rows that a power cut takes."""
        with typed_faults(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._events:
            self._events.close()


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """All rows of a log; a last row that is cut off is left out."""
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _scalars(row: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Numbers of a row, nested names joined."""
    found: list[tuple[str, float]] = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            found.append((prefix + name, value))
    return found


def _events(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainError("tensorboard is not installed", fix="pip install 'mapmend[tensorboard]'") from None
    return SummaryWriter(str(folder), purge_step=step or None)
