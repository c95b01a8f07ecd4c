"""The progress line of a training: step, loss, mIoU, time left."""

from __future__ import annotations

import sys
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress:
    """A line on a terminal; silent where there is none, and in all processes but the first."""

    def __init__(self, steps: int, done: int, first: bool) -> None:
        self._bar = Progress(
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  mIoU {task.fields[miou]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (first and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("train", total=steps, completed=done, loss="–", miou="–")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def step(self, done: int) -> None:
        """Show how many steps are done."""
        self._bar.update(self._task, completed=done)

    def loss(self, value: float) -> None:
        """Show the mean loss since the last row of the log."""
        self._bar.update(self._task, loss=f"{value:.4f}")

    def miou(self, value: float) -> None:
        """Show the last evaluation."""
        self._bar.update(self._task, miou=f"{value:.4f}")
