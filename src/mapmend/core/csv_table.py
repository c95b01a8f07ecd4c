"""Small tables as people keep them in CSV files: with commas, semicolons or tabs, with a byte-order mark or without."""

from __future__ import annotations

import csv
from pathlib import Path

from mapmend.core.errors import MapmendError

_MOST_BYTES = 2**20  # 255 classes by 255 take some 300 kB; what is larger is some other file


def table_rows(path: Path, error: type[MapmendError], what: str, layout: str) -> list[list[str]]:
    """The cells of all lines that hold anything, without empty columns at the end; one row at least.

    Args:
        path: of the file.
        error: raised where it is no such table.
        what: the table should be, for messages.
        layout: of the table in words, for messages.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise error(f"is too large for {what}", where=path, fix=layout)
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise error(f"cannot be read ({fault.strerror})", where=path, fix="check the path") from None
    except UnicodeDecodeError:
        raise error("is not text in UTF-8", where=path, fix="save the table as CSV, UTF-8") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max("\t;,", key=first.count)
    try:
        lines = [[cell.strip() for cell in line] for line in csv.reader(text.splitlines(), delimiter=separator)]
    except csv.Error as fault:
        raise error(f"is not a CSV file ({fault})", where=path, fix=layout) from None
    rows = [line for line in lines if any(line)]
    if not rows:
        raise error("is empty", where=path, fix=layout)
    while all(not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    return rows
