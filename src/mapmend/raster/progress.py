"""The progress line of a job that goes over a raster in several stages."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class StagedProgress:
    """A line on a terminal; silent where there is none.

    Args:
        verb: that is at work.
        name: of the place or map.
        pixels: of its grid.
        passes: over the grid that the whole job takes.
        shown: False to be silent everywhere.
    """

    def __init__(self, verb: str, name: str, pixels: int, *, passes: float = 1, shown: bool = True) -> None:
        self._bar = Progress(
            TextColumn(verb + " {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} % of {task.fields[size]:.1f} Mpx  {task.fields[stage]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(name, total=pixels * passes, size=pixels / 1e6, stage="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, stage=name)

    def pixels(self, number: float) -> None:
        """Count pixels of a pass."""
        self._bar.advance(self._task, number)
