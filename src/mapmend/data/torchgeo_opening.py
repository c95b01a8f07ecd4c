"""TorchGeo's data sets by name, opened with the arguments that a project gives."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapmend.core.errors import ManifestError
from mapmend.core.plain import suggestion

TORCHGEO = "torchgeo"
_PATHS = ("root", "paths")  # arguments of TorchGeo's data sets that are folders


def arguments(entry: Mapping[str, object], where: str, base: Path) -> dict[str, Any]:
    """`args` of a project's entry; relative folders start from `base`.

    Raises:
        ManifestError: it is not a mapping.
    """
    args = entry.get("args") or {}
    if not isinstance(args, Mapping):
        raise ManifestError("`args` is not a mapping", where=where, fix="write args: {root: FOLDER, split: train}")
    return {str(key): str(base / str(value)) if key in _PATHS else value for key, value in args.items()}


def construct(name: str, args: Mapping[str, object], where: str) -> Any:
    """The data set of this name.

    Raises:
        ManifestError: TorchGeo is not installed, has no such data set, or that cannot be opened.
    """
    try:
        module = importlib.import_module("torchgeo.datasets")
    except ImportError as error:
        raise ManifestError(
            f"TorchGeo is not installed ({error})", where=where, fix='pip install "mapmend[torchgeo]"'
        ) from None
    if name not in module.__all__:
        raise ManifestError(f"TorchGeo has no data set '{name}'", where=where, fix=suggestion(name, module.__all__))
    try:
        return getattr(module, name)(**args)
    except Exception as error:  # each data set raises its own
        raise ManifestError(
            f"TorchGeo's {name} cannot be opened ({first_line(error)})", where=where, fix="correct `args`"
        ) from None


def first_line(error: Exception) -> str:
    """What an error of TorchGeo says, in one short line."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {text}"[:200]
