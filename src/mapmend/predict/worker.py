"""Who is at work on a block: a process of a machine, and whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Worker:
    """A process.

    Attributes:
        host: name of its machine.
        process: its number there.
        started: ticks after the machine's start at which it began, for numbers are given again.
    """

    host: str
    process: int
    started: int

    @property
    def alive(self) -> bool | None:
        """Whether it runs; None where this machine cannot tell, because it is another one's."""
        return _start(self.process) == self.started if self.host == socket.gethostname() else None

    @property
    def name(self) -> str:
        """As part of a file's name; `worker_named` reads it."""
        return f"{self.host}-{self.process}-{self.started}"


def this_worker() -> Worker:
    """The calling process."""
    return Worker(socket.gethostname(), os.getpid(), _start(os.getpid()))


def worker_named(name: str) -> Worker | None:
    """The worker of a `Worker.name`; None if it is none."""
    host, *numbers = name.rsplit("-", 2)
    return Worker(host, *map(int, numbers)) if len(numbers) == 2 and all(map(str.isdecimal, numbers)) else None


def _start(process: int) -> int:
    """Ticks after the machine's start at which a process began; 0 if there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # a program's name may hold spaces and brackets
    return int(fields[19]) if fields[0] != "Z" else 0
