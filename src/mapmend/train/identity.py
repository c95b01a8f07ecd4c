"""What a training is made of, so that an output folder is never continued by another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mapmend.core.durable import replace_json
from mapmend.core.errors import JobError
from mapmend.core.provenance import value_hash
from mapmend.methods.method import Method
from mapmend.train.config import FREE, LoopConfig

FILE = "training.json"


def made_of(method: Method, config: LoopConfig, world: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """All on which the weights depend, as JSON's values.

    Args:
        method: its settings and its tensors' names, shapes and types count, their values do not.
        config: without the fields that are free.
        world: how many processes train.
        given: by the caller: hashes of data, network and initial weights.
    """
    tensors = {name: [list(t.shape), str(t.dtype)] for name, t in method.state_dict().items()}
    content = {
        "given": dict(given),
        "method": {"name": method.name, **asdict(method.config)},
        "loop": {name: value for name, value in asdict(config).items() if name not in FREE},
        "processes": world,
        "tensors": value_hash(tensors),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return plain


def claim(out: Path, content: Mapping[str, Any], *, write: bool) -> str:
    """Make a folder this training's, or find that it is.

    Returns:
        The training's hash.

    Raises:
        JobError: the folder is another training's; what differs is named.
    """
    path = out / FILE
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["made_of"]
        except (ValueError, KeyError, TypeError):
            raise JobError("is not a training's file", where=path, fix="use a new output folder") from None
        if found != content:
            raise JobError(
                f"belongs to another training (differs in {', '.join(_differences(found, content))})",
                where=out,
                fix="use a new output folder",
            )
    elif write:
        replace_json(path, {"made_of": content})
    return value_hash(content)


def _differences(one: Any, other: Any, prefix: str = "") -> list[str]:
    """Paths of the keys that differ, at most five."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return [prefix or "everything"]
    found = []
    for key in sorted({*one, *other}):
        if key not in one or key not in other:
            found.append(f"{prefix}.{key}".lstrip("."))
        elif one[key] != other[key]:
            found += _differences(one[key], other[key], f"{prefix}.{key}".lstrip("."))
    return found[:5]
