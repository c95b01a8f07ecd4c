"""A legend beside a raster or in a vector layer: names and attributes as GDAL reads them, and QGIS styles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from xml.etree import ElementTree as Xml

from mapmend.core.durable import replace_file
from mapmend.core.errors import RasterError
from mapmend.core.legend import LegendClass

_TYPES: dict[type, str] = {int: "0", float: "1", str: "2"}  # GDALRATFieldType
_USAGES = {"": "0", "count": "1", "name": "2", "value": "5", "red": "6", "green": "7", "blue": "8"}  # GDALRATFieldUsage


class Coded(Protocol):
    """Codes with names and colours: a legend, or the from-to codes of one."""

    @property
    def classes(self) -> tuple[LegendClass, ...]:
        """Every code with its name and colour."""

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Code → (red, green, blue, 255)."""


@dataclass(frozen=True)
class Column:
    """A column of a raster's attribute table.

    Attributes:
        name: its heading.
        values: all int, all float or all str.
        usage: what GDAL is to take it for: value, name, count, red, green, blue, or nothing of these.
    """

    name: str
    values: Sequence[int] | Sequence[float] | Sequence[str]
    usage: str = ""


def write_category_names(path: str | Path, legend: Coded, attributes: Sequence[Column] = ()) -> None:
    """Write `<path>.aux.xml` with the class names, where GDAL and QGIS look for a raster's categories.

    GeoTIFF itself has no place for them. The list is by code: codes without a class get empty names. An attribute
    table, a row per code, goes into the same file.

    Raises:
        DiskError: the disk is full.
        RasterError: the folder cannot be written.
    """
    names = {entry.id: entry.name for entry in legend.classes}
    root = Xml.Element("PAMDataset")
    band = Xml.SubElement(root, "PAMRasterBand", band="1")
    categories = Xml.SubElement(band, "CategoryNames")
    for code in range(max(names) + 1):
        Xml.SubElement(categories, "Category").text = names.get(code, "")
    if attributes:
        _attribute_table(Xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic"), attributes)
    _write(Path(f"{path}.aux.xml"), root)


def write_qml(path: str | Path, legend: Coded) -> None:
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


def polygon_style(field: str, classes: Iterable[LegendClass]) -> str:
    """A QGIS style (QML) that fills polygons by the class name in one of their fields."""
    root = Xml.Element("qgis", styleCategories="Symbology")
    renderer = Xml.SubElement(root, "renderer-v2", type="categorizedSymbol", attr=field, symbollevels="0")
    categories, symbols = Xml.SubElement(renderer, "categories"), Xml.SubElement(renderer, "symbols")
    for number, entry in enumerate(classes):
        symbol = {"symbol": str(number), "value": entry.name, "label": entry.name, "type": "string", "render": "true"}
        Xml.SubElement(categories, "category", symbol)
        fill = Xml.SubElement(symbols, "symbol", type="fill", name=str(number), alpha="1")
        layer = Xml.SubElement(fill, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
        options = Xml.SubElement(layer, "Option", type="Map")
        red, green, blue = entry.rgb
        for name, value in (
            ("color", f"{red},{green},{blue},160"),
            ("outline_color", f"{red},{green},{blue},255"),
            ("outline_width", "0.4"),
            ("style", "solid"),
        ):
            Xml.SubElement(options, "Option", type="QString", name=name, value=value)
    return Xml.tostring(root, encoding="unicode")


def _attribute_table(table: Xml.Element, columns: Sequence[Column]) -> None:
    for number, column in enumerate(columns):
        definition = Xml.SubElement(table, "FieldDefn", index=str(number))
        Xml.SubElement(definition, "Name").text = column.name
        Xml.SubElement(definition, "Type").text = _TYPES[_type(column)]
        Xml.SubElement(definition, "Usage").text = _USAGES[column.usage]
    for number, values in enumerate(zip(*(column.values for column in columns), strict=True)):
        row = Xml.SubElement(table, "Row", index=str(number))
        for value in values:
            Xml.SubElement(row, "F").text = str(value)


def _type(column: Column) -> type:
    """The type of a column's values; float where a count is too large for GDAL's whole numbers of 32 bits."""
    largest = max(column.values, default=0) if isinstance(column.values[0], int) else 0
    return float if isinstance(largest, int) and largest >= 2**31 else type(column.values[0])


def _write(path: Path, root: Xml.Element) -> None:
    Xml.indent(root)
    replace_file(path, Xml.tostring(root, encoding="unicode") + "\n", error=RasterError)
