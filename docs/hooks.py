"""Fills the pages' generated parts, so that they say what the code says: a mkdocs hook, also used by the tests.

A page asks for a part with a comment of its own line: `<!-- fields: module.Class -->` (a settings class),
`<!-- columns -->` (of the manifest), `<!-- verbs -->`, `<!-- legends -->`, `<!-- crosswalks -->`, `<!-- sensors -->`.
"""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from mapmend.cli import app
from mapmend.core.legend import load_legend, shipped_crosswalks, shipped_legends
from mapmend.core.manifest import Row
from mapmend.core.plain import shipped
from mapmend.core.sensor import load_sensor

_MARK = re.compile(r"^<!-- (fields|columns|verbs|legends|crosswalks|sensors)(?:: (\S+))? -->$", re.MULTILINE)
_WORDS = {bool: "yes or no", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with each page's text."""
    filled = _MARK.sub(lambda match: _PARTS[match[1]](*filter(None, [match[2]])), markdown)
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", filled)  # what lies outside of docs/ is not on the site


def fields(name: str) -> str:
    """The settings class `module.Class` as a table: every field with its values, default and meaning."""
    module, _, cls_name = name.rpartition(".")
    cls = getattr(importlib.import_module(module), cls_name)
    types, meanings = get_type_hints(cls, include_extras=True), attributes(cls)
    rows = [
        (f"`{field.name}`", described(types[field.name]), _default(field), meanings[field.name].rstrip("."))
        for field in dataclasses.fields(cls)
    ]
    return _table(("key", "value", "default", "meaning"), rows)


def columns() -> str:
    """The manifest's columns."""
    return _table(
        ("column", "meaning"), [(f"`{name}`", meaning.rstrip(".")) for name, meaning in attributes(Row).items()]
    )


def attributes(cls: type) -> dict[str, str]:
    """Field → meaning, from the `Attributes` sections of a class's docstring and of what it inherits."""
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for line in section.splitlines():
            if match := re.match(r" {4}(\w+): (.*)", line):
                name, meanings[match[1]] = match[1], match[2]
            elif line.startswith(" " * 8):
                meanings[name] += " " + line.strip()
    return meanings


def described(kind: Any) -> str:
    """What a field of a type takes, in words."""
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        limits = [limit for note in notes for limit in _limits(note)]
        return " ".join([described(base), *limits[:1], *(f"and {limit}" for limit in limits[1:])])
    if get_origin(kind) in (Union, UnionType):
        parts = [described(part) for part in get_args(kind) if part is not NoneType]
        return " or ".join(parts) + (", or empty" if NoneType in get_args(kind) else "")
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" if value else "empty" for value in get_args(kind))
    if get_origin(kind) in (tuple, list):
        return f"a list, each {described(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"keys, each with {described(get_args(kind)[1])}"
    return _WORDS.get(kind, "any value")


def verbs() -> str:
    """Every verb of the command line with its arguments and options."""
    return "\n\n".join(_verb(name, call) for name, call in commands().items())


def commands() -> dict[str, Callable[..., Any]]:
    """Verb → function, in the command line's order; verbs of a group, like `bench noise`, come last."""
    parts = [("", app), *((f"{group.name} ", group.typer_instance) for group in app.registered_groups)]
    found = [
        (f"{before}{info.name or info.callback.__name__}", info.callback)
        for before, part in parts
        if part
        for info in part.registered_commands
        if info.callback
    ]
    return {name.replace("_", "-"): call for name, call in found}


def options(call: Callable[..., Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, type, default and typer's description of each argument and option of a verb."""
    for name, parameter in inspect.signature(call, eval_str=True).parameters.items():
        kind, info = get_args(parameter.annotation)[:2]
        declared = [text for text in (info.default, *(info.param_decls or ())) if str(text).startswith("--")]
        yield declared[0] if declared else info.metavar or name.upper(), kind, parameter.default, info


def _verb(name: str, call: Callable[..., Any]) -> str:
    rows, usage = [], [f"mapmend {name}"]
    for shown, kind, default, info in options(call):
        is_argument = isinstance(info, ArgumentInfo)
        if is_argument:
            usage.append(shown)
        value = "" if kind is bool or is_argument else described(kind).removesuffix(", or empty")
        limits = " and ".join(_limits(info))
        rows.append((f"`{shown}`", f"{value} {limits}".strip(), _shown(default), info.help))
    text = " ".join((call.__doc__ or "").split())
    usage_block = f"```\n{' '.join(usage)} [options]\n```"
    return f"## {name}\n\n{text}\n\n{usage_block}\n\n{_table(('option', 'value', 'default', 'meaning'), rows)}"


def _limits(note: Any) -> list[str]:
    """The limits that an annotation of pydantic's or typer's carries."""
    found = [(sign, getattr(each, key, None)) for each in getattr(note, "metadata", ()) for key, sign in _SIGNS.items()]
    found += [("≥", getattr(note, "min", None)), ("≤", getattr(note, "max", None))]
    return [f"{sign} {limit:g}" for sign, limit in found if limit is not None]


def legends() -> str:
    """The shipped legends."""
    rows = []
    for name in shipped_legends():
        legend = load_legend(name)
        rows.append((f"`{name}`", legend.title, f"{len(legend)}: {'; '.join(legend.names[:6])}", legend.licence))
    return _table(("name", "what", "classes (the first six)", "licence"), rows)


def crosswalks() -> str:
    """The shipped crosswalks, by the legend they lead to."""
    rows = [
        (f"`{target}`", ", ".join(f"`{name}`" for name in names))
        for target in shipped_legends()
        if (names := shipped_crosswalks(target))
    ]
    return _table(("your legend", "`label_legend` may be"), rows)


def sensors() -> str:
    """The shipped sensor cards."""
    rows = []
    for name in shipped("sensors"):
        card = load_sensor(name)
        values = f"{card.unit}; stored as {', '.join(card.dtypes) or 'any number type'}"
        rows.append((f"`{name}`", card.title, ", ".join(card.band_names), values))
    return _table(("name", "what", "bands", "values"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "empty"
    return "**required**" if field.default is dataclasses.MISSING else _shown(field.default)


def _shown(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "**required**"
    if value is None or value in ("", ()) or value is False:
        return "no" if value is False else "empty"
    return "yes" if value is True else f"`{value}`"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = [
        [re.sub(r"<(?=\w)", "&lt;", " ".join(cell.split()).replace("|", "\\|")) for cell in line] for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


_PARTS: dict[str, Callable[..., str]] = {
    "fields": fields,
    "columns": columns,
    "verbs": verbs,
    "legends": legends,
    "crosswalks": crosswalks,
    "sensors": sensors,
}
