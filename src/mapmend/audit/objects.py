"""The suspicious objects as files: a layer to review, a table, and three rasters beside them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import Transformer

from mapmend.audit.examining import Examined
from mapmend.audit.held_out import Bytes
from mapmend.audit.measuring import View, parts_of
from mapmend.audit.mending import Choices, mended
from mapmend.audit.table import Parts
from mapmend.audit.views import SiteViews
from mapmend.change.patches import Floats, Ints
from mapmend.change.polygons import trace
from mapmend.core.durable import replace_file
from mapmend.core.grid import Grid, full_window, make_grid
from mapmend.core.legend import NODATA, Legend
from mapmend.core.stored import STEPS
from mapmend.data.sites import PreparedSite
from mapmend.raster.style import polygon_style, write_qml
from mapmend.raster.vector_writing import geopackage_writer
from mapmend.raster.writing import TiledWriter, write_cog

LAYER = "audit"
ACCEPT, REJECT = "accept", "reject"

_RASTERS = ("proposed", "suspicion", "mended")

_FIELDS: dict[str, type] = {
    "rank": int,
    "score": float,
    "probability": float,
    "label": str,
    "proposed": str,
    "label_id": int,
    "proposed_id": int,
    "confidence": float,
    "reason": str,
    "area_ha": float,
    "pixels": int,
    "site": str,
    "date": str,
    "verdict": str,
    "note": str,
}


@dataclass(frozen=True)
class Listed:
    """The suspicious objects in their order, the most suspicious first; N of them.

    Attributes:
        parts: of the label.
        scores: of each.
        chances: P(wrong) of each.
        reasons: of each.
        verdicts: `accept`, `reject` or empty, of each.
        notes: of each.
    """

    parts: Parts
    scores: Floats
    chances: Floats
    reasons: npt.NDArray[np.object_]
    verdicts: npt.NDArray[np.object_]
    notes: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.parts)

    def columns(self, sites: Sequence[SiteViews], legend: Legend) -> dict[str, Any]:
        """The fields of all objects; areas in ha, NaN where the place on Earth is unknown."""
        names, ids = np.array(legend.names, object), np.array(legend.ids)
        judged = [one.judged.site for one in sites]
        known = np.array([site.grid.crs is not None for site in judged])
        of_site = self.parts.site
        return {
            "rank": np.arange(1, len(self) + 1),
            "score": self.scores.round(4),
            "probability": self.chances.round(4),
            "label": names[self.parts.label],
            "proposed": names[self.parts.proposed],
            "label_id": ids[self.parts.label],
            "proposed_id": ids[self.parts.proposed],
            "confidence": self.parts.mean("p_proposed").round(4),
            "reason": self.reasons,
            "area_ha": np.where(known[of_site], self.parts.area, np.nan),
            "pixels": self.parts.pixels,
            "site": np.array([site.name for site in judged], object)[of_site],
            "date": np.array([site.date for site in judged], object)[of_site],
            "verdict": self.verdicts,
            "note": self.notes,
        }


def write_layer(
    listed: Listed,
    polygons: npt.NDArray[np.object_],
    sites: Sequence[SiteViews],
    legend: Legend,
    out: Path,
    record: str,
) -> None:
    """Write `audit.gpkg` and `audit.csv`.

    Args:
        listed: the objects.
        polygons: of each, in its site's pixel coordinates.
        sites: that were judged.
        legend: of the labels.
        out: folder.
        record: what the layer belongs to, kept in the GeoPackage.

    Raises:
        DiskError, RasterError: a file cannot be written.
    """
    columns = listed.columns(sites, legend)
    grids = [one.judged.site.grid for one in sites]
    common = layer_grid(grids)
    placed = np.empty(len(listed), object)
    for number, grid in enumerate(grids):
        own = np.flatnonzero(listed.parts.site == number)
        placed[own] = [_placed(polygon, grid, common) for polygon in polygons[own]]
    style = polygon_style("proposed", legend.classes)
    with geopackage_writer(out / "audit.gpkg", LAYER, _FIELDS, common, style, record=record) as write:
        if len(listed):
            write(placed, columns)
    replace_file(out / "audit.csv", _csv(columns, placed))


def layer_grid(grids: Sequence[Grid]) -> Grid:
    """A grid in whose coordinates all sites' objects are written: that of all, or degrees where sites have several."""
    first = grids[0]
    if any(grid.crs is None for grid in grids):
        return make_grid((1, 1), Affine.identity(), None)
    if all(grid.crs == first.crs for grid in grids):
        return first
    return make_grid((1, 1), Affine.identity(), "EPSG:4326")


