"""The manifest: which images exist, of which place and date, and what is known about their labels."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date as Date
from itertools import pairwise
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.plain import suggestion

TRUSTS = ("reference", "noisy", "coarse", "outdated", "pseudo")
SPLITS = ("train", "val", "test")
_STEP = re.compile(r"t\d+")
_COARSE_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?")


@dataclass(frozen=True)
class Row:
    """One image (or, in a list of references, one label).

    Attributes:
        site: the place; rows of one site share a grid.
        date: `YYYY-MM-DD`, `YYYY-MM` or `YYYY`; `t1`, `t2`, ... where only the order is known; or empty.
        sensor: a name from the project's `sensors`, or a shipped sensor card.
        image: one file, or several that hold the bands.
        valid: raster that is 0 where the image must not be used.
        label: class raster, polygons or points; or several masks, one a class, as `class=file;class=file`.
        label_legend: legend, crosswalk or file that explains the label's codes; empty for the project's legend.
        label_field: attribute of a vector label that holds the class.
        label_class: class of whatever the label marks: every feature, or every pixel that is not 0.
        label_rest: class of what the label does not mark; empty: no label there.
        label_band: number of the band, from 1, that holds the label's codes, of a raster that holds other things too.
        label_gsd: the label's own pixel size in metres, where the file does not show it.
        label_confidence: raster of how sure the label is, 200·p in 8 bits, as `pseudo` and `predict` write it.
        trust: what kind of imperfection to expect of the label.
        split: train, val or test; empty leaves the choice to the tool.
        change: raster or polygons of what changed from the site's first to its last date, in a row of either.
        change_legend: crosswalk that explains its codes; empty: what is marked, or not 0, changed; the rest did not.
        change_band: as `label_band`, of codes that `change_legend` explains.
    """

    site: str
    date: str = ""
    sensor: str = ""
    image: tuple[str, ...] = ()
    valid: str | None = None
    label: str | None = None
    label_legend: str | None = None
    label_field: str | None = None
    label_class: str | None = None
    label_rest: str | None = None
    label_band: int | None = None
    label_gsd: float | None = None
    label_confidence: str | None = None
    trust: str = "noisy"
    split: str = ""
    change: str | None = None
    change_legend: str | None = None
    change_band: int | None = None

    @property
    def masks(self) -> tuple[tuple[str, str], ...]:
        """(class, file) of each mask, where the label is told by presence; empty where it holds codes or names."""
        if self.label is None:
            return ()
        if self.label_class is not None:
            return ((self.label_class, self.label),)
        return _masks(self.label)

    @property
    def label_files(self) -> tuple[str, ...]:
        """The label's files, mostly one."""
        return tuple(file for _, file in self.masks) or ((self.label,) if self.label is not None else ())


COLUMNS = tuple(field.name for field in fields(Row))
_PATHS = ("image", "valid", "label", "label_confidence", "change")


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


def check_columns(names: Iterable[str], where: str | Path, also: tuple[str, ...] = ()) -> None:
    """Refuse columns that are neither part of a manifest nor among `also`, naming the nearest that is.

    Raises:
        ManifestError: there is one, or `site` is missing.
    """
    names = list(names)
    for name in names:
        if name not in (*COLUMNS, *also):
            raise ManifestError(f"unknown column '{name}'", where=where, fix=suggestion(name, (*COLUMNS, *also)))
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
            plain[name] = _absolute(name, values[name], folder)
    _check_choice(values.get("trust", "noisy"), TRUSTS, "trust", where)
    _check_choice(values.get("split", "train"), SPLITS, "split", where)
    if "date" in values:
        _check_date(values["date"], where)
    if "label_gsd" in values:
        try:
            plain["label_gsd"] = float(values["label_gsd"])
        except ValueError:
            raise ManifestError(
                f"label_gsd '{values['label_gsd']}' is not a number", where=where, fix="metres"
            ) from None
    for name in ("label_band", "change_band"):
        if name in values:
            if not values[name].isdecimal() or int(values[name]) < 1:
                raise ManifestError(f"{name} '{values[name]}' is no band", where=where, fix="the first is 1")
            plain[name] = int(values[name])
    row = Row(**plain)  # type: ignore[arg-type]
    _check_label(row, where)
    return row


def check_rows(rows: Iterable[Row], where: str | Path) -> tuple[Row, ...]:
    """The rows, once it is certain that there is one, that none is given twice, and that dates can be put in order.

    Raises:
        ManifestError: one of these does not hold.
    """
    kept: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        key = (row.site, row.date, row.sensor)
        if key in kept:
            told = [f"{name} '{value}'" for name, value in zip(("site", "date", "sensor"), key, strict=True) if value]
            raise ManifestError(
                f"{', '.join(told)} is given twice",
                where=where,
                fix="list it once; of two lists, a place is on the one with labels or on the one without",
            )
        kept[key] = row
    if not kept:
        raise ManifestError("has no rows", where=where, fix="list at least one scene")
    dates: dict[str, list[str]] = {}
    for row in kept.values():
        dates.setdefault(row.site, []).append(row.date)
    for site, given in dates.items():
        _check_order(f"site '{site}'", sorted(set(given)), where)
    return tuple(kept.values())


