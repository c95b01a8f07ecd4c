"""Layers of a site as small pictures: exact class colours, hatched nodata, numbers where there is room for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from mapmend.core.legend import NODATA, Legend
from mapmend.core.stored import STEPS
from mapmend.report.data import SitePanel
from mapmend.report.marks import Mark, place_marks
from mapmend.report.wording import spoken

Rgb = tuple[int, int, int]
Group = Literal["", "before", "after", "change"]
Scalar = TypeVar("Scalar", bound=np.generic)

# "no data" is a hatching in every layer: no legend has it as a class, and it stays what it is in grey print
_HATCH: tuple[Rgb, Rgb] = ((238, 238, 238), (205, 205, 205))
_HATCH_PERIOD = 4
_LEAST_SIDE = 400  # smaller arrays are enlarged by whole factors, so that no viewer smooths them

# The four outcomes differ in lightness (95, 69, 46, 22 in CIE L*) and, for every kind of colour vision, in hue
_RIGHT, _GAINED, _LOST, _WRONG = range(4)
OUTCOME_COLOURS: list[Rgb] = [(240, 240, 240), (86, 180, 233), (190, 75, 0), (54, 54, 54)]

CONFIDENCE_STEPS = 20
KINDS = ("image", "image_2", "image_3", "label", "map", "confidence", "reference", "comparison")


@dataclass(frozen=True)
class Outcome:
    """One outcome of a comparison: its share of the compared pixels, and its colour."""

    name: str
    share: float
    colour: Rgb


@dataclass(frozen=True)
class Ramp:
    """The colours of a picture of shares, from 0 to 100 %, and what 100 % means."""

    colours: tuple[Rgb, ...]
    full: str


@dataclass(frozen=True, eq=False)
class Layer:
    """One picture of a site.

    Attributes:
        kind: image, label, map, confidence, reference or comparison, with `_before` at the earlier of two dates;
            probability, change, updated or found.
        title: what stands above it.
        alt: what it shows, for those who do not see it.
        draw: the picture, of at most so many pixels on its long side: a palette picture for classes and steps, a
            colour picture for images.
        marks: numbers to be written on it.
        outcomes: what a comparison's colours mean.
        ids: legend ids of the classes whose colours it shows.
        ramp: the colours of a picture of shares.
        group: which of two dates it shows, or the change between them; '' for a site of one date.
        date: the date it shows, '' where it shows none.
    """

    kind: str
    title: str
    alt: str
    draw: Callable[[int], Image.Image]
    marks: tuple[Mark, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    ids: frozenset[int] = frozenset()
    ramp: Ramp | None = None
    group: Group = ""
    date: str = ""


def site_layers(site: SitePanel, legend: Legend) -> list[Layer]:
    """The layers a site has at its one date, or at the later one, on the same extent.

    Classes, confidence and comparison are sampled, never averaged; only the image is.
    """
    layers = []
    place = f"{site.name}, {site.date}" if site.date else site.name
    if site.image is not None:
        pictures = [(site.sensor, site.image), *site.others]
        for number, (sensor, image) in enumerate(pictures, start=1):
            kind, title = "image" if number == 1 else f"image_{number}", f"Image: {sensor}" if sensor else "Image"
            layers.append(Layer(kind, title, f"{title} of {place}", partial(image_picture, image, site.valid)))
    for kind, title in (("label", "Label given"), ("map", "New map"), ("reference", "Reference")):
        ids = getattr(site, kind)
        if ids is not None:
            indices = np.where(site.valid, legend.lut[ids], NODATA).astype(np.uint8)
            layers.append(class_layer(kind, title, place, indices, legend))
    if site.confidence is not None:
        shown = np.where(site.valid, site.confidence, NODATA)
        known = shown[shown != NODATA]
        mean = f"mean {known.mean() / STEPS:.0%}" if known.size else "no data"
        alt, colours = f"Confidence of the map, {place}: {mean}", confidence_colours()
        draw = partial(steps_picture, shown, colours)
        layers.append(Layer("confidence", "Confidence", alt, draw, ramp=Ramp(tuple(colours), "sure")))
    compared = _compare(site, legend)
    layers = sorted(layers + ([compared] if compared else []), key=lambda layer: KINDS.index(layer.kind))
    return [replace(layer, date=site.date) for layer in layers]


def class_layer(kind: str, title: str, place: str, indices: npt.NDArray[np.uint8], legend: Legend) -> Layer:
    """A layer of class indices, 255 where there is none."""
    counts = np.bincount(indices.ravel(), minlength=256)[: len(legend)]
    return Layer(
        kind,
        title,
        f"{title}, {place}: {_composition(counts, legend)}",
        partial(class_picture, indices, legend),
        place_marks(indices, legend),
        ids=frozenset(legend.ids[index] for index in np.flatnonzero(counts)),
    )


def image_picture(image: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_], side: int) -> Image.Image:
    """An H×W×3 image, averaged down to at most `side` pixels; invalid pixels are hatched."""
    height, width = valid.shape
    factor = max(height, width) / side
    size = (round(width / factor), round(height / factor)) if factor > 1 else _enlarged(height, width, side)
    resampling = Image.Resampling.BOX if factor > 1 else Image.Resampling.NEAREST
    pixels = np.array(Image.fromarray(image).resize((max(1, size[0]), max(1, size[1])), resampling))
    holes = np.logical_not(sample(valid, side))
    pixels[holes] = np.array(_HATCH, np.uint8)[_hatching(holes.shape)][holes]
    return Image.fromarray(pixels)


def class_picture(indices: npt.NDArray[np.uint8], legend: Legend, side: int) -> Image.Image:
    """Class indices (255 where there is none) in the legend's colours, sampled to at most `side` pixels."""
    return palette_picture(sample(indices, side), legend.colors)


