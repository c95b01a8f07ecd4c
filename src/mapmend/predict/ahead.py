"""Work ahead in a thread, a bounded number of items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_PATIENCE = 0.1  # seconds between looks whether the consumer has gone


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Iterate in a thread of its own, at most `depth` items ahead of the consumer.

    An error of the iterator is raised where its next item would have come. When the consumer closes this
    generator early, the thread stops, and it is waited for.
    """
    waiting: queue.Queue[_Item[T] | BaseException | None] = queue.Queue(depth)
    gone = threading.Event()

    def put(entry: _Item[T] | BaseException | None) -> bool:
        while not gone.is_set():
            try:
                waiting.put(entry, timeout=_PATIENCE)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(_Item(item)):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="reader", daemon=True)
    thread.start()
    try:
        while (entry := waiting.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry.value
    finally:
        gone.set()
        thread.join()
