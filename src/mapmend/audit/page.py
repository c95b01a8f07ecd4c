"""The audit as one page that needs nothing but itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure

from mapmend import __version__
from mapmend.audit.objects import Listed
from mapmend.audit.record import AuditResult
from mapmend.audit.thumbnails import thumbnail
from mapmend.audit.views import SiteViews
from mapmend.core.durable import replace_file
from mapmend.report.curves import STYLE, Chart, markup
from mapmend.report.page import environment
from mapmend.report.wording import count

_SHOWN = 40  # objects with pictures
_INK = "#0072b2"


@dataclass(frozen=True)
class Shown:
    """An object on the page."""

    rank: int
    place: str
    label: str
    proposed: str
    reason: str
    chance: float
    size: str
    picture: str


def write_page(
    result: AuditResult,
    listed: Listed,
    polygons: npt.NDArray[np.object_],
    sites: tuple[SiteViews, ...],
    path: Path,
) -> Path:
    """Write the page, whole or not at all.

    Raises:
        DiskError: no space left.
        MapmendError: the place cannot be written, or pixels of a picture cannot be read.
    """
    shown = [_shown(result, listed, polygons, sites, number) for number in range(min(_SHOWN, len(listed)))]
    template = environment("mapmend.audit").get_template("audit.html.j2")
    text = template.render(
        result=result, shown=shown, version=__version__, chart=_budget_chart(result), headline=headline(result)
    )
    replace_file(path, text.encode())
    return path


def headline(result: AuditResult) -> str:
    """What is found, in a sentence or two."""
    diagnosis = result.diagnosis
    if diagnosis.kind == "none found":
        noise = "No kind of noise stands out."
    else:
        noise = f"The label's noise looks like: {', '.join(diagnosis.kinds)}."
    looks = [one for one in result.budget if one.looks <= 200]
    if not looks:
        return noise
    best = looks[-1]
    return (
        f"{noise} Look at the first {best.looks}: expect {best.expected:.0f} errors "
        f"({best.low:.0f} to {best.high:.0f})."
    )


def _shown(
    result: AuditResult,
    listed: Listed,
    polygons: npt.NDArray[np.object_],
    sites: tuple[SiteViews, ...],
    number: int,
) -> Shown:
    parts, names = listed.parts, result.legend.names
    site = sites[int(parts.site[number])]
    pixels = int(parts.pixels[number])
    hectares = site.judged.site.grid.crs is not None
    size = f"{float(parts.area[number]):.3g} ha" if hectares else f"{count(pixels)} px"
    return Shown(
        number + 1,
        site.judged.key,
        names[int(parts.label[number])],
        names[int(parts.proposed[number])],
        str(listed.reasons[number]),
        float(listed.chances[number]),
        size,
        thumbnail(site, parts.box[:, number], polygons[number], result.legend),
    )


def _budget_chart(result: AuditResult) -> Chart | None:
    """Expected errors against looks, with the range and the line on which every look finds one."""
    if not result.budget:
        return None
    looks = [0, *(one.looks for one in result.budget)]
    with rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.4))
        axes = figure.add_axes((0.12, 0.16, 0.84, 0.8))
        axes.plot(looks, looks, color="#555555", linewidth=1, linestyle=(0, (4, 3)), label="every look an error")
        low, high = ([0.0, *(getattr(one, name) for one in result.budget)] for name in ("low", "high"))
        axes.fill_between(looks, low, high, color=_INK, alpha=0.2, linewidth=0, label="90 % of draws")
        expected = [0.0, *(one.expected for one in result.budget)]
        axes.plot(looks, expected, color=_INK, marker="o", markersize=4, label="expected")
        axes.set(xlabel="objects looked at", ylabel="errors found", xlim=(0, looks[-1]), ylim=(0, None))
        axes.legend(loc="upper left", frameon=False, fontsize=9)
        svg = markup(figure, "budget")
    last = result.budget[-1]
    alt = f"Budget: {last.looks} looks are expected to find {last.expected:.0f} errors"
    note = f"{result.expected:.0f} of all {count(result.suspicious)} suspicious objects are expected to be wrong."
    return Chart("Budget", alt, svg, note)
