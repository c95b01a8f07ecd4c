"""The reliability diagram: how often pixels of a stated confidence agree with the label, and how many there are."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mapmend.report.curves import STYLE, Chart, markup
from mapmend.report.reliability import Bins, Reliability
from mapmend.report.wording import percent

_SIZE = (5.2, 4.2)  # inches
_BEFORE, _AFTER = "#b34700", "#0072b2"


def draw_reliability(found: Reliability) -> Chart:
    """Agreement with the labels by stated confidence, before and after; below, how many pixels state it."""
    with rc_context(STYLE):
        figure = Figure(figsize=_SIZE)
        above = figure.add_axes((0.13, 0.38, 0.83, 0.58))
        below = figure.add_axes((0.13, 0.13, 0.83, 0.19), sharex=above)
        above.plot([0, 1], [0, 1], color="#555555", linewidth=1, linestyle=(0, (4, 3)), label="as it should be")
        _draw(above, found.bins.before, _BEFORE, "s", (0, (5, 2)), "before")
        _bars(below, found.bins.before, _BEFORE, 0.0)
        if found.bins.after is not None:
            _draw(above, found.bins.after, _AFTER, "o", "-", "calibrated")
            _bars(below, found.bins.after, _AFTER, 0.5)
        above.set_ylabel("agrees with the label")
        above.set(xlim=(0, 1), ylim=(0, 1.02))
        above.tick_params(labelbottom=False)
        above.legend(loc="upper left", frameon=False, fontsize=9)
        below.set_xlabel("confidence")
        below.set_ylabel("% of pixels")
        svg = markup(figure, "reliability")
    told = "; ".join(
        f"{name} calibration {_told(bins)}"
        for name, bins in (("before", found.bins.before), ("after", found.bins.after))
        if bins is not None
    )
    return Chart("Reliability diagram", f"Reliability diagram: {told}", svg)


def _draw(axes: Axes, bins: Bins, ink: str, marker: str, dash: object, name: str) -> None:
    held = [row for row in bins if row[0]]
    x, y = [sums / pixels for pixels, sums, _ in held], [right / pixels for pixels, _, right in held]
    look = {"color": ink, "marker": marker, "linestyle": dash, "markersize": 5, "linewidth": 1.3}
    axes.plot(x, y, label=name, markerfacecolor="white" if name == "before" else ink, **look)  # type: ignore[arg-type]


def _bars(axes: Axes, bins: Bins, ink: str, side: float) -> None:
    """Per cent of the pixels in each bin; the two halves of a bin are before and after."""
    total, width = sum(row[0] for row in bins) or 1.0, 1 / len(bins)
    places = [(number + side) * width for number in range(len(bins))]
    hatch = "" if side else "////"
    fill = ink if side else "white"
    axes.bar(
        places,
        [100 * row[0] / total for row in bins],
        width / 2,
        align="edge",
        color=fill,
        edgecolor=ink,
        hatch=hatch,
        linewidth=0.6,
    )


def _told(bins: Bins) -> str:
    pixels, sums, right = (sum(row[number] for row in bins) or 1.0 for number in range(3))
    return f"mean confidence {percent(sums / pixels)}, agreement {percent(right / pixels)}"
