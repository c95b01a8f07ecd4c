"""The images of `predict --mosaic`: files in the order in which they count, or the rows of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mapmend.core.errors import ManifestError, SensorError
from mapmend.core.manifest import parse_manifest

if TYPE_CHECKING:
    from mapmend.core.sensor import Sensor
    from mapmend.raster.mosaic import Placed


def placed_images(
    inputs: Sequence[Path], cards: Sequence[Sensor], rule: str, like: Path | None, crs: str, gsd: float | None
) -> Placed:
    """The images, and the grid that they go onto.

    Args:
        inputs: image files, or one manifest (CSV) whose `image`, `valid` and `date` count.
        cards: the model's sensor cards; one.
        rule: first (in the order given) or newest (by the manifest's dates, the order deciding between equal ones).
        like: raster whose grid is taken.
        crs: of a grid of its own.
        gsd: side of its pixels.

    Raises:
        ManifestError: the manifest is wrong, or dates are missing.
        SensorError: the model wants several sensors.
        RasterError: the raster cannot be opened.
    """
    from mapmend.raster.bands import ImageSource
    from mapmend.raster.mosaic import Placed
    from mapmend.raster.opening import raster_info

    if len(cards) != 1:
        raise SensorError(f"a mosaic is of one sensor, the model wants {len(cards)}", fix="map one place at a time")
    grid = raster_info(like).grid if like is not None else None
    if inputs[0].suffix.lower() == ".csv":
        if not inputs[0].is_file():
            raise ManifestError("no such manifest", where=inputs[0], fix="correct the path")
        rows = list(parse_manifest(inputs[0].read_text(), where=inputs[0], folder=inputs[0].parent))
        if rule == "newest":
            if any(not row.date for row in rows):
                raise ManifestError("has an image without a date", where=inputs[0], fix="date all, or --mosaic first")
            rows.sort(key=lambda row: row.date, reverse=True)
        sources = [ImageSource(row.image, cards[0].band_names, cards[0], row.valid) for row in rows]
    elif rule == "newest":
        raise ManifestError("files have no dates", where="--mosaic newest", fix="list them in a CSV: site,date,image")
    else:
        sources = [ImageSource((str(path),), cards[0].band_names, cards[0]) for path in inputs]
    return Placed(tuple(sources), grid, crs, gsd)
