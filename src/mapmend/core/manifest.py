"""The manifest: which images exist, of which place and date, and what is known about their labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date as Date
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.plain import suggestion

TRUSTS = ("reference", "noisy", "coarse", "outdated", "pseudo")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Row:
    """One image (or, in a list of references, one label).

    Attributes:
        site: the place; rows of one site share a grid.
        date: ISO date, or empty when unknown.
        sensor: a name from the project's `sensors`, or a shipped sensor card.
        image: one file, or several that hold the bands.
        valid: raster that is 0 where the image must not be used.
        label: class raster or polygons.
        label_legend: legend, crosswalk or file that explains the label's codes; empty for the project's legend.
        label_field: attribute of a vector label that holds the class.
        label_gsd: the label's own pixel size in metres, where the file does not show it.
        trust: what kind of imperfection to expect of the label.
        split: train, val or test; empty leaves the choice to the tool.
    """

    site: str
    date: str = ""
    sensor: str = ""
    image: tuple[str, ...] = ()
    valid: str | None = None
    label: str | None = None
    label_legend: str | None = None
    label_field: str | None = None
    label_gsd: float | None = None
    trust: str = "noisy"
    split: str = ""


COLUMNS = tuple(field.name for field in fields(Row))
_PATHS = ("image", "valid", "label")


def parse_manifest(text: str, *, where: str | Path, folder: Path) -> tuple[Row, ...]:
    """Rows of a CSV text; relative paths are taken from `folder`.

    Raises:
        ManifestError: an unknown column, a value that does not fit, a row twice, or no row at all.
    """
    lines = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    check_columns(lines.fieldnames or (), where)
    rows = []
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            raise ManifestError("has another number of columns than its head", where=f"{where}, line {number}")
        rows.append(make_row({k: v.strip() for k, v in line.items() if v.strip()}, f"{where}, line {number}", folder))
    return check_rows(rows, where)


def check_columns(names: Iterable[str], where: str | Path) -> None:
    """Refuse columns that are not part of a manifest, naming the nearest that is.

    Raises:
        ManifestError: there is one, or `site` is missing.
    """
    names = list(names)
    for name in names:
        if name not in COLUMNS:
            raise ManifestError(f"unknown column '{name}'", where=where, fix=suggestion(name, COLUMNS))
    if "site" not in names:
        raise ManifestError("has no column 'site'", where=where, fix=f"the first line names {', '.join(COLUMNS)}")


def make_row(values: Mapping[str, str], where: str, folder: Path) -> Row:
    """A row from its texts.

    Raises:
        ManifestError: a value that does not fit.
    """
    plain: dict[str, object] = dict(values)
    if not values.get("site"):
        raise ManifestError("has no site", where=where, fix="name the place the image shows")
    if any(character in values["site"] for character in "/\\\0") or values["site"] in (".", ".."):
        raise ManifestError(
            f"site '{values['site']}' cannot name a folder", where=where, fix="use letters, digits, - _ ."
        )
    for name in _PATHS:
        if name in values:
            files = tuple(str(folder / part.strip()) for part in values[name].split(";") if part.strip())
            plain[name] = files if name == "image" else files[0]
    _check_choice(values.get("trust", "noisy"), TRUSTS, "trust", where)
    _check_choice(values.get("split", "train"), SPLITS, "split", where)
    if "date" in values:
        try:
            Date.fromisoformat(values["date"])
        except ValueError:
            raise ManifestError(
                f"date '{values['date']}' is not YYYY-MM-DD", where=where, fix="write 2024-07-31"
            ) from None
    if "label_gsd" in values:
        try:
            plain["label_gsd"] = float(values["label_gsd"])
        except ValueError:
            raise ManifestError(
                f"label_gsd '{values['label_gsd']}' is not a number", where=where, fix="metres"
            ) from None
    return Row(**plain)  # type: ignore[arg-type]


def check_rows(rows: Iterable[Row], where: str | Path) -> tuple[Row, ...]:
    """The rows, once it is certain that none is given twice and that there is one.

    Raises:
        ManifestError: neither holds.
    """
    kept: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = (row.site, row.date, row.sensor)
        if key in kept:
            raise ManifestError(
                f"site '{row.site}', date '{row.date}', sensor '{row.sensor}' is given twice", where=where
            )
        kept[key] = row
    if not kept:
        raise ManifestError("has no rows", where=where, fix="list at least one scene")
    return tuple(kept.values())


def format_manifest(rows: Iterable[Row]) -> str:
    """The CSV text of rows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = (getattr(row, name) for name in COLUMNS)
        writer.writerow([";".join(v) if isinstance(v, tuple) else "" if v is None else v for v in values])
    return out.getvalue()


def _check_choice(value: str, choices: tuple[str, ...], column: str, where: str) -> None:
    if value not in choices:
        raise ManifestError(f"{column} '{value}' is unknown", where=where, fix=suggestion(value, choices))
