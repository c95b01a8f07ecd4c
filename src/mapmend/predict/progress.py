"""The progress line of a mapping: megapixels, speed, time left."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class MappingProgress:
    """A line on a terminal; silent where there is none.

    Args:
        name: of the scene.
        pixels: to be mapped in all.
        shown: False to be silent everywhere.
    """

    def __init__(self, name: str, pixels: int, *, shown: bool = True) -> None:
        self._bar = Progress(
            TextColumn("predict {task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} Mpx  {task.fields[speed]}"),
            TimeRemainingColumn(),
            speed_estimate_period=120,
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task(name, total=pixels / 1e6, speed="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def skip(self, pixels: int) -> None:
        """Count pixels that an earlier run has mapped."""
        left = self._bar.tasks[0].total or 0
        self._bar.update(self._task, total=left - pixels / 1e6)

    def advance(self, pixels: int) -> None:
        """Count pixels that were mapped now."""
        self._bar.advance(self._task, pixels / 1e6)
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, speed=f"{speed:.2f} Mpx/s" if speed else "")
