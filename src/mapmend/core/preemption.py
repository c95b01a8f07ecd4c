"""A machine that is wanted back says so by a signal: the work at hand is finished and what is done stays done."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_GRACE = 20  # seconds for the work at hand; schedulers kill after 30


class Preempted(Exception):
    """Work stopped at a signal; the same command goes on from there.

    Args:
        done: how much is done,
        total: of how much,
        unit: of what.

    Attributes:
        code: the exit code: 75, the system's "temporary failure, try again".
    """

    code = 75

    def __init__(self, done: int, total: int, unit: str) -> None:
        super().__init__(f"stopped by a signal after {done} of {total} {unit}; the same command goes on from there")
        self.done = done


class Watch:
    """Whether one of the signals has come, and when."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler: it only remembers."""
        self._since = self._since or time.monotonic()

    @property
    def asked(self) -> bool:
        """Whether to stop when the work at hand is finished."""
        return self._since is not None

    @property
    def urgent(self) -> bool:
        """Whether to stop without finishing it."""
        return self._since is not None and time.monotonic() - self._since > _GRACE


@contextmanager
def watch_signals() -> Iterator[Watch]:
    """Catch the signals inside of the block; only the main thread can, in another nothing is caught."""
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    before = {number: signal.signal(number, watch) for number in SIGNALS}
    try:
        yield watch
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
