"""Some of many things, evenly chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spread from the first to the last and in their order."""
    return [items[int(at)] for at in np.linspace(0, len(items) - 1, min(most, len(items)))]
