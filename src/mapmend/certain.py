"""Three-state maps beside a finished map: where it is the class, where it is not, and where nobody can tell.

The thresholds are the model's own, set on held-out labels when it was trained, or they are set here on a reference
that covers a part of the map. A promise is about errors against what it was set on, and holds for places like these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapmend.accuracy.conformal import ThreeStateCounts
from mapmend.core.errors import LabelError, ModelError
from mapmend.core.grid import windows
from mapmend.core.legend import NODATA, Legend, load_crosswalk
from mapmend.core.three_state import RISKS, ThreeState
from mapmend.predict.job import MapResult
from mapmend.raster.labels import LabelReader
from mapmend.raster.opening import raster_info
from mapmend.raster.three_state import StateShares, read_steps, write_three_state

BLOCK = 64
"""Pixels, side of the blocks of a reference; what is right or wrong together should be smaller."""

_SIDE = 16 * BLOCK


@dataclass(frozen=True)
class WantedCertain:
    """What three-state maps are to be made of.

    Attributes:
        legend: of the model.
        names: of the classes.
        risk: largest share of errors.
        thresholds: the model's own; None where they are to be set on the reference.
        reference: class raster or polygons of a part of the map, or None.
    """

    legend: Legend
    names: tuple[str, ...]
    risk: float
    thresholds: Mapping[str, ThreeState] | None
    reference: Path | None


@dataclass(frozen=True)
class CertainMap:
    """A three-state map of a class.

    Attributes:
        name: of the class.
        path: of the map.
        thresholds: and what they promise.
        shares: of the map's pixels in each state.
    """

    name: str
    path: Path
    thresholds: ThreeState
    shares: StateShares

    def describe(self) -> str:
        """One line for a person."""
        found = self.thresholds
        if self.shares.pixels == 0:
            return f"{self.name}: no pixel has a probability"
        said = [
            f"{self.shares.called:.1%} of the map is {self.name}",
            f"{self.shares.denied:.1%} is not",
            f"{self.shares.abstains:.1%} cannot be told",
        ]
        for what, limit, risk in (
            ("the class", found.upper, found.alpha),
            ("not the class", found.lower, found.omission),
        ):
            if limit is None:
                said.append(f"errors of at most {risk:.0%} in what is {what} cannot be promised")
        return f"{', '.join(said)} ({found.blocks} blocks, risk {found.alpha:g})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"path": str(self.path), **self.thresholds.to_dict(), "shares": vars(self.shares)}


def write_certain(made: MapResult, legend: Legend, thresholds: Mapping[str, ThreeState]) -> tuple[CertainMap, ...]:
    """Write `certain_<class>.tif` for each class, beside its `probability_<class>.tif`.

    Raises:
        RasterError: the probabilities cannot be read, or the map cannot be written.
        DiskError: the disk is full.
    """
    maps = []
    for name, found in thresholds.items():
        source = made.probability_paths[name]
        path = source.with_name(source.name.replace("probability", "certain", 1))
        shares = write_three_state(source, path, found, name, legend.classes[legend.index_of(name)].color)
        maps.append(CertainMap(name, path, found, shares))
    return tuple(maps)


def of_model(metrics: Mapping[str, Any], names: Sequence[str], risk: float, where: Path) -> dict[str, ThreeState]:
    """The thresholds that a model's card has.

    Args:
        metrics: of the card.
        names: of the classes.
        risk: one of `RISKS`.
        where: the model's folder.

    Raises:
        ModelError: it has none for this class or risk.
    """
    if risk not in RISKS:
        raise ModelError(f"no thresholds at a risk of {risk:g}", where=where, fix=f"use {', '.join(map(str, RISKS))}")
    known = (metrics.get("calibration") or {}).get("three_state") or {}
    lacking = [name for name in names if name not in known]
    if lacking:
        raise ModelError(
            f"has no thresholds for '{lacking[0]}'",
            where=where,
            fix="train it with held-out blocks and a calibration, or give a reference",
        )
    return {name: ThreeState.from_dict(known[name][f"{risk:g}"], where=str(where)) for name in names}


def of_reference(
    made: MapResult, legend: Legend, names: Sequence[str], risk: float, reference: Path
) -> dict[str, ThreeState]:
    """Thresholds set on a reference that covers a part of the map, or all of it; streamed.

    Raises:
        LabelError: it covers nothing of the map.
        GridError, RasterError, LegendError, VectorError: it cannot be read on the map's grid.
    """
    grid = raster_info(made.class_path).grid
    reader = LabelReader(str(reference), grid, load_crosswalk(None, legend), resampling="nearest")
    counts = {name: ThreeStateCounts() for name in names}
    for window in windows(grid, _SIDE):
        truth = reader.read(window)
        if (truth == NODATA).all():
            continue
        for name in names:
            is_class = np.where(truth == NODATA, NODATA, truth == legend.ids[legend.index_of(name)])
            steps = read_steps(made.probability_paths[name], window)
            for row in range(0, window.height, BLOCK):
                for col in range(0, window.width, BLOCK):
                    here = slice(row, row + BLOCK), slice(col, col + BLOCK)
                    block = f"{window.row + row} {window.col + col}"
                    counts[name].update(block, steps[here], is_class[here])
    if not all(any(one.any() for one in each.blocks.values()) for each in counts.values()):
        raise LabelError("covers nothing of the map", where=reference, fix="give a reference of this place")
    return {name: each.thresholds(risk) for name, each in counts.items()}