def write_rasters(
    found: Examined,
    listed: Ints,
    choices: Choices,
    legend: Legend,
    out: Path,
    work: Path,
) -> tuple[npt.NDArray[np.object_], int]:
    """Write each site's `proposed.tif`, `suspicion.tif` and `mended.tif`.

    Args:
        found: in the sites' labels.
        listed: for each part its place in the list, -1 for what is not listed.
        choices: what becomes of each part in the mended label.
        legend: of the labels.
        out: folder; where there are several sites, each has its own in it.
        work: folder for strips.

    Returns:
        the polygons of the listed objects, in pixel coordinates, and how many pixels of the labels were mended.

    Raises:
        DiskError, RasterError: a file cannot be written.
    """
    pieces: dict[int, list[shapely.Polygon]] = {}
    # one place more, at -1, for parts that are too small
    place_of, chance_of = np.append(listed, -1), np.append(found.chances, 0.0)
    pixels, halo = 0, max(map(abs, found.shift))
    for site, of_site in zip(found.sites, found.rows, strict=True):
        grid = site.judged.site.grid
        folder = raster_folder(out, site.judged.site, alone=len(found.sites) == 1)
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            files = [
                stack.enter_context(TiledWriter(work / f"{name}.tif", grid, 1, "uint8", NODATA, "lzw"))
                for name in _RASTERS
            ]
            for window, row_of in zip(site.strips(), of_site, strict=True):
                view = site.view(window, halo)
                patches = parts_of(view, legend)
                places = place_of[row_of]
                for polygon, patch in zip(*trace(window, patches, places >= 0), strict=True):
                    pieces.setdefault(int(places[patch]), []).append(polygon)
                suspicion = np.full(window.height * window.width, NODATA, np.uint8)
                suspicion[patches.at] = np.rint(STEPS * chance_of[row_of])[patches.label]
                better = mended(view, patches, row_of, choices, found.shift)
                pixels += int((better != view.label[view.own]).sum())
                likely = suspicion.reshape(window.height, window.width)
                strips = (proposed_ids(view, legend), likely, legend.id_lut[better])
                for file, strip in zip(files, strips, strict=True):
                    file.write(window, strip)
        for name in _RASTERS:
            source, path = [(work / f"{name}.tif", full_window(grid))], folder / f"{name}.tif"
            of_classes = None if name == "suspicion" else legend
            write_cog(
                source,
                grid,
                path,
                kind="class" if of_classes is not None else "confidence",
                dtype="uint8",
                nodata=NODATA,
                legend=of_classes,
                band_names=(name,),
            )
            if of_classes is not None:
                write_qml(path.with_suffix(".qml"), of_classes)
            (work / f"{name}.tif").unlink()
    polygons = np.empty(int((listed >= 0).sum()), object)
    for place, of_part in pieces.items():
        polygons[place] = of_part[0] if len(of_part) == 1 else shapely.union_all(of_part)
    return polygons, pixels


def raster_folder(out: Path, site: PreparedSite, *, alone: bool) -> Path:
    """Where the rasters of a site are: in the audit's own folder, if no other site was judged."""
    return out if alone else out / site.name / (site.date or "undated")


def proposed_ids(view: View, legend: Legend) -> Bytes:
    """Legend ids of the proposed classes of the view's own pixels, 255 where there are none."""
    probabilities = view.probabilities[:, *view.own]
    ids: Bytes = legend.id_lut[np.where(probabilities[0] != NODATA, probabilities.argmax(axis=0), NODATA)]
    return ids


def _placed(polygon: shapely.Polygon, grid: Grid, common: Grid) -> shapely.Polygon:
    """A polygon in pixel coordinates on the ground, in the coordinates of the layer."""
    t = grid.transform

    def to_ground(places: Floats) -> Floats:
        x, y = places.T
        return np.column_stack([t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f])

    placed = shapely.transform(polygon, to_ground)
    if grid.crs is None or common.crs is None or grid.crs == common.crs:
        return placed
    across = Transformer.from_crs(grid.crs.to_wkt(), common.crs.to_wkt(), always_xy=True)
    return shapely.transform(placed, lambda places: np.column_stack(across.transform(*places.T)))


def _csv(columns: Mapping[str, Any], placed: npt.NDArray[np.object_]) -> str:
    """The list as text, with a point inside of each object."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "x", "y"])
    points = shapely.get_coordinates(shapely.point_on_surface(placed)) if len(placed) else np.zeros((0, 2))
    for number, (x, y) in enumerate(points):
        row = [columns[name][number] for name in columns]
        writer.writerow(["" if _missing(value) else value for value in row] + [f"{x:.8g}", f"{y:.8g}"])
    return text.getvalue()


def _missing(value: object) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))
