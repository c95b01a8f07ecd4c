"""What a ledger says of a block: one small file, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from mapmend.predict.worker import Worker

State = Literal["running", "done", "failed"]  # a block without a file is pending


@dataclass(frozen=True)
class Entry:
    """The state of a block.

    Attributes:
        state: running, done or failed.
        worker: that was last at work on it.
        files: SHA-256 of the files of a block that is done, by name.
        windows: that were predicted.
        pixels: that got a class; of two dates, at the later one.
        seconds: it took.
        error: why it failed, in one line.
    """

    state: State
    worker: Worker
    files: Mapping[str, str] = field(default_factory=dict)
    windows: int = 0
    pixels: int = 0
    seconds: float = 0.0
    error: str = ""

    def to_dict(self) -> dict[str, object]:
        """As plain values, without what says nothing in this state."""
        told: dict[str, object] = {
            "state": self.state,
            "host": self.worker.host,
            "process": self.worker.process,
            "started": self.worker.started,
        }
        if self.state == "done":
            told |= {"files": dict(self.files), "windows": self.windows, "pixels": self.pixels, "seconds": self.seconds}
        return told | ({"error": self.error} if self.state == "failed" else {})


def read_entry(path: Path) -> Entry | None:
    """The entry in a file; None where there is none, or none that can be understood: the block is then pending."""
    try:
        plain: dict[str, Any] = json.loads(path.read_text())
        worker = Worker(str(plain["host"]), int(plain["process"]), int(plain["started"]))
        if plain["state"] not in get_args(State):
            return None
        return Entry(
            cast("State", plain["state"]),
            worker,
            {str(name): str(value) for name, value in plain.get("files", {}).items()},
            int(plain.get("windows", 0)),
            int(plain.get("pixels", 0)),
            float(plain.get("seconds", 0)),
            str(plain.get("error", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
