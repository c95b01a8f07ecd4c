"""A class's area by a model's probabilities everywhere, corrected by the sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapmend.accuracy.estimators import Estimate
from mapmend.accuracy.intervals import Interval, wald
from mapmend.accuracy.stratified import model_assisted
from mapmend.assessing.inference import Units
from mapmend.assessing.mapped import Bool, Floats, Ints, MappedClasses
from mapmend.core.errors import SampleError
from mapmend.core.grid import Window, same_grid
from mapmend.core.stored import STEPS
from mapmend.raster.labels import read_values
from mapmend.raster.opening import RasterInfo, raster_info

_NODATA = 255
_COVERED = 0.999  # of the map's pixels must have a probability
NOTE = (
    "model-assisted: the probabilities must be neither fitted nor calibrated on this sample, or their errors look "
    "smaller than they are; its interval is the classical one, for residuals have no Jeffreys limits"
)


@dataclass(frozen=True)
class Assisted:
    """The difference estimate of a class's area, as a share of the population.

    Attributes:
        name: of the class.
        estimate: with its standard error.
        interval: the classical one.
        predicted: the mean probability over the map, before it is corrected.
        gain: by what share the standard error is smaller than without the model; None where either is undefined.
    """

    name: str
    estimate: Estimate
    interval: Interval | None
    predicted: float
    gain: float | None

    def to_dict(self, total_ha: float) -> dict[str, Any]:
        """Plain values, for JSON; areas in hectares."""
        value, se = (None if each is None else each * total_ha for each in (self.estimate.value, self.estimate.se))
        limits = None if self.interval is None else [self.interval.lower * total_ha, self.interval.upper * total_ha]
        return {
            "name": self.name,
            "area_ha": {"estimate": value, "se": se, "wald": limits},
            "predicted_ha": self.predicted * total_ha,
            "se_reduction": self.gain,
        }


def assist(
    path: Path,
    name: str,
    units: Units,
    truth: Bool,
    mapped: MappedClasses,
    rows: Ints,
    cols: Ints,
    plain: Estimate,
    level: float,
) -> Assisted:
    """The model-assisted estimate of a class's area.

    Args:
        path: raster of the class's probability, uint8 round(200·p), nodata 255, on the map's grid.
        name: of the class.
        units: the answered units.
        truth: n, whether a unit is of the class.
        mapped: the map, whose pixels with a class are the population.
        rows: n, of the units.
        cols: n, of the units.
        plain: the estimate without the model.
        level: of confidence.

    Raises:
        SampleError: a cluster sample, a stratum without an answer, or no probabilities where they are needed.
        RasterError: the raster cannot be read.
    """
    if units.patches is not None or (units.answered == 0).any():
        what = "a cluster sample" if units.patches is not None else "a stratum without an answer"
        raise SampleError(f"has {what}: no model-assisted estimate", where=path, fix="leave the probabilities out")
    info = raster_info(path)
    if info.count != 1 or info.dtype != "uint8" or not same_grid(info.grid, mapped.grid):
        raise SampleError(
            "is no raster of probabilities on the map's grid",
            where=path,
            fix=f"give one band of uint8, round({STEPS}·p), nodata {_NODATA}, as `predict` writes",
        )
    mean = _population_mean(info, mapped)
    predicted = _at(info, rows, cols)
    sizes = units.sizes
    found = model_assisted(units.stratum, truth, predicted, mean, sizes, correction=units.form != "matched")
    gain = None if found.se is None or not plain.se else 1 - found.se / plain.se
    return Assisted(name, found, wald(found, level), mean, gain)


def _population_mean(info: RasterInfo, mapped: MappedClasses) -> float:
    total = weight = lacking = 0.0
    for window, areas, known in mapped.parts():
        steps = read_values(info, window)
        given = known & (steps <= STEPS)
        lacking += float(areas[known & ~given].sum())
        total += float((areas * given * (steps / STEPS)).sum())
        weight += float((areas * given).sum())
    if weight < _COVERED * (weight + lacking) or not weight:
        raise SampleError(
            f"has no probability for {100 * lacking / max(weight + lacking, 1e-300):.2g} % of the map",
            where=info.path,
            fix="give probabilities wherever the map has a class",
        )
    return total / weight


def _at(info: RasterInfo, rows: Ints, cols: Ints) -> Floats:
    found = [read_values(info, Window(row, col, 1, 1))[0, 0] for row, col in zip(rows, cols, strict=True)]
    steps = np.array(found, np.float64)
    if (steps > STEPS).any():
        raise SampleError(
            f"has no probability at {int((steps > STEPS).sum())} of the points",
            where=info.path,
            fix="give probabilities wherever the map has a class",
        )
    return steps / STEPS
