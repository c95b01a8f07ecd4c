"""Checkpoints: a folder of tensors and scalars that is there whole or not at all.

`<folder>/<step>/state.safetensors` holds every tensor, `state.json` every scalar with the tensors' SHA-256 and its own.
A kill at any moment leaves the old state or the new one; the two newest are kept, so that damage to one is survived.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mapmend.core.durable import sync, typed_faults, write_synced
from mapmend.core.errors import JobError
from mapmend.core.provenance import file_hash

SCHEMA = 1
_KEPT = 2
_NAME = re.compile(r"\d{9}")
_TENSORS, _SCALARS = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A state read back: tensors by name (on the CPU) and scalars."""

    step: int
    tensors: Mapping[str, Tensor]
    scalars: Mapping[str, Any]


def save_checkpoint(folder: Path, step: int, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> Path:
    """Write a checkpoint and drop those that are no longer needed.

    Args:
        folder: of all checkpoints of one training.
        step: how many steps are done.
        tensors: by name; copied to the CPU.
        scalars: of JSON's types; floats come back bit for bit.

    Raises:
        DiskError: the disk is full; the earlier checkpoints are untouched.
        JobError: the folder cannot be written.
    """
    final = folder / f"{step:09d}"
    temporary = folder / f".new-{os.getpid()}"
    with typed_faults(folder, also=(SafetensorError,)):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary.mkdir()
        try:
            _write(temporary, step, tensors, scalars)
            if final.exists():  # a damaged one that was passed over; it goes first, for a folder cannot be replaced
                _drop(final)
            temporary.rename(final)
            sync(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        for old in _found(folder)[:-_KEPT]:
            _drop(old)
    return final


def load_checkpoint(folder: Path, identity: str, *, at: int | None = None) -> Checkpoint | None:
    """Read the newest checkpoint that is whole, or None where there is none.

    Args:
        folder: of all checkpoints of one training.
        identity: hash of what the training is made of.
        at: read this step's and no other.

    Raises:
        JobError: the checkpoint is another training's.
    """
    for path in reversed(_found(folder)):
        if at is not None and int(path.name) != at:
            continue
        try:
            checkpoint = _read(path)
        except (OSError, ValueError, KeyError, SafetensorError) as fault:
            warnings.warn(f"{path}: checkpoint is damaged ({fault}); the one before is used", stacklevel=2)
            continue
        if checkpoint.scalars["identity"] != identity:
            raise JobError("holds another training's checkpoints", where=folder, fix="use a new output folder")
        return checkpoint
    return None


def _write(folder: Path, step: int, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    # cloned, for safetensors refuses tensors that share memory (tied weights)
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, folder / _TENSORS)
    sync(folder / _TENSORS)
    content = {"schema": SCHEMA, "step": step, "tensors": file_hash(folder / _TENSORS), "scalars": dict(scalars)}
    write_synced(folder / _SCALARS, json.dumps({**content, "sha256": _digest(content)}).encode())
    sync(folder)


def _read(path: Path) -> Checkpoint:
    content = json.loads((path / _SCALARS).read_bytes())
    if content.pop("sha256") != _digest(content):
        raise ValueError(f"{_SCALARS} has another checksum than it states")
    if content["schema"] != SCHEMA:
        raise JobError(
            f"checkpoint is of schema {content['schema']}, this version reads {SCHEMA}",
            where=path,
            fix="use the version that wrote it, or a new output folder",
        )
    if content["tensors"] != file_hash(path / _TENSORS):
        raise ValueError(f"{_TENSORS} has another checksum than stated")
    return Checkpoint(content["step"], load_file(path / _TENSORS), content["scalars"])


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _found(folder: Path) -> list[Path]:
    """Checkpoints' folders, oldest first."""
    return sorted(path for path in folder.glob("*") if _NAME.fullmatch(path.name))


def _sweep(folder: Path) -> None:
    """Remove what a killed process left half-written or half-removed."""
    for pattern in (".new-*", ".old-*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path)


def _drop(path: Path) -> None:
    """Remove a checkpoint; under its name it is whole to the end."""
    gone = path.with_name(f".old-{path.name}")
    path.rename(gone)
    shutil.rmtree(gone)
