"""The report: one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mapmend import __version__
from mapmend.core.durable import replace_file
from mapmend.report import wording
from mapmend.report.curves import draw_curves
from mapmend.report.data import ReportData
from mapmend.report.diagram import draw_reliability
from mapmend.report.figures import Rgb
from mapmend.report.intervals import draw_intervals
from mapmend.report.parts import accuracy_parts, areas_parts, change_part
from mapmend.report.pictures import shown_sites
from mapmend.report.tables import VERDICT_SIGNS

_PAGE_BYTES = 2_750_000  # a little under 3 MB: the numbers on the pictures are not counted
_MOST_ACROSS = 22  # classes whose table fits an upright page in print


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
    accuracies = accuracy_parts(data)
    template = environment().get_template("template.html.j2")
    parts = {
        "data": data,
        "version": __version__,
        "charts": draw_curves(data.curves, data.best_step),
        "accuracies": accuracies,
        "tables": accuracies[-1].tables if accuracies else None,
        "areas": areas_parts(data),
        "reliability_chart": draw_reliability(data.reliability) if data.reliability else None,
        "intervals_chart": draw_intervals(data.estimated) if data.estimated else None,
        "change": change_part(data.change, data.legend) if data.change else None,
        "total_seconds": sum(step.seconds for step in data.times),
    }
    # what many classes take in tables, the pictures must do without
    words = len(template.render(parts, sites=[], left_out=0, classes=data.legend.classes).encode())
    sites = shown_sites(data.sites, data.legend, max(0, _PAGE_BYTES - words) * 3 // 4)
    present = frozenset(key for site in sites for key in site.ids)
    return template.render(
        parts,
        sites=sites,
        left_out=len(data.sites) - len(sites),
        classes=[entry for entry in data.legend.classes if entry.id in present],
    )


def environment(package: str = "mapmend.report") -> Environment:
    """Templates of a package, beside those of the reports; what they fill in is escaped."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("mapmend.report", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "fraction": wording.fraction,
        "signed": wording.signed,
        "percent": wording.percent,
        "count": wording.count,
        "area": wording.area,
        "signed_area": wording.signed_area,
        "duration": wording.duration,
        "ink": wording.readable_on,
        "words": wording.spoken,
        "plain": _plain,
        "css": _css,
        "shade": _shade,
    }
    found.tests["branch"] = lambda value: isinstance(value, Mapping | list | tuple) and len(value) > 0
    found.globals |= {
        "metric_texts": wording.METRIC_TEXTS,
        "change_texts": wording.CHANGE_TEXTS,
        "signs": VERDICT_SIGNS,
        "Markup": Markup,
        "most_across": _MOST_ACROSS,
        "shade": _shade,
    }
    return found


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
