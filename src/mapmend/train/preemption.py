"""A machine that is wanted back says so by a signal: the step at hand is finished and nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_GRACE = 30  # seconds


class Preempted(Exception):
    """Training stopped at a signal after it wrote a checkpoint; the command line exits with `code`.

    Attributes:
        step: how many steps are done.
        code: 75, the system's "temporary failure, try again".
    """

    code = 75

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped by a signal after step {step}; the same command goes on from there")
        self.step = step


class Watch:
    """Whether one of the signals has come."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler: it only remembers."""
        self.asked = True


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


def outlive_signals(worker: int) -> None:
    """In a reading process: a signal to the whole group must not kill the readers of the last step.

    SIGTERM is a request to be gone in half a minute, for it is also what a reader that does not answer is ended with.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE) and None)
