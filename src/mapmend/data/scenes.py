"""Scenes from what a project names: a manifest (CSV or Parquet), patterns of files, known layouts, TorchGeo's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import Row, check_columns, check_rows, make_row, parse_manifest
from mapmend.data.chesapeake import CHESAPEAKE, chesapeake_rows
from mapmend.data.layouts import ScenePattern, expand
from mapmend.data.openearthmap import OPENEARTHMAP, OPENEARTHMAP_SAR, openearthmap_rows, openearthmap_sar_rows
from mapmend.data.poland import POLAND, poland_rows
from mapmend.data.torchgeo import torchgeo_rows
from mapmend.data.torchgeo_opening import TORCHGEO
from mapmend.data.torchgeo_tiles import CHESAPEAKE_CVPR, chesapeake_cvpr_rows

__all__ = ["ScenePattern", "check_files", "read_scenes"]

REFERENCE = "reference"  # the key of a project file that lists what maps are scored against


def read_scenes(
    source: str | Sequence[ScenePattern], base: Path, store: Path | None = None, *, name: str = "scenes"
) -> tuple[Row, ...]:
    """Rows of a manifest file, or of entries: patterns of files (`layouts.expand`), known layouts, TorchGeo's data.

    Args:
        source: the manifest's file, or the entries.
        base: folder that relative paths start from.
        store: folder for what has to be written first, the samples of data sets; `from_torchgeo` in `base` if None.
        name: key of the project file that holds the entries; `reference` asks known layouts for what scores.

    Raises:
        ManifestError: a file is missing, a pattern matches nothing, or a row does not fit.
    """
    if isinstance(source, str):
        return _read_file(base / source)
    rows: list[Row] = []
    reference = name == REFERENCE
    for number, entry in enumerate(source, start=1):
        where = f"{name}, entry {number}"
        if entry.get(TORCHGEO) == CHESAPEAKE_CVPR:
            rows += chesapeake_cvpr_rows(entry, where, base, reference=reference)
        elif TORCHGEO in entry:
            rows += torchgeo_rows(entry, where, base, store or base / "from_torchgeo")
        elif CHESAPEAKE in entry:
            rows += chesapeake_rows(entry, where, base, reference=reference)
        elif POLAND in entry:
            rows += poland_rows(entry, where, base, reference=reference)
        elif OPENEARTHMAP in entry:
            rows += openearthmap_rows(entry, where, base, reference=reference)
        elif OPENEARTHMAP_SAR in entry:
            rows += openearthmap_sar_rows(entry, where, base, reference=reference)
        else:
            rows += expand(entry, where, base)
    return check_rows(rows, name)


def with_sensor(rows: Sequence[Row], sensors: Sequence[str]) -> tuple[Row, ...]:
    """Rows without a sensor get the project's, where it has but one."""
    only = sensors[0] if len(sensors) == 1 else ""
    return tuple(replace(row, sensor=row.sensor or only) for row in rows)


def check_files(rows: Sequence[Row], where: str | Path) -> None:
    """Make certain that every file of every row exists, before any work starts.

    Raises:
        ManifestError: one does not.
    """
    for row in rows:
        for path in (*row.image, row.valid, *row.label_files, row.label_confidence, row.change):
            if path is not None and not Path(path).exists():
                raise ManifestError(
                    f"site '{row.site}': file does not exist: {path}", where=where, fix="correct the path"
                )


def _read_file(path: Path) -> tuple[Row, ...]:
    if not path.is_file():
        raise ManifestError("no such manifest", where=path, fix="give a CSV or Parquet file, or patterns of files")
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ManifestError("is not a text file in UTF-8", where=path, fix="save the manifest as UTF-8 CSV") from None
    return parse_manifest(text, where=path, folder=path.parent)


def _read_parquet(path: Path) -> tuple[Row, ...]:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise ManifestError(f"cannot be read as Parquet ({error})", where=path) from None
    check_columns(table.columns, path)
    rows = [
        make_row(
            {str(k): _text(v) for k, v in line.items() if not pd.isna(v) and v != ""},
            f"{path}, row {number}",
            path.parent,
        )
        for number, line in enumerate(table.to_dict("records"), start=1)
    ]
    return check_rows(rows, path)


def _text(value: object) -> str:
    """As it would stand in a CSV: a column of years with gaps holds floats, one of days may hold time stamps."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.date().isoformat() if isinstance(value, datetime) else str(value)
