"""What a product's codes hold of each class: rows of its table of mixtures, as rasters and as shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.stored import STEPS


def row_crosswalk(crosswalk: Crosswalk) -> Crosswalk:
    """From a product's codes to the places of `crosswalk.share_rows`."""
    codes = crosswalk.share_codes
    rows = Legend(f"rows of {crosswalk.source}", tuple(LegendClass(i, str(c), "#000000") for i, c in enumerate(codes)))
    table = {code: codes.index(code) if code in codes else NODATA for code in crosswalk.table}
    return Crosswalk(crosswalk.source, rows, table, crosswalk.source_legend)


def rows_as_they_are(count: int) -> Crosswalk:
    """For a raster that `write_rows` wrote of a table of so many rows."""
    rows = Legend("rows", tuple(LegendClass(i, str(i), "#000000") for i in range(count)))
    return Crosswalk("rows", rows, {i: i for i in range(count)})


def spread_shares(rows: np.ndarray, table: Sequence[Sequence[float]]) -> np.ndarray:
    """Shares K×H×W uint8, `STEPS` for one, of the rows H×W of a table; 0 where there is none."""
    stored = np.zeros((256, len(table[0])), np.uint8)
    stored[: len(table)] = np.rint(STEPS * np.asarray(table))
    return np.moveaxis(stored[rows], -1, 0)


def certain_shares(label: np.ndarray, classes: int) -> np.ndarray:
    """Shares K×H×W uint8 of a label that is taken at its word; indices H×W."""
    return spread_shares(label, np.eye(classes).tolist())
