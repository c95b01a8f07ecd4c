"""The progress line of a sample."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class SamplingProgress:
    """A line on a terminal; silent where there is none.

    Args:
        name: of the map.
        pixels: to be counted.
        shown: False to be silent everywhere.
    """

    def __init__(self, name: str, pixels: int, *, shown: bool = True) -> None:
        self._bar = Progress(
            TextColumn("sample {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} % of {task.fields[size]:.1f} Mpx  {task.fields[stage]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(name, total=pixels, size=pixels / 1e6, stage="counting")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, stage=name)

    def pixels(self, number: int) -> None:
        """Count pixels."""
        self._bar.advance(self._task, number)
