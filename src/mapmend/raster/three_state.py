"""A three-state map of one class, made from its probabilities: class, not class, cannot tell."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window as RasterioWindow

from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.errors import RasterError
from mapmend.core.grid import Window, full_window, windows
from mapmend.core.stored import STEPS
from mapmend.core.three_state import CANNOT_TELL, CLASS, NOT_CLASS, ThreeState
from mapmend.raster.atomic import disk_faults
from mapmend.raster.opening import handle, raster_faults, raster_info
from mapmend.raster.writing import TiledWriter, write_cog

_SIDE = 2048
Steps = npt.NDArray[np.uint8]

_PALE, _GREY = "#f2f2ee", "#8c8c8c"


@dataclass(frozen=True)
class StateShares:
    """How a map's pixels fall into the three states.

    Attributes:
        pixels: with a probability.
        called: share that is the class; None without any pixel.
        denied: share that is not.
        abstains: share that cannot be told.
    """

    pixels: int
    called: float | None
    denied: float | None
    abstains: float | None


def write_three_state(
    probability: str | Path, path: str | Path, thresholds: ThreeState, name: str, color: str = "#1f7a4d"
) -> StateShares:
    """Write a class's three-state map as a COG: 1 class, 0 not class, 2 cannot tell, 255 no data.

    Args:
        probability: raster of one band of uint8, round(200·p) of the class, 255 for no data.
        path: the map, `certain_<class>.tif`; one that exists is replaced at the end.
        thresholds: what is promised; their numbers become the file's tags.
        name: the class's.
        color: the class's, `#rrggbb`.

    Returns:
        The shares of the three states.

    Raises:
        RasterError: not such a raster, it cannot be read, or the map cannot be written.
        DiskError: the disk is full.
    """
    path, info = Path(path), raster_info(probability)
    if info.count != 1 or info.dtype != "uint8":
        raise RasterError(
            f"has {info.count} bands of {info.dtype}", where=probability, fix=f"give one band of round({STEPS}·p)"
        )
    states = (
        LegendClass(NOT_CLASS, f"not {name}", _PALE),
        LegendClass(CLASS, name, color),
        LegendClass(CANNOT_TELL, "cannot tell", _GREY),
    )
    legend = Legend(f"certain {name}", states)
    counts = np.zeros(256, np.int64)
    folder = path.parent / f".{path.name}.states"
    try:
        with disk_faults(path):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        whole = folder / "states.tif"
        with TiledWriter(whole, info.grid, 1, np.uint8, nodata=NODATA) as out:
            for window in windows(info.grid, _SIDE):
                found = thresholds.states(read_steps(probability, window))
                counts += np.bincount(found.ravel(), minlength=256)
                out.write(window, found)
        write_cog(
            [(whole, full_window(info.grid))],
            info.grid,
            path,
            kind="class",
            dtype=np.uint8,
            nodata=NODATA,
            legend=legend,
            band_names=(f"certain {name}",),
            tags=_tags(thresholds),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    pixels = int(counts[:NODATA].sum())
    called, denied, abstains = (
        int(counts[state]) / pixels if pixels else None for state in (CLASS, NOT_CLASS, CANNOT_TELL)
    )
    return StateShares(pixels, called, denied, abstains)


def read_steps(probability: str | Path, window: Window) -> Steps:
    """Stored probabilities H×W of a window inside the raster, 255 for no data.

    Raises:
        RasterError: it cannot be read, or holds other numbers.
    """
    area = RasterioWindow(window.col, window.row, window.width, window.height)
    with raster_faults(probability):
        steps: Steps = handle(probability).read(1, window=area)
    strange = steps[(steps > STEPS) & (steps != NODATA)]
    if strange.size:
        raise RasterError(
            f"holds {int(strange[0])}, which is no probability", where=probability, fix=f"give round({STEPS}·p), or 255"
        )
    return steps


def _tags(thresholds: ThreeState) -> dict[str, str]:
    """Every number of the thresholds; "none" where nothing could be promised."""
    return {
        f"three_state_{key}": "none" if value is None else str(value) for key, value in thresholds.to_dict().items()
    }
