"""Small pictures of suspicious objects: the image, the label and the proposal around each, with its outline."""

from __future__ import annotations

import base64
import io

import numpy as np
import shapely
from PIL import Image, ImageDraw

from mapmend.audit.objects import proposed_ids
from mapmend.audit.views import SiteViews
from mapmend.change.patches import Ints
from mapmend.core.grid import Window
from mapmend.core.legend import NODATA, Legend
from mapmend.report.figures import class_picture, image_picture
from mapmend.report.stretch import display_bands, stretch

_LEAST, _MOST = 48, 512  # pixels of the ground that is shown
_AROUND = 0.6  # of the object's longer side, on each side of it
_SIDE = 160  # pixels of a picture
_INK, _HALO = (255, 255, 255), (0, 0, 0)


def thumbnail(site: SiteViews, box: Ints, polygon: shapely.Polygon, legend: Legend) -> str:
    """Three pictures in one PNG as a data URI: image, label, proposal.

    Args:
        site: where the object lies.
        box: its first and last row, first and last column.
        polygon: of the object in pixel coordinates.
        legend: of the label.

    Raises:
        MapmendError: a file cannot be read.
    """
    window = _around(box)
    pixels, valid = site.reader.image(window)
    shown = valid[0]
    bands = display_bands(site.judged.site.images[0].source.sensor.bands)
    colours = stretch(pixels, shown, bands)
    view = site.view(window)
    proposed = np.where(view.probabilities[0] == NODATA, NODATA, legend.lut[proposed_ids(view, legend)])
    pictures = [
        image_picture(colours, shown, _SIDE),
        class_picture(view.label, legend, _SIDE).convert("RGB"),
        class_picture(proposed.astype(np.uint8), legend, _SIDE).convert("RGB"),
    ]
    sheet = Image.new("RGB", (3 * _SIDE + 8, _SIDE), "white")
    for number, picture in enumerate(pictures):
        drawn = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        _outline(drawn, polygon, window)
        sheet.paste(drawn, (number * (_SIDE + 4), 0))
    buffer = io.BytesIO()
    sheet.quantize(128).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _around(box: Ints) -> Window:
    top, bottom, left, right = (int(place) for place in box)
    side = max(bottom - top, right - left) + 1
    side = int(np.clip(side * (1 + 2 * _AROUND), _LEAST, _MOST))
    return Window((top + bottom + 1 - side) // 2, (left + right + 1 - side) // 2, side, side)


def _outline(picture: Image.Image, polygon: shapely.Polygon, window: Window) -> None:
    draw, scale = ImageDraw.Draw(picture), _SIDE / window.width
    for ring in (polygon.exterior, *polygon.interiors) if isinstance(polygon, shapely.Polygon) else ():
        places = [((x - window.col) * scale, (y - window.row) * scale) for x, y in ring.coords]
        draw.line(places, fill=_HALO, width=3)
        draw.line(places, fill=_INK, width=1)
