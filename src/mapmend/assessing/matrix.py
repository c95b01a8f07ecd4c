"""An assessment from a matrix of plain counts, whose rows are the map's classes and the strata of the sample."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from mapmend.accuracy.intervals import checked_level
from mapmend.accuracy.matrix_file import CountMatrix, read_matrix, whole
from mapmend.assessing.assessment import INTERVALS, Assessment
from mapmend.assessing.inference import FORMS, matched_matrix
from mapmend.assessing.notes import on_classes, on_lone_samples
from mapmend.assessing.trees import NOTE, TREES_LEVEL, Trees, trees_row
from mapmend.core.errors import SampleError

_EARTH_HA = 5.2e10  # an area above that of the Earth is a pixel area in square metres


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
    found = matched_matrix(matrix.counts, stratum_pixels, level)
    wide = matched_matrix(matrix.counts, stratum_pixels, TREES_LEVEL).areas
    total_ha = sum(stratum_pixels) * pixel_area_ha
    samples = tuple(sum(row) for row in matrix.counts)
    return Assessment(
        names=matrix.names,
        counts=matrix.counts,
        mapped_ha=tuple(pixels * pixel_area_ha for pixels in stratum_pixels),
        total_ha=total_ha,
        level=level,
        accuracy=found,
        design={
            "sample": "stratified random",
            "strata": "map classes",
            "estimator": FORMS["matched"],
            "stratum_pixels": list(stratum_pixels),
            "samples": list(samples),
            "pixel_area_ha": pixel_area_ha,
        },
        notes=tuple(_notes(matrix, stratum_pixels, samples)),
        trees=Trees(tuple(trees_row(*each, total_ha) for each in zip(matrix.names, wide, strict=True))),
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


def _notes(matrix: CountMatrix, pixels: tuple[int, ...], samples: tuple[int, ...]) -> Iterator[str]:
    yield INTERVALS
    yield from on_lone_samples(matrix.names, pixels, samples, matched=True)
    yield from on_classes(matrix.names, matrix.counts, pixels)
    yield NOTE
