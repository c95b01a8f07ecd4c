"""One raster or vector file, on its own."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mapmend.core.errors import MapmendError, SensorError
from mapmend.core.grid import ground_pixel_size
from mapmend.core.legend import Legend, load_crosswalk
from mapmend.core.sensor import Sensor
from mapmend.doctor import sampling, storage, validity
from mapmend.doctor.finding import Finding, Level, from_fault
from mapmend.doctor.labels import raster_codes, vector_codes
from mapmend.doctor.units import values
from mapmend.raster.opening import RasterInfo, raster_info
from mapmend.raster.reading import ImageSource, resolve_bands
from mapmend.raster.vector import is_vector

RASTERS = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".img", ".dat", ".bsq", ".bil", ".bip", ".vrt"}
VECTORS = {".gpkg", ".shp", ".geojson"}
_FEW_CODES = 64  # different whole numbers in a sample: a raster of classes


def look_at_file(
    path: Path, sensor: Sensor | None, legend: Legend | None, *, one_of_many: bool = False
) -> tuple[list[Finding], RasterInfo | None]:
    """What is wrong with a file of which nothing is known, and what it says about itself if it is a raster.

    Args:
        path: of the file.
        sensor: card that images should fit.
        legend: legend that class rasters should be in.
        one_of_many: an image without the card's bands is another kind of image, and no error.
    """
    try:
        if path.suffix.lower() not in RASTERS and is_vector(path):
            crosswalk = load_crosswalk(None, legend) if legend is not None else None
            return list(vector_codes(str(path), crosswalk, None).findings), None
        info = raster_info(path)
        if _is_class_raster(info, sampling.sample(info)):
            crosswalk = load_crosswalk(None, legend) if legend is not None else None
            codes = raster_codes(str(path), crosswalk).findings if crosswalk is not None else ()
            return [*placement(info), *codes], info
        found = image(info, sensor)
        if sensor is None:
            return found, info
        source = ImageSource((str(path),), sensor.band_names, sensor)
        try:
            resolve_bands(source)
        except SensorError as fault:
            level: Level = "note" if one_of_many else "error"
            return [*found, replace(from_fault(fault, "sensor card", str(path)), level=level)], info
        return [*found, *values(source)], info
    except MapmendError as fault:
        return [from_fault(fault, "file", str(path))], None


def image(info: RasterInfo, sensor: Sensor | None) -> list[Finding]:
    """What is wrong with a raster of measurements.

    Raises:
        RasterError: it cannot be read.
    """
    pixels = sampling.sample(info)
    return [
        *placement(info),
        *validity.nothing_there(info, pixels),
        *validity.alpha(info, pixels),
        *validity.collar(info, pixels, sensor.nodata if sensor is not None else None),
        *validity.legal_nodata(info, pixels),
    ]


def placement(info: RasterInfo) -> list[Finding]:
    """How any raster is stored and where it lies.

    Raises:
        RasterError: it cannot be read.
    """
    return [*storage.layout(info), *storage.overviews(info), *storage.georeference(info)]


def kinds(infos: Sequence[RasterInfo]) -> list[Finding]:
    """Rasters of one folder that differ in bands, number type, CRS or pixel size."""
    found = []
    by_folder: dict[Path, list[RasterInfo]] = defaultdict(list)
    for info in infos:
        by_folder[Path(info.path).parent].append(info)
    for folder, members in by_folder.items():
        bands = Counter(f"{info.count} × {info.dtype}" for info in members)
        crss = Counter(storage.crs_name(info.grid) for info in members)
        metres = [min(ground_pixel_size(info.grid)) for info in members if info.grid.crs is not None]
        sizes = Counter(f"{size:.3g} m" for size in metres if math.isfinite(size))
        for check, differing in (("mixed bands", bands), ("mixed CRSs", crss), ("pixel sizes", sizes)):
            if len(differing) > 1:
                listed = ", ".join(f"{kind} ({count})" for kind, count in differing.most_common(4))
                what = f"its {len(members)} rasters differ: {listed}"
                found.append(Finding("note", check, what, str(folder), "fine for different sensors; else check them"))
    return found


def _is_class_raster(info: RasterInfo, pixels: np.ndarray) -> bool:
    """Whether a raster looks like class codes: one band of few whole numbers."""
    opaque = [kind for kind in info.colorinterp if kind != "alpha"]
    return len(opaque) == 1 and pixels.dtype.kind in "iu" and len(np.unique(pixels[0])) <= _FEW_CODES
