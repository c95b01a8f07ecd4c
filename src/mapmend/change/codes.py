"""From-to codes: one number for what a pixel was and what it became."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA, Legend, LegendClass

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_PALE = 0.7  # share of white in the colour of what did not change


@dataclass(frozen=True)
class FromToLegend:
    """The codes i·K + j of a legend's K classes, with names and colours.

    What changed has the colour of what it became; what did not has its class's colour, pale.

    Attributes:
        legend: of both dates.
    """

    legend: Legend

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """The smallest type with room for all codes and one more."""
        return np.uint8 if len(self.legend) ** 2 <= 255 else np.uint16

    @property
    def nodata(self) -> int:
        """The largest number of the type."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def classes(self) -> tuple[LegendClass, ...]:
        """Every code with its name and colour."""
        return tuple(
            LegendClass(i * len(self.legend) + j, _name(old, new), _pale(new) if i == j else new.color)
            for i, old in enumerate(self.legend.classes)
            for j, new in enumerate(self.legend.classes)
        )

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Code → (red, green, blue, 255), as GDAL's colour tables want it."""
        return {entry.id: (*entry.rgb, 255) for entry in self.classes}

    def encode(self, before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> Codes:
        """Codes of legend indices; where `before` is NODATA, so is the code."""
        table = np.arange(256) * len(self.legend)
        codes: Codes = np.asarray(table.astype(self.dtype)[before])  # wraps around for NODATA alone
        codes += after
        codes[before == NODATA] = self.nodata
        return codes


def _name(old: LegendClass, new: LegendClass) -> str:
    return f"{old.name} (unchanged)" if old is new else f"{old.name} → {new.name}"


def _pale(entry: LegendClass) -> str:
    return "#" + "".join(f"{round(255 * _PALE + value * (1 - _PALE)):02x}" for value in entry.rgb)
