"""Scenes from what a project names: a manifest file (CSV or Parquet) or patterns of files in folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import COLUMNS, Row, check_columns, check_rows, make_row, parse_manifest

ScenePattern = Mapping[str, object]
_PLACEHOLDER = "{name}"


def read_scenes(source: str | Sequence[ScenePattern], base: Path) -> tuple[Row, ...]:
    """Rows of a manifest file, or of file patterns.

    A pattern is a row of a manifest whose files hold `{name}`, which stands for whatever differs from file to
    file; `image` may map sensors to files, which makes a row for each. `site` is `{name}` unless given.

    Raises:
        ManifestError: a file is missing, a pattern matches nothing, or a row does not fit.
    """
    if isinstance(source, str):
        return _read_file(base / source)
    rows = [row for number, pattern in enumerate(source, start=1) for row in _expand(pattern, number, base)]
    return check_rows(rows, "scenes")


def check_files(rows: Sequence[Row], where: str | Path) -> None:
    """Make certain that every file of every row exists, before any work starts.

    Raises:
        ManifestError: one does not.
    """
    for row in rows:
        for path in (*row.image, row.valid, row.label):
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
            {str(k): str(v) for k, v in line.items() if not pd.isna(v) and str(v)}, f"{path}, row {number}", path.parent
        )
        for number, line in enumerate(table.to_dict("records"), start=1)
    ]
    return check_rows(rows, path)


def _expand(pattern: ScenePattern, number: int, base: Path) -> list[Row]:
    where = f"scenes, entry {number}"
    values = dict(pattern)
    images = values.pop("image", {"": None})
    images = dict(images) if isinstance(images, Mapping) else {str(values.pop("sensor", "")): images}
    fixed = {key: str(value) for key, value in values.items() if value is not None}
    fixed.setdefault("site", _PLACEHOLDER)
    check_columns([*fixed, "image", "sensor"], where)
    names = _names([str(value) for value in [*images.values(), fixed.get("label")] if value is not None], base, where)
    rows = []
    for name in names:
        for sensor, image in images.items():
            filled = {key: value.replace(_PLACEHOLDER, name) for key, value in fixed.items()}
            if image is not None:
                filled["image"] = str(image).replace(_PLACEHOLDER, name)
            if sensor:
                filled["sensor"] = sensor
            rows.append(make_row(filled, where, base))
    return rows


def _names(patterns: list[str], base: Path, where: str) -> list[str]:
    """What `{name}` stands for in the first pattern that has it; files of the others are checked later."""
    with_name = [pattern for pattern in patterns if _PLACEHOLDER in pattern]
    if not patterns:
        raise ManifestError("names neither image nor label", where=where, fix=f"keys: {', '.join(COLUMNS)}")
    if not with_name:
        return [""]
    first = with_name[0].split(";")[0]
    head, _, tail = first.partition(_PLACEHOLDER)
    expression = re.compile(
        re.escape(head) + r"([^/]+)" + re.escape(tail.replace(_PLACEHOLDER, "\0")).replace("\0", r"\1")
    )
    folder = base / head.rpartition("/")[0]
    candidates = folder.glob(first[len(head.rpartition("/")[0]) :].lstrip("/").replace(_PLACEHOLDER, "*"))
    found = (expression.fullmatch(_relative(path, base, first)) for path in candidates)
    names = sorted(match.group(1) for match in found if match)
    if not names:
        raise ManifestError(
            f"no file matches '{first}' below {base}", where=where, fix="check the folder and the pattern"
        )
    return names


def _relative(path: Path, base: Path, pattern: str) -> str:
    return str(path) if Path(pattern).is_absolute() else path.relative_to(base).as_posix()
