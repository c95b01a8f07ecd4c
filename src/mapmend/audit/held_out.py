"""Probabilities of pixels whose labels the model has not seen, a file per block, kept until the audit is done with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.windows import Window as RasterioWindow

from mapmend.core.grid import Window, make_grid
from mapmend.core.legend import NODATA
from mapmend.core.stored import STEPS
from mapmend.data.sites import PreparedSite
from mapmend.predict.predictor import Predictor
from mapmend.predict.probabilities import blended_probabilities
from mapmend.predict.scene import Scene
from mapmend.raster.opening import handle, raster_faults
from mapmend.raster.writing import TiledWriter

Bytes = npt.NDArray[np.uint8]

_SIDE = 1024  # of what is predicted at once


@dataclass(frozen=True)
class Judged:
    """A labelled site, and what is to be judged of it.

    Attributes:
        site: with its label.
        blocks: windows that have been or will be predicted, none on another one.
        earlier: the same place at the date before, if there is an image of it.
        folder: of the blocks' files.
    """

    site: PreparedSite
    blocks: tuple[Window, ...]
    earlier: PreparedSite | None
    folder: Path

    @property
    def key(self) -> str:
        """Name and date, for a reader."""
        return f"{self.site.name} {self.site.date}".strip()

    def file(self, block: Window, kind: str) -> Path:
        """Where a block's probabilities (`p`) or earlier classes (`earlier`) are."""
        return self.folder / f"r{block.row:07d}_c{block.col:07d}.{kind}.tif"


def predict_block(predictor: Predictor, judged: Judged, block: Window) -> None:
    """Write a block's probabilities, K bands of round(200·p), 255 where the image has no data; what is there is kept.

    Where the site has an earlier date, its classes (legend indices) are written too.

    Raises:
        MapmendError: pixels cannot be read, or the files not be written.
    """
    judged.folder.mkdir(parents=True, exist_ok=True)
    classes = len(predictor.legend)
    if judged.earlier is not None and not judged.file(block, "earlier").is_file():
        _write(predictor, judged.earlier, block, judged.file(block, "earlier"), 1)
    if not judged.file(block, "p").is_file():
        _write(predictor, judged.site, block, judged.file(block, "p"), classes)


def read_probabilities(judged: Judged, window: Window, classes: int) -> Bytes:
    """Held-out probabilities K×H×W of a window, 255 where there are none; the window may reach outside the grid."""
    return _read(judged, window, "p", classes)


def read_earlier(judged: Judged, window: Window) -> Bytes:
    """Class indices H×W that the held-out model sees at the earlier date, 255 where it sees none."""
    classes: Bytes = _read(judged, window, "earlier", 1)[0]
    return classes


def _write(predictor: Predictor, site: PreparedSite, block: Window, path: Path, bands: int) -> None:
    scene = Scene(site.name, site.sources, site.grid, site.date)
    corner = site.grid.transform @ Affine.translation(block.col, block.row)
    grid = make_grid((block.height, block.width), corner, site.grid.crs)
    with TiledWriter(path, grid, bands, "uint8", nodata=NODATA) as out:
        for part in _pieces(block):
            shares, valid = blended_probabilities(predictor, scene, part)
            stored = np.rint(STEPS * shares) if bands > 1 else shares.argmax(axis=0)[None]
            out.write(
                part.shift(-block.row, -block.col), np.where(valid, stored.clip(0, NODATA - 1), NODATA).astype(np.uint8)
            )


def _pieces(block: Window) -> Iterator[Window]:
    for row in range(block.row, block.row_end, _SIDE):
        for col in range(block.col, block.col_end, _SIDE):
            yield Window(row, col, min(_SIDE, block.row_end - row), min(_SIDE, block.col_end - col))


def _read(judged: Judged, window: Window, kind: str, bands: int) -> Bytes:
    out = np.full((bands, window.height, window.width), NODATA, np.uint8)
    for block in judged.blocks:
        shared = block.intersect(window)
        if shared is None:
            continue
        path = str(judged.file(block, kind))
        inside = shared.shift(-block.row, -block.col)
        with raster_faults(path):
            area = RasterioWindow(inside.col, inside.row, inside.width, inside.height)
            out[:, *shared.shift(-window.row, -window.col).slices] = handle(path).read(window=area)
    return out


def earlier_of(site: PreparedSite, sites: Sequence[PreparedSite]) -> PreparedSite | None:
    """The same place at the date before, with the same sensors; None if there is none."""
    sensors = [image.modality for image in site.images]
    before = [
        one
        for one in sites
        if one.name == site.name and one.date < site.date and [image.modality for image in one.images] == sensors
    ]
    return max(before, key=lambda one: one.date, default=None)
