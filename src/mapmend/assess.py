"""Accuracy and areas with intervals, from a reference sample's matrix of counts: what `mapmend assess` says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mapmend.accuracy.estimators import AccuracyEstimates, Estimate, olofsson
from mapmend.accuracy.intervals import Interval, checked_level, of_matrix, wald
from mapmend.accuracy.matrix_file import CountMatrix, read_matrix, whole
from mapmend.core.errors import SampleError

_EARTH_HA = 5.2e10  # an area above that of the Earth is a pixel area in square metres
_INTERVALS = (
    "interval: MOVER-Jeffreys, which keeps its level for rare classes too; wald: the classical estimate ± z·SE, "
    "given for comparison, not cut at 0 and 1, and often too short"
)


@dataclass(frozen=True)
class Figure:
    """An estimate with its standard error and both intervals; None where undefined."""

    estimate: float | None
    se: float | None
    interval: Interval | None
    wald: Interval | None

    def to_dict(self, scale: float = 1.0) -> dict[str, Any]:
        """Plain values, for JSON, each times `scale`."""

        def limits(interval: Interval | None) -> list[float] | None:
            return None if interval is None else [interval.lower * scale, interval.upper * scale]

        return {
            "estimate": None if self.estimate is None else self.estimate * scale,
            "se": None if self.se is None else self.se * scale,
            "interval": limits(self.interval),
            "wald": limits(self.wald),
        }


@dataclass(frozen=True)
class Assessment:
    """A map's accuracy and the areas of its classes, from a stratified random sample whose strata are its classes.

    Attributes:
        names: of the K classes.
        counts: K×K sampled units, [map][reference].
        stratum_pixels: K, pixels of each class in the map.
        pixel_area_ha: of one pixel.
        level: of confidence.
        overall: overall accuracy.
        users: user's accuracy of each class.
        producers: producer's accuracy of each class.
        areas: share of the map that is truly of each class.
        cells: K×K, [map][reference], shares of the map.
        notes: what a reader has to know about the figures.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    stratum_pixels: tuple[int, ...]
    pixel_area_ha: float
    level: float
    overall: Figure
    users: tuple[Figure, ...]
    producers: tuple[Figure, ...]
    areas: tuple[Figure, ...]
    cells: tuple[tuple[Figure, ...], ...]
    notes: tuple[str, ...]

    @property
    def total_ha(self) -> float:
        """Area of the map."""
        return sum(self.stratum_pixels) * self.pixel_area_ha

    def mapped_ha(self, k: int) -> float:
        """Area of a class by counting the map's pixels."""
        return self.stratum_pixels[k] * self.pixel_area_ha

    def bias_ha(self, k: int) -> float:
        """How much larger the counted area is than the estimated one."""
        return self.mapped_ha(k) - (self.areas[k].estimate or 0.0) * self.total_ha

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; areas in hectares."""
        return {
            "level": self.level,
            "design": {
                "sample": "stratified random",
                "strata": "map classes",
                "estimator": "Olofsson et al. 2014, without finite-population correction",
                "stratum_pixels": list(self.stratum_pixels),
                "samples": [sum(row) for row in self.counts],
                "pixel_area_ha": self.pixel_area_ha,
            },
            "overall_accuracy": self.overall.to_dict(),
            "classes": [
                {
                    "name": name,
                    "users_accuracy": self.users[k].to_dict(),
                    "producers_accuracy": self.producers[k].to_dict(),
                    "area_ha": self.areas[k].to_dict(self.total_ha),
                    "pixel_count_area_ha": self.mapped_ha(k),
                    "pixel_count_bias_ha": self.bias_ha(k),
                }
                for k, name in enumerate(self.names)
            ],
            "confusion": {
                "counts": [list(row) for row in self.counts],
                "area_shares": [[cell.estimate for cell in row] for row in self.cells],
                "area_ha": [[cell.to_dict(self.total_ha) for cell in row] for row in self.cells],
            },
            "notes": list(self.notes),
        }


def assess(matrix: CountMatrix, stratum_pixels: tuple[int, ...], pixel_area_ha: float, level: float) -> Assessment:
    """Estimates and intervals of a map whose classes are the strata of its sample.

    Args:
        matrix: the sample's counts.
        stratum_pixels: pixels of each class in the map, in the matrix's order.
        pixel_area_ha: hectares of a pixel.
        level: of confidence, between 0 and 1.

    Raises:
        SampleError: numbers from which nothing valid can be estimated.
    """
    checked_level(level)
    if not (math.isfinite(pixel_area_ha) and pixel_area_ha > 0):
        raise SampleError(
            f"{pixel_area_ha:g} ha is no pixel's area", where="pixel area", fix="0.09 is that of a pixel of 30 m"
        )
    if sum(stratum_pixels) * pixel_area_ha > _EARTH_HA:
        raise SampleError(
            f"pixels of {pixel_area_ha:g} ha make a map larger than the Earth",
            where="pixel area",
            fix="give hectares: 0.09 is the area of a pixel of 30 m",
        )
    estimates = olofsson(matrix.counts, stratum_pixels)
    limits = of_matrix(matrix.counts, stratum_pixels, level)
    classes = range(len(matrix.names))
    return Assessment(
        names=matrix.names,
        counts=matrix.counts,
        stratum_pixels=stratum_pixels,
        pixel_area_ha=pixel_area_ha,
        level=level,
        overall=_figure(estimates.overall, limits.overall, level),
        users=tuple(_figure(estimates.users[k], limits.users[k], level) for k in classes),
        producers=tuple(_figure(estimates.producers[k], limits.producers[k], level) for k in classes),
        areas=tuple(_figure(estimates.areas[k], limits.areas[k], level) for k in classes),
        cells=tuple(tuple(_figure(estimates.cells[i][j], limits.cells[i][j], level) for j in classes) for i in classes),
        notes=tuple(_notes(matrix, estimates)),
    )


def assess_matrix(path: Path, stratum_pixels: str, pixel_area_ha: float, level: float = 0.95) -> Assessment:
    """`assess` of a CSV file; `stratum_pixels` are numbers with commas between them.

    Raises:
        SampleError: the file is no matrix of counts, or as in `assess`.
    """
    matrix = read_matrix(path)
    pixels = tuple(
        whole(text.strip(), "number of pixels", f"--stratum-pixels {stratum_pixels}")
        for text in stratum_pixels.split(",")
    )
    try:
        return assess(matrix, pixels, pixel_area_ha, level)
    except SampleError as fault:
        raise SampleError(fault.what, where=fault.where or path, fix=fault.fix) from None


def show(found: Assessment, console: Console) -> None:
    """Print an assessment as tables for people."""
    names = [escape(name) for name in found.names]
    counts = [[str(count) for count in row] for row in found.counts]
    shares = [[_number(cell.estimate, 100, 2) for cell in row] for row in found.cells]
    for title, rows in (("Sampled units", counts), ("Area, % of the map", shares)):
        table = Table("map ↓  reference →", *names, title=title)
        for name, row in zip(names, rows, strict=True):
            table.add_row(name, *row)
        console.print(table)

    heads = ("estimate", f"{100 * found.level:g} % interval", "SE", "classical interval")
    table = Table("%", *heads, title="Accuracy")
    table.add_row("overall", *_cells(found.overall, 100, 2))
    for kind, figures in (("user's", found.users), ("producer's", found.producers)):
        for name, figure in zip(names, figures, strict=True):
            table.add_row(f"{kind}, {name}", *_cells(figure, 100, 2))
    console.print(table)

    digits = 0 if found.total_ha >= 100_000 else 1 if found.total_ha >= 1000 else 4
    table = Table("ha", *heads, "counted pixels", "bias of counting", title="Areas")
    for k, name in enumerate(names):
        estimate, bias = (found.areas[k].estimate or 0.0) * found.total_ha, found.bias_ha(k)
        share = f" ({100 * bias / estimate:+.1f} %)" if estimate else ""
        counted = (_number(found.mapped_ha(k), 1, digits), f"{bias:+,.{digits}f}{share}")
        table.add_row(name, *_cells(found.areas[k], found.total_ha, digits), *counted)
    console.print(table)
    for note in found.notes:
        console.print(f"- {note}", markup=False)


def _figure(estimate: Estimate, interval: Interval | None, level: float) -> Figure:
    return Figure(estimate.value, estimate.se, interval, wald(estimate, level))


def _notes(matrix: CountMatrix, estimates: AccuracyEstimates) -> Iterator[str]:
    yield _INTERVALS
    for k, name in enumerate(matrix.names):
        if sum(matrix.counts[k]) == 1:
            yield (
                f"'{name}' was sampled once: standard errors and classical intervals of its user's accuracy, of the "
                "overall accuracy, and of all areas and producer's accuracies are undefined; the others need none"
            )
        if estimates.users[k].value is None:
            yield f"'{name}' is not in the map: its user's accuracy is undefined"
        if estimates.producers[k].value is None:
            yield f"'{name}' is not in the reference sample: its producer's accuracy is undefined"


def _cells(figure: Figure, scale: float, digits: int) -> tuple[str, str, str, str]:
    def number(value: float | None) -> str:
        return _number(value, scale, digits)

    def limits(interval: Interval | None) -> str:
        return "–" if interval is None else f"{number(interval.lower)} – {number(interval.upper)}"

    return number(figure.estimate), limits(figure.interval), number(figure.se), limits(figure.wald)


def _number(value: float | None, scale: float, digits: int) -> str:
    return "–" if value is None else f"{value * scale:,.{digits}f}"
