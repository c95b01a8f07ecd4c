"""The four rasters of a change folder, written strip by strip and put together as COGs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mapmend.change.codes import FromToLegend
from mapmend.change.record import RASTERS, FromTo
from mapmend.core.classes import NODATA, LegendClass
from mapmend.core.grid import Grid, Window, full_window
from mapmend.raster.style import Column
from mapmend.raster.writing import TiledWriter, write_cog, write_qml

WriteStrip = Callable[[Window, Mapping[str, npt.NDArray[Any]]], None]


@contextmanager
def strip_writer(folder: Path, grid: Grid, codes: FromToLegend) -> Iterator[WriteStrip]:
    """Write the rasters' strips, by the rasters' names, into plain files of a folder.

    Raises:
        DiskError: the disk is full.
        RasterError: a file cannot be written.
    """
    with ExitStack() as stack:  # LZW, three times as fast as ZSTD: these files live for minutes
        writers = {}
        for name in RASTERS:
            dtype, nodata = (codes.dtype, codes.nodata) if name == "from_to" else (np.uint8, NODATA)
            writers[name] = stack.enter_context(TiledWriter(folder / f"{name}.tif", grid, 1, dtype, nodata, "lzw"))

        def write(window: Window, strips: Mapping[str, npt.NDArray[Any]]) -> None:
            for name, writer in writers.items():
                writer.write(window, strips[name])

        yield write


def put_together(
    strips: Path,
    out: Path,
    grid: Grid,
    codes: FromToLegend,
    table: FromTo,
    tags: Mapping[str, str],
    on_raster: Callable[[], None],
) -> None:
    """Make COGs and QGIS styles of the strips' files.

    Raises:
        DiskError: the disk is full.
        RasterError: a file cannot be written.
    """
    seen = _Occurring(codes, table)
    for name in RASTERS:
        source, path = [(strips / f"{name}.tif", full_window(grid))], out / f"{name}.tif"
        if name == "from_to":
            write_cog(
                source,
                grid,
                path,
                kind="from_to",
                dtype=codes.dtype,
                nodata=codes.nodata,
                legend=codes,
                tags=tags,
                attributes=seen.attributes(),
            )
            write_qml(path.with_suffix(".qml"), seen)
        else:
            write_cog(source, grid, path, kind="class", dtype="uint8", nodata=NODATA, legend=codes.legend, tags=tags)
            write_qml(path.with_suffix(".qml"), codes.legend)
        (strips / f"{name}.tif").unlink()
        on_raster()


class _Occurring:
    """The from-to codes that occur: a legend of 20 classes has 400 codes, and few of them are seen."""

    def __init__(self, codes: FromToLegend, table: FromTo) -> None:
        self._codes, self._table = codes, table
        pixels = np.array(table.pixels).ravel()
        self.classes: tuple[LegendClass, ...] = tuple(entry for entry in codes.classes if pixels[entry.id])

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Code → (red, green, blue, 255)."""
        return {entry.id: (*entry.rgb, 255) for entry in self.classes}

    def attributes(self) -> list[Column]:
        """A row per code: names, colour, pixels and area."""
        names, values = self._codes.legend.names, [entry.id for entry in self.classes]
        places = [divmod(code, len(names)) for code in values]
        red, green, blue = zip(*(entry.rgb for entry in self.classes), strict=True)
        return [
            Column("Value", values, "value"),
            Column("Class name", [entry.name for entry in self.classes], "name"),
            Column("From", [names[i] for i, _ in places]),
            Column("To", [names[j] for _, j in places]),
            Column("Red", red, "red"),
            Column("Green", green, "green"),
            Column("Blue", blue, "blue"),
            Column("Pixels", [self._table.pixels[i][j] for i, j in places], "count"),
            Column(f"Area ({self._table.unit})", [self._table.areas[i][j] for i, j in places]),
        ]
