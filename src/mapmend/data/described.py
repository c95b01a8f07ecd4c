"""Prepared files beside a description of what they were made from, so that what is up to date is not made again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mapmend.core.durable import replace_json
from mapmend.core.grid import Grid, grid_to_dict
from mapmend.core.provenance import file_stamp, value_hash

_FORMAT = 2  # raised when prepared files of an older version must be made again


def identity_of(files: Sequence[str], grid: Grid, settings: object) -> str:
    """What a prepared file follows from: the state of its inputs, the grid, and plain settings."""
    return value_hash([_FORMAT, [file_stamp(file) for file in files], grid_to_dict(grid), settings])


def read_description(path: Path, identity: str) -> dict[str, Any] | None:
    """What was written beside a prepared file; None where that was made from something else."""
    try:
        plain = json.loads(path.with_suffix(".json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return plain["content"] if plain.get("identity") == identity else None


def write_description(path: Path, identity: str, content: object) -> None:
    """Write plain values beside a prepared file, atomically."""
    replace_json(path.with_suffix(".json"), {"identity": identity, "content": content})
