"""The report: one page that needs nothing but itself."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from mapmend import __version__
from mapmend.core.durable import replace_file
from mapmend.core.legend import Legend
from mapmend.report import wording
from mapmend.report.curves import draw_curves
from mapmend.report.data import ReportData, SitePanel
from mapmend.report.figures import Layer, Rgb, confidence_colours, site_layers
from mapmend.report.tables import VERDICT_SIGNS, accuracy_tables, area_rows, matrix_rows

MOST_SITES = 6
_PICTURE_BYTES = 1_700_000  # of all pictures together; written as text they take a third more
_LARGEST, _LEAST = 720, 200  # pixels of a picture's long side
_JPEG_QUALITY = 84


@dataclass(frozen=True)
class ScaleBar:
    """A bar of `share` of a picture's width that stands for `text` on the ground."""

    share: float
    text: str


@dataclass(frozen=True, eq=False)
class ShownSite:
    """A site as the page shows it: its layers with the address (data URI) of each picture."""

    site: SitePanel
    layers: tuple[tuple[Layer, str], ...]
    scale: ScaleBar | None


def write_report(data: ReportData, path: str | Path) -> Path:
    """Write the report as one HTML file, whole or not at all.

    Raises:
        DiskError: no space left.
        JobError: the place cannot be written.
    """
    replace_file(Path(path), render(data).encode())
    return Path(path)


def render(data: ReportData) -> str:
    """The page as text. What comes from outside is escaped; nothing is loaded from anywhere."""
    shown = _shown_sites(data.sites, data.legend)
    tables = accuracy_tables(data.accuracy, data.legend) if data.accuracy else None
    areas = area_rows(data.areas, data.legend) if data.areas else []
    matrices = []
    if data.accuracy:
        named = (("New map", data.accuracy.map), ("Label given", data.accuracy.label))
        matrices = [(name, *matrix_rows(matrix, data.legend)) for name, matrix in named if matrix is not None]
    template = _environment().get_template("template.html.j2")
    return template.render(
        data=data,
        version=__version__,
        sites=shown,
        left_out=len(data.sites) - len(shown),
        charts=draw_curves(data.curves, data.best_step),
        tables=tables,
        matrices=matrices,
        areas=areas,
        largest=max((row.largest_share for row in areas), default=1.0),
        confidence_colours=confidence_colours(),
        total_seconds=sum(step.seconds for step in data.times),
    )


def scale_bar(width: int, pixel_size: float | None) -> ScaleBar | None:
    """The longest round length that takes at most 30 % of a picture of so many pixels of so many metres."""
    if not pixel_size or not math.isfinite(pixel_size) or pixel_size <= 0:
        return None
    ground = width * pixel_size
    power = 10.0 ** math.floor(math.log10(0.3 * ground))
    length = max(step * power for step in (1, 2, 5) if step * power <= 0.3 * ground)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return ScaleBar(length / ground, text)


def _shown_sites(sites: tuple[SitePanel, ...], legend: Legend) -> list[ShownSite]:
    chosen = sites[:MOST_SITES]
    return [_shown_site(site, legend, _PICTURE_BYTES // len(chosen)) for site in chosen]


def _shown_site(site: SitePanel, legend: Legend, budget: int) -> ShownSite:
    """The site at the largest size at which its pictures fit the budget."""
    side = _LARGEST
    while True:
        layers = site_layers(site, legend, side)
        encoded = [_encode(layer.picture) for layer in layers]
        size = sum(len(content) for _, content in encoded)
        if size <= budget or side == _LEAST:
            break
        # bytes go with the area, a little less than in proportion
        side = max(_LEAST, int(0.95 * side * math.sqrt(budget / size)))
    uris = (f"data:image/{kind};base64,{base64.b64encode(content).decode()}" for kind, content in encoded)
    return ShownSite(site, tuple(zip(layers, uris, strict=True)), scale_bar(site.valid.shape[1], site.pixel_size))


def _encode(picture: Image.Image) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    if picture.mode == "P":
        picture.save(buffer, "PNG", compress_level=8)
        return "png", buffer.getvalue()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "jpeg", buffer.getvalue()


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mapmend.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fraction": wording.fraction,
        "signed": wording.signed,
        "percent": wording.percent,
        "count": wording.count,
        "area": wording.area,
        "duration": wording.duration,
        "ink": wording.readable_on,
        "words": wording.spoken,
        "plain": _plain,
        "css": _css,
        "shade": _shade,
    }
    environment.tests["branch"] = lambda value: isinstance(value, Mapping | list | tuple) and len(value) > 0
    environment.globals |= {
        "metric_texts": wording.METRIC_TEXTS,
        "signs": VERDICT_SIGNS,
        "Markup": Markup,
    }
    return environment


def _css(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _shade(share: float) -> str:
    """From paper for nothing to a blue for all, on which dark ink can still be read."""
    red, green, blue = (round(255 + share * (full - 255)) for full in (121, 158, 174))
    return f"background:{_css((red, green, blue))}"


def _plain(value: object) -> str:
    """A leaf of the provenance in words."""
    if value is None or value == "" or (isinstance(value, Mapping | list | tuple) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
