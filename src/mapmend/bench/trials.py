"""Trials that are run once: a JSON line each, kept through whatever ends the program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mapmend.core.durable import replace_file, typed_faults
from mapmend.core.errors import JobError


class Trials:
    """Results of named trials in a file; a trial that has its line is not run again.

    A last line that a kill left half-written is dropped.

    Args:
        path: of the file; made at the first result.

    Raises:
        JobError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole, _, rest = text.rpartition("\n")
        if rest:
            replace_file(path, f"{whole}\n" if whole else "")
        try:
            self.rows: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise JobError("is damaged", where=path, fix="delete it, or use a new folder") from None

    def find(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The result of a trial that was run before."""
        return next((row for row in self.rows if all(row.get(name) == value for name, value in key.items())), None)

    def run(self, key: Mapping[str, Any], trial: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The result of a trial, from the file or by running it now."""
        found = self.find(key)
        if found is not None:
            return found
        print(f"running {' '.join(f'{name}={value}' for name, value in key.items())}", file=sys.stderr, flush=True)
        row = {**key, **trial()}
        with typed_faults(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.rows.append(row)
        return row
