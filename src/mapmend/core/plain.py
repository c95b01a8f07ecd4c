"""Small YAML documents: found, read and checked, with faults that name the file, the key and the nearest known name."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from mapmend.core.errors import MapmendError

_T = TypeVar("_T")
_MOST_BYTES = 2**20  # a legend of 254 classes takes 20 kB; what is larger is some other file


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, where plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice[0]}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | Traversable, error: type[MapmendError]) -> dict[str, object]:
    """The mapping a YAML file holds.

    Raises:
        MapmendError: of the class `error`; the file is missing, too large, not YAML, or not a mapping.
    """
    try:
        if isinstance(path, Path) and path.stat().st_size > _MOST_BYTES:
            raise error("is too large for a YAML description", where=str(path), fix="give the .yaml file")
        content = yaml.load(path.read_bytes(), Loader=_StrictLoader)
    except FileNotFoundError:
        raise error("does not exist", where=str(path), fix="check the path") from None
    except OSError as fault:
        raise error(f"cannot be read ({fault.strerror})", where=str(path), fix="give a readable .yaml file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as fault:
        raise error(f"is not valid YAML ({fault})", where=str(path), fix="correct the file") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise error("is not a mapping of keys to values", where=str(path), fix="write `key: value` lines")
    return content


def parse(
    kind: type[_T], plain: object, known: Iterable[str], *, where: str | Path | None, error: type[MapmendError]
) -> _T:
    """A dataclass or pydantic model from plain values; `known` are the keys that a misspelt one is compared with.

    Raises:
        MapmendError: of the class `error`; a key that is unknown or missing, or a value of the wrong type.
    """
    try:
        return cast(_T, _adapter(cast(Hashable, kind)).validate_python(plain))
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        *place, last = [str(part) for part in first["loc"]] or ["the whole"]
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            inside = f" in {'.'.join(place)}" if place else ""
            raise error(f"unknown key '{last}'{inside}", where=where, fix=suggestion(last, known)) from None
        if first["type"] in ("missing", "missing_argument"):
            inside = f"{'.'.join(place)} has" if place else "has"
            raise error(f"{inside} no '{last}'", where=where, fix="add it") from None
        key, value = ".".join([*place, last]), first["input"]
        message = first["msg"][:1].lower() + first["msg"][1:]
        fix = "give a value; one that starts with # needs quotes" if value is None else "correct it"
        raise error(f"'{key}' is {str(value)[:40]!r}: {message}", where=where, fix=fix) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Built once for each kind: that takes longer than many checks."""
    return TypeAdapter(kind)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Advice for an unknown name: the nearest known one, else all of them."""
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), by_lower, n=1)
    if near:
        return f"did you mean '{by_lower[near[0]]}'?"
    return f"known: {', '.join(by_lower.values())}"


def shipped(folder: str) -> Mapping[str, Traversable]:
    """The YAML files of a folder of this package by their names without `.yaml`, sorted."""
    files = (resources.files("mapmend.core") / folder).iterdir()
    return {file.name[:-5]: file for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".yaml")}


def given_file(spec: str | Path, base: Path | None) -> Path | None:
    """The path a text stands for (relative ones start from `base`), or None where it is a name."""
    if isinstance(spec, str) and not spec.endswith((".yaml", ".yml")) and "/" not in spec:
        return None
    return (base or Path()) / spec
