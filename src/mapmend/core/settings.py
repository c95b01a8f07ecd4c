"""Typed settings from plain mappings: what a user wrote in YAML becomes a frozen value, or one clear error."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mapmend.core.errors import ProjectError
from mapmend.core.plain import suggestion

T = TypeVar("T")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_LACKING = ("missing", "missing_argument")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field, Field))
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass of settings: keywords only, values checked, unknown keys refused."""
    strict = ConfigDict(extra="forbid", allow_inf_nan=False)
    return cast(type[T], dataclass(frozen=True, kw_only=True, config=strict)(cls))


def from_mapping(cls: type[T], mapping: object, where: str | Path) -> T:
    """Build a settings class, or any dataclass or pydantic model, from a mapping.

    Args:
        cls: the class; what its fields have no default for must be in the mapping.
        mapping: keys and plain values; nested settings are nested mappings. None, an empty block in YAML, is like {}.
        where: file and place, for the error.

    Raises:
        ProjectError: not a mapping, a key the class does not know (the nearest is named), a key that is missing, or a
            value that does not fit.
    """
    [value] = split_mapping([cls], mapping, where)
    return cast(T, value)


def split_mapping(classes: Sequence[type[Any]], mapping: object, where: str | Path) -> list[Any]:
    """Build several settings classes from one mapping: each takes the keys that are its own.

    Raises:
        ProjectError: as in `from_mapping`; an unknown key is one that none of the classes knows.
    """
    known = [key for cls in classes for key in _keys(cls)]
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, Mapping):
        raise ProjectError(f"{mapping!r} where keys and values should stand", where=where, fix=_listed(known))
    for key in mapping:
        if key not in known:
            raise _unknown(key, known, where)
    return [_build(cls, {key: mapping[key] for key in _keys(cls) if key in mapping}, where) for cls in classes]


def _build(cls: type[T], mapping: Mapping[str, object], where: str | Path) -> T:
    try:
        return TypeAdapter(cls).validate_python(mapping)
    except ValidationError as error:
        raise _explain(cls, error, where) from None
    except ProjectError as fault:  # of settings that do not go together
        raise ProjectError(fault.what, where=where, fix=fault.fix) from None


def _listed(names: Iterable[str]) -> str:
    return f"choose from {', '.join(names)}"


def _unknown(key: object, names: Iterable[str], where: str | Path) -> ProjectError:
    return ProjectError(f"unknown key '{key}'", where=where, fix=suggestion(str(key), names))


def _explain(cls: type[Any], error: ValidationError, where: str | Path) -> ProjectError:
    """The first fault; a value that fits no branch of a union has one message per branch, all of which are said."""
    faults = error.errors(include_url=False)
    first = faults[0]
    owners, path = [cls], ""
    for part in first["loc"]:
        names = [name for owner in owners for name in _keys(owner)]
        if isinstance(part, int):
            path += f"[{part}]"
        elif part in names:
            path += f".{part}" if path else part
            owners = [inner for owner in owners for inner in _nested(owner, part)]
        elif first["type"] in _UNKNOWN and part == first["loc"][-1]:
            return _unknown(part, names, f"{where}: {path}" if path else where)
    if first["type"] in _LACKING:
        return ProjectError(f"key '{path}' is missing", where=where, fix="add it")
    top = first["loc"][:1]
    told = dict.fromkeys(_lower(fault["msg"]) for fault in faults if fault["loc"][:1] == top)
    return ProjectError(f"'{path}' is {first['input']!r}: {', or '.join(told)}", where=where)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _keys(cls: type[Any]) -> list[str]:
    if issubclass(cls, BaseModel):
        return list(cls.model_fields)
    return [field.name for field in dataclasses.fields(cls)]


def _nested(cls: type[Any], key: str) -> Iterator[type[Any]]:
    """Settings classes inside a field's annotation, through unions, tuples and mappings."""
    hints = get_type_hints(cls)
    pending = [hints[key]] if key in hints else []
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and (dataclasses.is_dataclass(annotation) or issubclass(annotation, BaseModel)):
            yield annotation
        pending.extend(get_args(annotation))
