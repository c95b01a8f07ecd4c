"""Learning curves as drawings that scale and whose words stay words."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mapmend.report.data import CurvePoint
from mapmend.report.wording import metric_name

Series = dict[str, list[tuple[int, float]]]

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mapmend",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.formatter.useoffset": False,
}
"""Of every chart: words stay words, and the same numbers give the same bytes."""

_SIZE = (5.2, 3.0)  # inches
_MOST_POINTS = 160
_FEW_POINTS = 40  # up to here each measurement has its marker
# line, marker and lightness all differ, so that a curve is known without its colour
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)), (0, (9, 3)), (0, (3, 1.5, 1, 1.5, 1, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "X")
_INKS = ("#000000", "#0072b2", "#b34700", "#00795a", "#7a3f8f", "#6b6b6b")


@dataclass(frozen=True)
class Chart:
    """One chart: `svg` is markup of our own making, with all text from outside escaped by the drawing library."""

    title: str
    alt: str
    svg: str
    note: str = ""


def draw_curves(points: Sequence[CurvePoint], best_step: int | None = None) -> list[Chart]:
    """Charts of the losses, the validation metrics and the learning rate, as far as the log has them."""
    losses = _series(points, "losses")
    metrics = _series(points, "metrics")
    rates: Series = {"": [(p.step, p.lr) for p in points if p.lr is not None and math.isfinite(p.lr)]}
    charts = []
    for title, series in (("Training loss", losses), ("Validation", metrics), ("Learning rate", rates)):
        kept = {name: values for name, values in series.items() if values}
        if kept:
            charts.append(_chart(title, kept, None if title == "Learning rate" else best_step))
    return charts


def _series(points: Sequence[CurvePoint], part: str) -> Series:
    series: Series = {}
    for point in sorted(points, key=lambda one: one.step):
        for name, value in getattr(point, part).items():
            if value is not None and math.isfinite(value):
                series.setdefault(metric_name(name), []).append((point.step, float(value)))
    return series


def _chart(title: str, series: Series, best_step: int | None) -> Chart:
    bundle = max(1, -(-max(map(len, series.values())) // _MOST_POINTS))
    with rc_context(STYLE):
        figure = Figure(figsize=_SIZE)
        axes = figure.add_axes((0.12, 0.16, 0.60, 0.78))
        for number, (name, values) in enumerate(series.items()):
            steps, means = _bundled(values, bundle)
            look = number % len(_DASHES)
            every = max(1, len(steps) // 8)
            axes.plot(
                steps,
                means,
                color=_INKS[look],
                linestyle=_DASHES[look],
                marker=_MARKERS[(number + number // len(_DASHES)) % len(_MARKERS)],
                markersize=4 if len(steps) <= _FEW_POINTS else 5,
                markevery=1 if len(steps) <= _FEW_POINTS else (number * every // len(series), every),
                linewidth=1.5,
                label=name,
            )
        axes.set_xlabel("step")
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.margins(x=0.02)
        _mark_best(axes, best_step)
        _name_lines(axes)
        svg = markup(figure, title.split()[-1].lower())
    last = ", ".join(f"{name} {values[-1][1]:.4g}".strip() for name, values in series.items())
    first_step, last_step = (pick(v[i][0] for v in series.values()) for pick, i in ((min, 0), (max, -1)))
    alt = f"{title} from step {first_step} to {last_step}; at the end: {last}"
    note = f"Each point is the mean of {bundle} entries of the log." if bundle > 1 else ""
    return Chart(title, alt, svg, note)


def _bundled(values: list[tuple[int, float]], size: int) -> tuple[list[float], list[float]]:
    groups = [values[start : start + size] for start in range(0, len(values), size)]
    means = [np.mean(group, axis=0) for group in groups]
    return [float(mean[0]) for mean in means], [float(mean[1]) for mean in means]


def _mark_best(axes: Axes, best_step: int | None) -> None:
    low, high = axes.get_xlim()
    if best_step is None or not low <= best_step <= high:
        return
    axes.axvline(best_step, color="#555555", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    right = best_step > (low + high) / 2
    axes.annotate(
        f"kept: step {best_step}",
        (best_step, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, 2),
        textcoords="offset points",
        ha="right" if right else "left",
        fontsize=8.5,
        color="#333333",
    )


def _name_lines(axes: Axes) -> None:
    """Write each line's name at its end, apart from each other, the marker before it."""
    apart = 0.085
    height = axes.get_ylim()
    lines = sorted(axes.get_lines(), key=lambda line: float(np.asarray(line.get_ydata())[-1]))
    named = [line for line in lines if not str(line.get_label()).startswith("_")]
    wanted = [(float(np.asarray(line.get_ydata())[-1]) - height[0]) / (height[1] - height[0]) for line in named]
    places = spread(wanted, apart)
    for line, wish, place in zip(named, wanted, places, strict=True):
        if not line.get_label():  # alone in its chart, whose title names it
            continue
        ink = line.get_color()
        axes.plot([1.0, 1.035], [wish, place], transform=axes.transAxes, color=ink, linewidth=0.6, clip_on=False)
        axes.plot(
            1.055, place, transform=axes.transAxes, color=ink, marker=line.get_marker(), markersize=5, clip_on=False
        )
        name = str(line.get_label())
        axes.text(
            1.085,
            place,
            name if len(name) <= 20 else name[:19] + "…",
            transform=axes.transAxes,
            color=ink,
            fontsize=9,
            va="center",
            parse_math=False,
        )


def spread(wanted: Sequence[float], apart: float) -> list[float]:
    """Places nearest to the wanted (ascending) ones that keep a distance, inside 0 to 1 as long as they fit."""
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + apart) if places else place)
    over = max(0.0, places[-1] - max(1.0, apart * (len(places) - 1))) if places else 0.0
    ceiling = math.inf
    for index in range(len(places) - 1, -1, -1):
        ceiling = min(places[index] - (over if index == len(places) - 1 else 0), ceiling)
        places[index] = ceiling
        ceiling -= apart
    return places


def markup(figure: Figure, prefix: str) -> str:
    """The drawing as an element of a page: no size of its own, ids that no other drawing has."""
    buffer = io.StringIO()
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    svg = buffer.getvalue()
    head, body = svg[svg.index("<svg") :].split(">", 1)
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    body = re.sub(r"url\(#", f"url(#{prefix}-", body)
    return f'{head} aria-hidden="true">{body}'
