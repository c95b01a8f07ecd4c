"""One row of a site's layers as a picture file, for documents."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mapmend.core.durable import replace_file
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_layers import all_layers
from mapmend.report.data import SitePanel
from mapmend.report.figures import Layer, Ramp
from mapmend.report.wording import readable_on, spoken

KINDS = ("image", "image_2", "label", "map", "confidence", "reference")
PAIR_KINDS = ("image_before", "image", "map_before", "map", "change")
_LAYER = 2.6  # inches
_GAP = 0.08
_TITLE = 0.34
_ROW = 0.24
_LETTER = 0.072
_SWATCH = 0.42


def draw_panel(
    site: SitePanel, legend: Legend, path: str | Path, *, kinds: Sequence[str] | None = None, dpi: int = 150
) -> Path:
    """Draw a site's layers in one row, with titles and a legend of the classes that occur.

    Args:
        site: layers it does not have are left out.
        legend: names, ids and colours; ids stand on the maps as well.
        path: PNG file to write.
        kinds: which layers, in this order, see `Layer.kind`; None: `KINDS`, or `PAIR_KINDS` of a site of two dates.
        dpi: pixels per inch; a layer is 2.6 inches wide.

    Raises:
        ValueError: the site has none of the layers.
    """
    if kinds is None:
        kinds = KINDS if site.change is None else PAIR_KINDS
    found = {layer.kind: layer for layer in all_layers(site, legend)}
    layers = [found[kind] for kind in kinds if kind in found]
    if not layers:
        raise ValueError(f"site {site.name} has none of the layers {', '.join(kinds)}")
    tall = _LAYER / site.aspect
    entries = _rows(_occurring(layers, legend), len(layers) * _LAYER)
    total_width = len(layers) * (_LAYER + _GAP) - _GAP + 0.2
    total_height = _TITLE + tall + 0.3 + _ROW * len(entries)
    figure = Figure(figsize=(total_width, total_height), dpi=dpi, facecolor="white")
    for position, layer in enumerate(layers):
        left = 0.1 + position * (_LAYER + _GAP)
        box = (left / total_width, 1 - (_TITLE + tall) / total_height, _LAYER / total_width, tall / total_height)
        axes = figure.add_axes(box)
        _draw_layer(axes, layer, int(_LAYER * dpi))
        if layer.ramp is not None:
            _draw_scale(figure, box, total_height, layer.ramp)
    _draw_legend(figure, entries, total_width, total_height)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    replace_file(Path(path), buffer.getvalue())
    return Path(path)


def _draw_layer(axes: Axes, layer: Layer, side: int) -> None:
    axes.imshow(np.asarray(layer.draw(side).convert("RGB")), interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    title = f"{layer.title}, {layer.date}" if layer.group in ("before", "after") else layer.title
    axes.set_title(title, fontsize=9, loc="left", pad=4)
    for spine in axes.spines.values():
        spine.set(edgecolor="#888888", linewidth=0.6)
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for mark in layer.marks:
        text = axes.text(mark.x, mark.y, mark.text, transform=axes.transAxes, fontsize=6.5, path_effects=halo)
        # picture rows run downwards, axes upwards
        text.set(ha="center", va="center", position=(mark.x, 1 - mark.y))


def _draw_scale(figure: Figure, box: tuple[float, float, float, float], total_height: float, ramp: Ramp) -> None:
    left, bottom, width, _ = box
    axes = figure.add_axes((left + 0.16 * width, bottom - 0.16 / total_height, 0.62 * width, 0.07 / total_height))
    axes.imshow(np.array([ramp.colours], np.uint8), aspect="auto", extent=(0, 100, 0, 1))
    axes.set(xticks=[], yticks=[])
    for place, text, side in ((-0.03, "0 %", "right"), (1.03, "100 %", "left")):
        axes.text(place, 0.4, text, transform=axes.transAxes, fontsize=6.5, ha=side, va="center")


def _occurring(layers: Sequence[Layer], legend: Legend) -> list[LegendClass]:
    present = {key for layer in layers for key in layer.ids}
    return [entry for entry in legend.classes if entry.id in present]


def _rows(entries: Sequence[LegendClass], width: float) -> list[list[tuple[float, LegendClass]]]:
    """Legend entries with their left edge in inches, broken into rows."""
    rows: list[list[tuple[float, LegendClass]]] = []
    left = width
    for entry in entries:
        needed = _SWATCH + _LETTER * len(entry.name) + 0.16
        if left + needed > width:
            rows.append([])
            left = 0.0
        rows[-1].append((left, entry))
        left += needed
    return rows


def _draw_legend(
    figure: Figure, rows: list[list[tuple[float, LegendClass]]], total_width: float, total_height: float
) -> None:
    for number, row in enumerate(rows):
        bottom = (0.06 + _ROW * (len(rows) - 1 - number)) / total_height
        for left, entry in row:
            start = (0.1 + left) / total_width
            axes = figure.add_axes((start, bottom, 0.32 / total_width, 0.17 / total_height))
            axes.set(xticks=[], yticks=[], facecolor=entry.color)
            for spine in axes.spines.values():
                spine.set(edgecolor="#555555", linewidth=0.5)
            ink = readable_on(entry.rgb)
            axes.text(0.5, 0.46, str(entry.id), ha="center", va="center", fontsize=6.5, color=ink)
            middle = bottom + 0.085 / total_height
            figure.text(start + 0.38 / total_width, middle, spoken(entry.name), fontsize=8, va="center")
