"""Legends and crosswalks by name, from YAML files, or as written in a project."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import LegendError
from mapmend.core.plain import given_file, parse, read_yaml, shipped, suggestion

__all__ = [
    "NODATA",
    "Crosswalk",
    "Legend",
    "LegendClass",
    "load_crosswalk",
    "load_legend",
    "shipped_crosswalks",
    "shipped_legends",
]


class _CrosswalkFile(BaseModel):
    """A crosswalk as it is written in YAML.

    `name` is what a user asks for (default: the source, else the file's name). `source` names the legend of the
    codes: a shipped name or a YAML file gives them colours and class names, any other text is only a text. `mapping`
    goes from the target's class, by name or code, to source codes. `ignore` lists source codes that mean "no label";
    those that the source legend ignores, and 255, need no mention unless `mapping` uses them. `mixture` says for a code
    how much of each class its ground has on average, in the order of `mapping`. `benchmark` marks one that belongs to
    the rules of a benchmark: it is not suggested for labels at large.
    """

    model_config = ConfigDict(extra="forbid")

    mapping: Mapping[str | int, int | tuple[int, ...]]
    source: str = ""
    name: str = ""
    target: str = ""
    table_source: str = ""
    ignore: tuple[int, ...] = ()
    mixture: Mapping[int, tuple[float, ...]] = {}
    benchmark: bool = False


def load_legend(spec: str | Path | Mapping[str, object], base: Path | None = None) -> Legend:
    """A legend by its shipped name, from a YAML file (relative paths start from `base`), or from plain values.

    Raises:
        LegendError: the name is unknown (the nearest is named), or the file does not hold a legend.
    """
    if isinstance(spec, Mapping):
        return Legend.from_dict(spec, where="legend")
    path = given_file(spec, base)
    if path is not None:
        return Legend.from_dict(read_yaml(path, LegendError), where=path, name=path.stem)
    return _shipped_legend(str(spec))


def shipped_legends() -> list[str]:
    """Names of the legends that come with the package."""
    return list(shipped("legends"))


def load_crosswalk(source: str | Path | None, target: Legend, base: Path | None = None) -> Crosswalk:
    """The crosswalk from a label's codes to a legend.

    Args:
        source: None, the target's own name or its file: the codes are the target's ids; its ignored codes and 255
            mean "no label". A shipped crosswalk's name, such as nlcd. Or the YAML file of a crosswalk.
        target: the legend that is translated to.
        base: folder that relative paths start from.

    Raises:
        LegendError: no such crosswalk (those that lead to the target are named), or a file that is none.
    """
    if source is None or source == target.name:
        return _identity(target)
    path = given_file(source, base)
    if path is not None:
        plain = read_yaml(path, LegendError)
        if "classes" in plain:  # the file of a legend, which is fine if it is the target's
            given = Legend.from_dict(plain, where=path, name=path.stem)
            if [(one.id, one.name) for one in given.classes] == [(one.id, one.name) for one in target.classes]:
                return _identity(target)
            raise LegendError(
                f"is a legend with other classes than '{target.name}'", where=path, fix="write a crosswalk (`mapping:`)"
            )
        return _crosswalk_from_dict(plain, target, where=path, base=path.parent)
    files = shipped("crosswalks")
    file = files.get(f"{source}_to_{target.name}")
    if file is None:
        known = [target.name, *shipped_crosswalks(target.name)]
        raise LegendError(
            f"no crosswalk leads from '{source}' to legend '{target.name}'",
            fix=f"{suggestion(str(source), known)} (or give a YAML file)",
        )
    where = f"crosswalk '{source}'"
    return _crosswalk_from_dict(read_yaml(file, LegendError), target, where=where, base=None)


def shipped_crosswalks(target: str) -> list[str]:
    """Names of the crosswalks to a legend that come with the package."""
    ending = f"_to_{target}"
    return [name.removesuffix(ending) for name in shipped("crosswalks") if name.endswith(ending)]


def _identity(target: Legend) -> Crosswalk:
    table = {code: NODATA for code in target.ignore} | {code: code for code in target.ids}
    return Crosswalk(target.name, target, table, target)


@cache  # a site's labels ask again and again, and YAML is slow
def _shipped_legend(name: str) -> Legend:
    files = shipped("legends")
    if name not in files:
        raise LegendError(f"legend '{name}' is unknown", fix=f"{suggestion(name, files)} (or give a YAML file)")
    return Legend.from_dict(read_yaml(files[name], LegendError), where=f"legend '{name}'", name=name)


def _crosswalk_from_dict(
    plain: Mapping[str, object], target: Legend, *, where: str | Path, base: Path | None
) -> Crosswalk:
    file = parse(_CrosswalkFile, plain, _CrosswalkFile.model_fields, where=where, error=LegendError)
    if file.target not in ("", target.name):
        raise LegendError(
            f"leads to legend '{file.target}', not to '{target.name}'", where=where, fix="use the crosswalk's target"
        )
    table: dict[int, int] = {}
    for name, codes in file.mapping.items():
        try:
            meaning = target.ids[target.index_of(name)]
        except LegendError as fault:
            raise LegendError(f"mapping: {fault.what} in legend '{target.name}'", where=where, fix=fault.fix) from None
        for code in (codes,) if isinstance(codes, int) else codes:
            _add(table, code, meaning, where)
    for code in file.ignore:
        _add(table, code, NODATA, where)
    is_legend = file.source in shipped("legends") or given_file(file.source, base) is not None
    source_legend = load_legend(file.source, base) if is_legend else None
    for code in source_legend.ignore if source_legend is not None else ():
        table.setdefault(code, NODATA)
    mixture = {code: _in_order(shares, file.mapping, target, code, where) for code, shares in file.mixture.items()}
    return Crosswalk(file.name or file.source or Path(where).stem, target, table, source_legend, mixture)


def _in_order(
    shares: tuple[float, ...], named: Mapping[str | int, object], target: Legend, code: int, where: str | Path
) -> tuple[float, ...]:
    """Shares in the target's order, 0 for classes that have none."""
    if len(shares) != len(named):
        raise LegendError(
            f"mixture of code {code} has {len(shares)} shares",
            where=where,
            fix=f"give one for each of {', '.join(map(str, named))}",
        )
    places = [target.index_of(name) for name in named]
    return tuple(shares[places.index(index)] if index in places else 0.0 for index in range(len(target)))


def _add(table: dict[int, int], code: int, meaning: int, where: str | Path) -> None:
    if code in table:
        raise LegendError(f"code {code} is given twice", where=where, fix="give each code one meaning")
    table[code] = meaning