def steps_picture(shares: npt.NDArray[np.uint8], colours: list[Rgb], side: int) -> Image.Image:
    """Confidence or probability (200·p, 255 where there is none) in equal steps, one a colour."""
    step = np.minimum(shares // (STEPS // len(colours)), len(colours) - 1)
    return palette_picture(sample(np.where(shares == NODATA, NODATA, step), side), colours)


def outcome_picture(outcomes: npt.NDArray[np.uint8], side: int) -> Image.Image:
    """Positions in `OUTCOME_COLOURS`, 255 where nothing is compared."""
    return palette_picture(sample(outcomes, side), OUTCOME_COLOURS)


def confidence_colours() -> list[Rgb]:
    """The colours of the steps of 5 %, lowest confidence first, on a perceptually uniform scale."""
    return scale_colours("viridis")


def scale_colours(name: str, low: float = 0.0, high: float = 1.0) -> list[Rgb]:
    """Twenty colours of one of matplotlib's scales between two places on it."""
    shades = colormaps[name](np.linspace(low, high, CONFIDENCE_STEPS))[:, :3]
    return [(int(red), int(green), int(blue)) for red, green, blue in np.round(shades * 255)]


def sample(values: npt.NDArray[Scalar], side: int) -> npt.NDArray[Scalar]:
    """H×W values at pixel centres of a grid of at most `side`; small arrays are repeated by a whole factor instead."""
    height, width = values.shape
    factor = max(height, width) / side
    if factor > 1:
        return values[np.ix_(_centres(height, factor), _centres(width, factor))]
    repeat = _enlarged(height, width, side)[0] // width
    return values.repeat(repeat, 0).repeat(repeat, 1)


def _centres(length: int, factor: float) -> npt.NDArray[np.intp]:
    count = max(1, round(length / factor))
    return ((np.arange(count) + 0.5) * length / count).astype(np.intp)


def _enlarged(height: int, width: int, side: int) -> tuple[int, int]:
    longest = max(height, width)
    repeat = max(1, min(-(-_LEAST_SIDE // longest), side // longest))
    return width * repeat, height * repeat


def _hatching(shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    rows, columns = np.indices(shape)
    stripes: npt.NDArray[np.intp] = (rows + columns) // _HATCH_PERIOD % 2
    return stripes


def palette_picture(indices: npt.NDArray[np.generic], colours: list[Rgb]) -> Image.Image:
    """Positions in a list of at most 254 colours, exactly; 255 is hatched."""
    shown = np.where(indices == NODATA, len(colours) + _hatching(indices.shape), indices).astype(np.uint8)
    picture = Image.fromarray(shown)
    picture.putpalette(bytes(part for colour in (*colours, *_HATCH) for part in colour))
    return picture


def _composition(counts: npt.NDArray[np.intp], legend: Legend) -> str:
    if not counts.sum():
        return "no data"
    largest = [index for index in np.argsort(-counts, kind="stable")[:3] if counts[index]]
    return ", ".join(f"{spoken(legend.names[index])} {counts[index] / counts.sum():.0%}" for index in largest)


def _compare(site: SitePanel, legend: Legend) -> Layer | None:
    """Where map and label agree with the reference, or else with each other."""
    if site.map is None or (site.reference is None and site.label is None):
        return None
    truth = site.reference if site.reference is not None else site.label
    assert truth is not None
    known = site.valid & (legend.lut[truth] != NODATA)
    right = truth == site.map
    outcome = np.where(right, _RIGHT, _LOST)
    if site.reference is None:
        known &= legend.lut[site.map] != NODATA
        title, names = "Map against label", {_RIGHT: "same class", _LOST: "other class"}
    elif site.label is None:
        title, names = "Right and wrong", {_RIGHT: "map right", _LOST: "map wrong"}
    else:
        before = truth == site.label
        outcome = np.select([right & before, right, before], [_RIGHT, _GAINED, _LOST], _WRONG)
        title = "Right and wrong"
        names = {_RIGHT: "both right", _GAINED: "only map right", _LOST: "only label right", _WRONG: "both wrong"}
    total = max(int(known.sum()), 1)
    outcomes = tuple(
        Outcome(name, int((outcome[known] == code).sum()) / total, OUTCOME_COLOURS[code])
        for code, name in names.items()
    )
    alt = f"{title}, {site.name}: " + ", ".join(f"{one.name} {one.share:.1%}" for one in outcomes)
    shown = np.where(known, outcome, NODATA).astype(np.uint8)
    return Layer("comparison", title, alt, partial(outcome_picture, shown), outcomes=outcomes)
