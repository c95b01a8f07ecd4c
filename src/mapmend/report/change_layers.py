"""The pictures of a site of two dates: each date's layers, and what changed between them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from mapmend.core.legend import NODATA, Legend
from mapmend.core.stored import STEPS
from mapmend.report.change_data import ChangePanel
from mapmend.report.data import SitePanel
from mapmend.report.figures import (
    OUTCOME_COLOURS,
    Group,
    Layer,
    Outcome,
    Ramp,
    Rgb,
    class_layer,
    outcome_picture,
    palette_picture,
    sample,
    scale_colours,
    site_layers,
    steps_picture,
)
from mapmend.report.marks import Mark, place_change_marks
from mapmend.report.wording import spoken

UNCHANGED: Rgb = (240, 240, 240)
OUTLINE: Rgb = (0, 0, 0)
_MOST_CLASSES = 250  # in the palette of one picture
_NOT_FOUND_AND_NOT_THERE, _FALSE, _MISSED, _HIT = range(4)
_FOUND_NAMES = ("unchanged in both", "false alarm", "missed", "found")

Indices = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


def all_layers(site: SitePanel, legend: Legend) -> list[Layer]:
    """The layers of a site, of both dates and of the change where it has two."""
    after = site_layers(site, legend)
    if site.change is None:
        return after
    before = site_layers(_earlier(site, site.change), legend)
    layers = [_dated(layer, "before", "_before") for layer in before]
    layers += [_dated(layer, "after", "") for layer in after]
    return layers + [replace(layer, group="change") for layer in _change_layers(site, site.change, legend)]


def probability_colours() -> list[Rgb]:
    """The colours of the steps of change probability: paper for none, and only darker from there on."""
    return scale_colours("magma_r", 0.02, 0.95)


def _earlier(site: SitePanel, change: ChangePanel) -> SitePanel:
    return SitePanel(
        name=site.name,
        valid=change.valid,
        image=change.image,
        label=change.label,
        map=change.map,
        confidence=change.confidence,
        reference=change.reference,
        date=change.date,
    )


def _dated(layer: Layer, group: Group, suffix: str) -> Layer:
    title = "Map" if layer.kind == "map" else layer.title
    date = layer.date or "date unknown"
    return replace(layer, kind=layer.kind + suffix, title=title, group=group, date=date)


def _change_layers(site: SitePanel, change: ChangePanel, legend: Legend) -> list[Layer]:
    valid = site.valid & change.valid
    place = f"{site.name}, {change.date} to {site.date}" if change.date and site.date else site.name
    layers = []
    if change.probability is not None:
        shown = np.where(valid, change.probability, NODATA)
        known = shown[shown != NODATA]
        mean = f"mean {known.mean() / STEPS:.0%}" if known.size else "no data"
        colours = probability_colours()
        layers.append(
            Layer(
                "probability",
                "Change probability",
                f"Probability of change, {place}: {mean}",
                partial(steps_picture, shown, colours),
                ramp=Ramp(tuple(colours), "changed"),
            )
        )
    mapped = _indices(change.map, site.map, valid, legend) if change.decided else None
    if mapped is not None:
        layers.append(_changed_layer(*mapped, legend, place))
    if change.updated is not None:
        indices = np.where(valid, legend.lut[change.updated], NODATA).astype(np.uint8)
        layers.append(class_layer("updated", "Updated map", place, indices, legend))
    truth = _indices(change.reference, site.reference, valid, legend)
    if mapped is not None and truth is not None:
        layers.append(_found_layer(mapped, truth, place))
    return layers


def _indices(
    before: Indices | None, after: Indices | None, valid: Bool, legend: Legend
) -> tuple[Indices, Indices] | None:
    """Class indices of both dates, 255 where either has none."""
    if before is None or after is None:
        return None
    old, new = legend.lut[before], legend.lut[after]
    gaps = ~valid | (old == NODATA) | (new == NODATA)
    return np.where(gaps, NODATA, old).astype(np.uint8), np.where(gaps, NODATA, new).astype(np.uint8)


def _changed_layer(old: Indices, new: Indices, legend: Legend, place: str) -> Layer:
    """Changed places in the colour of the class they became, each transition outlined, with `from→to` on it."""
    codes, counts = np.unique((old.astype(np.uint16) << 8 | new)[old != new], return_counts=True)
    ranked = [int(code) for code in codes[np.argsort(-counts, kind="stable")]]
    transitions = [divmod(code, 256) for code in ranked]
    classes = list(dict.fromkeys(after for _, after in transitions))[:_MOST_CLASSES]
    known = old != NODATA
    share = float((old != new).sum() / max(int(known.sum()), 1))
    said = ", ".join(_said(legend, *pair) for pair in transitions[:3])
    return Layer(
        "change",
        "Change",
        f"Change, {place}: {share:.1%} of the mapped area" + (f"; most of it {said}" if said else ""),
        partial(_change_picture, old, new, classes, legend),
        _marks(old, new, transitions[:_MOST_CLASSES], legend),
        (Outcome("unchanged", 1 - share if known.any() else 0.0, UNCHANGED), Outcome("changed", share, OUTLINE)),
        ids=frozenset(legend.ids[index] for index in classes),
    )


def _change_picture(old: Indices, new: Indices, classes: list[int], legend: Legend, side: int) -> Image.Image:
    colours = [*(legend.colors[index] for index in classes), UNCHANGED, OUTLINE]
    unchanged, outline = len(classes), len(classes) + 1
    colour_of = np.full(256, unchanged, np.uint8)
    colour_of[classes] = np.arange(len(classes))
    before, after = sample(old, side), sample(new, side)
    shown = np.where(before != after, colour_of[after], np.where(after == NODATA, NODATA, unchanged)).astype(np.uint8)
    shown[_outlines(before, after)] = outline
    return palette_picture(shown, colours)


def _said(legend: Legend, before: int, after: int) -> str:
    return f"{spoken(legend.names[before])} to {spoken(legend.names[after])}"


def _outlines(before: Indices, after: Indices) -> Bool:
    """Unchanged pixels that touch a change, and one side of the border between two changes.

    The line runs outside a patch, for a patch of a few pixels would else be all outline.
    """
    changed = before != after
    codes = np.where(changed, before.astype(np.uint16) << 8 | after, 0xFFFF)
    line = np.zeros(changed.shape, bool)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differ = codes[here] != codes[there]
        line[here] |= differ & changed[there]
        line[there] |= differ & changed[here] & ~changed[there]
    return line


def _marks(old: Indices, new: Indices, transitions: list[tuple[int, int]], legend: Legend) -> tuple[Mark, ...]:
    kind_of = np.full((256, 256), NODATA, np.uint8)
    for position, pair in enumerate(transitions):
        kind_of[pair] = position
    named = [(legend.ids[before], legend.ids[after]) for before, after in transitions]
    return place_change_marks(kind_of[old, new], named)


def _found_layer(mapped: tuple[Indices, Indices], truth: tuple[Indices, Indices], place: str) -> Layer:
    """Which changes were found, missed, or are false alarms, where map and truth are known at both dates."""
    known = (mapped[0] != NODATA) & (truth[0] != NODATA)
    in_map, in_truth = mapped[0] != mapped[1], truth[0] != truth[1]
    outcome = np.select(
        [in_map & in_truth, in_truth, in_map], [_HIT, _MISSED, _FALSE], _NOT_FOUND_AND_NOT_THERE
    ).astype(np.uint8)
    shares = np.bincount(outcome[known], minlength=4) / max(int(known.sum()), 1)
    outcomes = tuple(
        Outcome(name, float(share), colour)
        for name, share, colour in zip(_FOUND_NAMES, shares, OUTCOME_COLOURS, strict=True)
    )
    alt = f"Change found and missed, {place}: " + ", ".join(f"{one.name} {one.share:.1%}" for one in outcomes)
    shown = np.where(known, outcome, NODATA).astype(np.uint8)
    return Layer("found", "Change found and missed", alt, partial(outcome_picture, shown), outcomes=outcomes)
