"""A chart of estimated areas with their intervals, beside what the map shows."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mapmend.report.curves import STYLE, Chart, markup
from mapmend.report.estimated import EstimatedAreas
from mapmend.report.wording import area, spoken

_WIDTH, _ROW, _FRAME = 5.2, 0.34, 0.95  # inches
_MOST_CLASSES = 24
_LONGEST_NAME = 22
_INK, _MAP = "#000000", "#b34700"


def draw_intervals(found: EstimatedAreas) -> Chart | None:
    """Estimate, interval and mapped area of the largest classes; None where no area is estimated."""
    known = [one for one in found.classes if one.area_ha.estimate is not None]
    if not known:
        return None
    largest = sorted(known, key=lambda one: -(one.area_ha.estimate or 0.0))[:_MOST_CLASSES]
    shown = [one for one in known if one in largest]
    height = _FRAME + _ROW * len(shown)
    with rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        axes = figure.add_axes((0.30, 0.55 / height, 0.66, 1 - 0.95 / height))
        for row, one in enumerate(shown):
            if one.area_ha.interval is not None:
                axes.plot(one.area_ha.interval, [row, row], color=_INK, linewidth=1.6, marker="|", markersize=9)
        estimates = [one.area_ha.estimate or 0.0 for one in shown]
        axes.plot(estimates, range(len(shown)), "o", color=_INK, markersize=5, label="estimate and interval")
        rows = [(row, one.pixel_count_area_ha) for row, one in enumerate(shown)]
        mapped = [(row, size) for row, size in rows if size is not None]
        axes.plot(
            [size for _, size in mapped],
            [row for row, _ in mapped],
            "D",
            color=_MAP,
            markerfacecolor="white",
            markersize=6,
            label="counted on the map",
        )
        axes.set_yticks(range(len(shown)), [_short(one.name) for one in shown], parse_math=False)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.10g}".replace(",", "\u202f")))
        axes.set_xlabel("ha")
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9)
        svg = markup(figure, "intervals")
    said = "; ".join(f"{spoken(one.name)} {area(one.area_ha.estimate, 'ha')} ha" for one in shown[:8])
    more = len(known) - len(shown)
    note = f"The {len(shown)} largest classes; the table has all {len(known)}." if more else ""
    return Chart("Estimated areas", f"Estimated areas with {100 * found.level:g} % intervals: {said}", svg, note)


def _short(name: str) -> str:
    words = spoken(name)
    return words if len(words) <= _LONGEST_NAME else words[: _LONGEST_NAME - 1] + "…"