def check_pair(before: str, after: str, where: str) -> None:
    """Make certain that one date comes before another; a date may be empty, where nobody knows it.

    Raises:
        ManifestError: it is no date, or the two are equal, in the wrong order, or in an order that nobody knows.
    """
    for date in filter(None, (before, after)):
        _check_date(date, where)
    if not (before and after):
        return
    if before == after:
        raise ManifestError(f"both dates are {before}", where=where, fix="give the earlier date first")
    _check_order(where, sorted((before, after)), None)
    if before > after:
        raise ManifestError(
            f"the earlier date {before} comes after {after}", where=where, fix="give the earlier date first"
        )


def two_dates(rows: Iterable[Row], split: str = "") -> bool:
    """Whether a place has images of two dates; with `split`, one whose rows have it."""
    dates: dict[str, set[str]] = {}
    for row in rows:
        if row.image and split in ("", row.split):
            dates.setdefault(row.site, set()).add(row.date)
    return any(len(of_site) > 1 for of_site in dates.values())


def format_manifest(rows: Iterable[Row]) -> str:
    """The CSV text of rows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = (getattr(row, name) for name in COLUMNS)
        writer.writerow([";".join(v) if isinstance(v, tuple) else "" if v is None else v for v in values])
    return out.getvalue()


def _absolute(column: str, text: str, folder: Path) -> object:
    masks = _masks(text) if column == "label" else ()
    if masks:
        return ";".join(f"{name}={folder / file}" for name, file in masks)
    if column == "image":
        return tuple(str(folder / part.strip()) for part in text.split(";") if part.strip())
    return str(folder / text)


def _masks(text: str) -> tuple[tuple[str, str], ...]:
    """(class, file) of `class=file;class=file`; empty for a plain path, which may hold `=` too (`year=2020/a.tif`)."""
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    if len(parts) < 2 or not all(name.strip() and equals and file.strip() for name, equals, file in parts):
        return ()
    return tuple((name.strip(), file.strip()) for name, _, file in parts)


def _check_label(row: Row, where: str) -> None:
    if row.change_legend and row.change is None:
        raise ManifestError("has `change_legend` and no `change`", where=where, fix="add `change`")
    if row.change_band and not row.change_legend:
        raise ManifestError("has `change_band` and no `change_legend`", where=where, fix="say what its codes mean")
    if row.label_band and (row.label is None or row.masks):
        raise ManifestError("`label_band` is of a label with codes", where=where, fix="leave it out")
    if row.label_confidence and row.label is None:
        raise ManifestError("has `label_confidence` and no `label`", where=where, fix="add `label`")
    named = row.label_class or row.label_rest
    if row.label is None and named:
        raise ManifestError(f"names class '{named}' of a label, and no label", where=where, fix="add `label`")
    if row.label is not None and row.label_class and _masks(row.label):
        raise ManifestError(
            "gives a label several masks and `label_class`", where=where, fix="name each mask's class: a=a.tif;b=b.tif"
        )
    if row.label_rest and not row.masks:
        raise ManifestError(
            "`label_rest` needs to know what the label marks", where=where, fix="add `label_class`, or leave it out"
        )
    extra = "label_legend" if row.label_legend else "label_field" if row.label_field else ""
    if row.masks and extra:
        raise ManifestError(
            f"`{extra}` explains codes, and this label is told by presence", where=where, fix=f"leave out `{extra}`"
        )


def _check_date(text: str, where: str) -> None:
    if not _is_date(text):
        raise ManifestError(
            f"date '{text}' is not YYYY-MM-DD, YYYY-MM, YYYY or t1, t2, ...", where=where, fix="write 2024-07-31"
        )


def _is_date(text: str) -> bool:
    if _STEP.fullmatch(text) or _COARSE_DATE.fullmatch(text):
        return True
    try:
        return Date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_order(owner: str, dates: list[str], where: str | Path | None) -> None:
    """Refuse dates whose order as texts is not their order in time.

    Raises:
        ManifestError: there are such.
    """
    known = [date for date in dates if date]
    steps = [date for date in known if date.startswith("t")]
    if steps and len(steps) < len(known):
        known = [date for date in known if date not in steps]
        raise ManifestError(
            f"{owner} has dates '{known[0]}' and '{steps[0]}', whose order is unknown",
            where=where,
            fix="give all of them as dates, or all as t1, t2, ...",
        )
    if len({len(step) for step in steps}) > 1:
        raise ManifestError(
            f"{owner} has dates '{steps[0]}' and '{steps[-1]}' with other numbers of digits",
            where=where,
            fix="write t01, t02, ..., t10",
        )
    for one, later in pairwise(known):
        if later.startswith(one):
            raise ManifestError(
                f"{owner} has dates '{one}' and '{later}', whose order is unknown",
                where=where,
                fix="give both to the month or day",
            )


def _check_choice(value: str, choices: tuple[str, ...], column: str, where: str) -> None:
    if value not in choices:
        raise ManifestError(f"{column} '{value}' is unknown", where=where, fix=suggestion(value, choices))
