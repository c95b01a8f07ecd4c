"""A legend beside a raster: category names as GDAL reads them, and a QGIS style."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

from mapmend.core.durable import replace_file
from mapmend.core.errors import RasterError
from mapmend.core.legend import Legend


def write_category_names(path: str | Path, legend: Legend) -> None:
    """Write `<path>.aux.xml` with the class names, where GDAL and QGIS look for a raster's categories.

    GeoTIFF itself has no place for them. The list is by code: codes without a class get empty names.

    Raises:
        DiskError: the disk is full.
        RasterError: the folder cannot be written.
    """
    names = dict(zip(legend.ids, legend.names, strict=True))
    root = Xml.Element("PAMDataset")
    band = Xml.SubElement(root, "PAMRasterBand", band="1")
    categories = Xml.SubElement(band, "CategoryNames")
    for code in range(max(names) + 1):
        Xml.SubElement(categories, "Category").text = names.get(code, "")
    _write(Path(f"{path}.aux.xml"), root)


def write_qml(path: str | Path, legend: Legend) -> None:
    """Write a QGIS style with the legend's colours and names; beside a raster, as `<stem>.qml`, QGIS applies it itself.

    Raises:
        DiskError: the disk is full.
        RasterError: the folder cannot be written.
    """
    root = Xml.Element("qgis", hasScaleBasedVisibilityFlag="0", styleCategories="Symbology")
    pipe = Xml.SubElement(root, "pipe")
    renderer = Xml.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = Xml.SubElement(renderer, "colorPalette")
    for entry in legend.classes:
        Xml.SubElement(palette, "paletteEntry", value=str(entry.id), color=entry.color, label=entry.name, alpha="255")
    _write(Path(path), root)


def _write(path: Path, root: Xml.Element) -> None:
    Xml.indent(root)
    replace_file(path, Xml.tostring(root, encoding="unicode") + "\n", error=RasterError)
