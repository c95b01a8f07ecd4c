"""Where a result comes from: hashes of inputs and settings, versions, seed."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from mapmend import __version__

RECORD = "mapmend.json"
"""The record in a folder of maps or changes; it is written last: a folder that has it is complete."""

_PACKAGES = ("torch", "timm", "segmentation-models-pytorch", "rasterio", "numpy")


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def value_hash(value: object) -> str:
    """SHA-256 of a JSON-able value; equal values give equal hashes whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_stamp(path: str | Path) -> list[object]:
    """Name, size and time of change of a file: enough to see that it was replaced, at no cost for large rasters."""
    stat = Path(path).stat()
    return [Path(path).name, stat.st_size, stat.st_mtime_ns]


def provenance(
    config: Mapping[str, object], *, seed: int | None = None, inputs: Iterable[str | Path] = ()
) -> dict[str, object]:
    """What a result was made from and with, as plain values.

    Args:
        config: the settings in force.
        seed: the random seed, where there is one.
        inputs: files whose content the result depends on.
    """
    versions = {name: metadata.version(name) for name in _PACKAGES}
    return {
        "software": {"mapmend": __version__, "python": platform.python_version(), **versions},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "config": dict(config),
        "config_hash": value_hash(config),
        "inputs": [{"name": Path(path).name, "sha256": file_hash(path)} for path in inputs],
    }
