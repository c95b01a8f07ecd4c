"""The progress line of a change job."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_PASSES = 2  # over the maps: to measure the patches, and to write them
_RASTERS = 4  # each put together in about half a pass


class ChangeProgress:
    """A line on a terminal; silent where there is none.

    Args:
        name: of the place.
        pixels: of its grid.
        shown: False to be silent everywhere.
    """

    def __init__(self, name: str, pixels: int, *, shown: bool = True) -> None:
        self._pixels = pixels
        self._bar = Progress(
            TextColumn("change {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} % of {task.fields[size]:.1f} Mpx  {task.fields[stage]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
        )
        total = pixels * (_PASSES + _RASTERS / 2)
        self._task = self._bar.add_task(name, total=total, size=pixels / 1e6, stage="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, stage=name)

    def rows(self, pixels: int) -> None:
        """Count pixels of a pass."""
        self._bar.advance(self._task, pixels)

    def raster(self) -> None:
        """Count a raster put together."""
        self._bar.advance(self._task, self._pixels / 2)
