"""A generated landscape as a folder of GeoTIFFs with its manifest, the way real scenes come."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mapmend.core.grid import Grid, full_window
from mapmend.core.legend import NODATA, Legend, load_legend
from mapmend.core.manifest import Row, format_manifest
from mapmend.data.landscape.generation import OPTICAL_BANDS, RADAR_BANDS, generate
from mapmend.raster.atomic import staged
from mapmend.raster.writing import TiledWriter

DATES = ("2018-08-24", "2023-05-16")
LEGEND = "landscape"


def write_landscape(
    folder: str | Path, size: int | tuple[int, int], seed: int = 0, gsd: float = 1.0
) -> tuple[Path, Path]:
    """Generate a landscape and write it; arguments as of `generate`.

    Both dates have an `optical` (fits the sensor card `naip`) and a `radar` image (fits `sentinel1`); the old coarse
    label stands at both, `coarse` for its own date and `outdated` for the later one. The truth is listed apart.

    Returns:
        The manifest `scenes.csv` and the list of references `refs.csv`.

    Raises:
        ProjectError: an argument out of range.
        RasterError, DiskError: a file cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    landscape, legend = generate(size, seed, gsd), load_legend(LEGEND)
    site = f"landscape-{seed}"
    label_gsd = float(landscape.label_grid.transform.a)
    _write(folder / "label.tif", landscape.label_grid, landscape.label_coarse, legend=legend)
    scenes, references = [], []
    for number, date in enumerate(DATES, start=1):
        names = {kind: f"{kind}_{date}.tif" for kind in ("optical", "radar", "valid", "truth")}
        image, valid = getattr(landscape, f"image_{number}"), getattr(landscape, f"valid_{number}")
        radar, truth = getattr(landscape, f"radar_{number}"), getattr(landscape, f"truth_{number}")
        _write(folder / names["optical"], landscape.grid, image, nodata=0, bands=OPTICAL_BANDS)
        _write(folder / names["valid"], landscape.grid, valid.astype(np.uint8))
        _write(folder / names["radar"], landscape.grid, radar, bands=RADAR_BANDS)
        _write(folder / names["truth"], landscape.grid, truth, legend=legend)
        for sensor in ("optical", "radar"):
            scenes.append(
                Row(
                    site,
                    date,
                    sensor,
                    image=(names[sensor],),
                    valid=names["valid"] if sensor == "optical" else None,
                    label="label.tif",
                    label_legend=LEGEND,
                    label_gsd=label_gsd,
                    trust="coarse" if number == 1 else "outdated",
                    split="train",
                )
            )
        references.append(Row(site, date, label=names["truth"], label_legend=LEGEND, trust="reference"))
    return _list(folder / "scenes.csv", scenes), _list(folder / "refs.csv", references)


def _list(path: Path, rows: list[Row]) -> Path:
    with staged(path) as part:
        part.write_text(format_manifest(rows), encoding="utf-8")
    return path


def _write(
    path: Path,
    grid: Grid,
    pixels: np.ndarray,
    *,
    nodata: float | None = None,
    bands: tuple[str, ...] = (),
    legend: Legend | None = None,
) -> None:
    """One raster; with a legend, a class raster with its colours and names."""
    count = len(pixels) if pixels.ndim == 3 else 1
    if legend is not None:
        nodata = NODATA
    with TiledWriter(path, grid, count, str(pixels.dtype), nodata=nodata, band_names=bands, legend=legend) as out:
        out.write(full_window(grid), pixels)
