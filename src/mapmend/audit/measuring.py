"""Parts of a strip: connected pixels with one label and one proposed class, and what is measured of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mapmend.change.codes import Codes, FromToLegend
from mapmend.change.patches import Floats, Ints, StripPatches, find_patches, sums
from mapmend.core.legend import NODATA, Legend
from mapmend.core.stored import STEPS

Bytes = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

HALO = 8  # pixels around a strip that are looked at, and the largest depth that is told apart
_LEAST = 0.5 / STEPS  # stands for a probability that is stored as 0

SUMS = (
    "evidence",
    "p_label",
    "p_proposed",
    "outline",
    "outline_label",
    "touching",
    "moved_back",
    "moved_other",
    "earlier_known",
    "earlier_agrees",
    "marked",
)
"""What is added up over the pixels of a part, see `StripParts.sums`."""


@dataclass(frozen=True)
class View:
    """A window of a judged label with some pixels around it.

    Attributes:
        label: h×w legend indices, 255 where there is none.
        probabilities: K×h×w, round(200·p), 255 where there are none.
        earlier: h×w classes proposed for the earlier date, 255 where there are none; None without an earlier date.
        halo: rows above and below, and columns left and right, that are not the window's own.
        marked: h×w, pixels that are counted apart; None for none.
    """

    label: Bytes
    probabilities: Bytes
    earlier: Bytes | None = None
    halo: int = 0
    marked: Bool | None = None

    @property
    def own(self) -> tuple[slice, slice]:
        """Rows and columns of the window itself."""
        height, width = self.label.shape
        return slice(self.halo, height - self.halo), slice(self.halo, width - self.halo)


@dataclass(frozen=True)
class StripParts:
    """The parts of a window; P parts.

    Attributes:
        patches: pixels, area and joint codes, label · K + proposed.
        objects: the label's objects: connected pixels of one class, on the same pixels.
        object_of: P, the object that each part lies in.
        sums: of the pixels of each part, by name: `evidence` log p(best other class) − log p(label), `p_label`,
            `p_proposed`; `outline` sides that another part touches, `outline_label` those of them where the label
            changes as well, `touching` those beyond which the label is the proposed class; `moved_back` pixels that the
            shifted label, moved back, gives the proposed class, `moved_other` another than the label's;
            `earlier_known`, `earlier_agrees` pixels with an earlier date, and where its proposal is the label;
            `marked`.
        depth: of the deepest pixel of each part: how many pixels it lies inside, at most `HALO`.
        box: 4×P first and last row and column, within the window.
    """

    patches: StripPatches
    objects: StripPatches
    object_of: Ints
    sums: dict[str, Floats]
    depth: Floats
    box: Ints


def measure(view: View, legend: Legend, areas: Floats, shift: tuple[int, int] = (0, 0)) -> StripParts:
    """Find and measure the parts of a window.

    Args:
        view: label and probabilities.
        legend: of both, K classes.
        areas: of the window's own pixels.
        shift: (down, right) pixels by which the label lies beside the image, as far as the halo goes.
    """
    rows, cols = view.own
    codes, label, proposed, known = joint_codes(view, legend)
    own = known[rows, cols]
    patches = find_patches(codes[rows, cols], own, areas[own], None)
    objects = find_patches(label[rows, cols].astype(np.uint16), own, areas[own], None)
    count, width = len(patches.pixels), own.shape[1]
    object_of = np.zeros(count, np.int64)
    object_of[patches.label] = objects.label
    where = (patches.at // width + view.halo, patches.at % width + view.halo)
    inside, moved = _depths(codes, known)[where], moved_back(label, shift, where)
    values = {
        **_probabilities(view.probabilities[:, *where], label[where], proposed[where]),
        **_outlines(codes, label, proposed, known, where, inside == 1),
        "moved_back": moved == proposed[where],
        "moved_other": (moved != label[where]) & (moved != NODATA),
        "earlier_known": np.zeros(len(patches.at)) if view.earlier is None else view.earlier[where] != NODATA,
        "earlier_agrees": np.zeros(len(patches.at)) if view.earlier is None else view.earlier[where] == label[where],
        "marked": np.zeros(len(patches.at)) if view.marked is None else view.marked[where],
    }
    depth = np.zeros(count)
    np.maximum.at(depth, patches.label, inside)
    return StripParts(
        patches,
        objects,
        object_of,
        {name: sums(patches.label, values[name].astype(np.float64), count) for name in SUMS},
        depth,
        _boxes(patches, width),
    )


def joint_codes(view: View, legend: Legend) -> tuple[Codes, Bytes, Bytes, Bool]:
    """Codes label · K + proposed, both classes apart, and where both are known; all h×w."""
    known = (view.label != NODATA) & (view.probabilities[0] != NODATA)
    label = np.where(known, view.label, np.uint8(NODATA))
    proposed = np.where(known, view.probabilities.argmax(axis=0), NODATA).astype(np.uint8)
    return FromToLegend(legend).encode(label, proposed), label, proposed, known


def parts_of(view: View, legend: Legend) -> StripPatches:
    """The parts of a window, not measured, in the order of `measure`."""
    codes, _, _, known = joint_codes(view, legend)
    own = known[view.own]
    return find_patches(codes[view.own], own, np.ones(int(own.sum())), None)


def evidence_of(probabilities: Bytes, label: Bytes) -> Floats:
    """Evidence log p(best other class) − log p(label) of N pixels, K×N; above 0 where another class is proposed."""
    at = np.arange(probabilities.shape[1])
    given = probabilities[label, at].astype(np.float64) / STEPS
    others = probabilities.copy()
    others[label, at] = 0
    best = others.max(axis=0).astype(np.float64) / STEPS
    result: Floats = np.log(best + _LEAST) - np.log(given + _LEAST)
    return result


def _probabilities(probabilities: Bytes, label: Bytes, proposed: Bytes) -> dict[str, Floats]:
    at = np.arange(probabilities.shape[1])
    return {
        "evidence": evidence_of(probabilities, label),
        "p_label": probabilities[label, at] / np.float64(STEPS),
        "p_proposed": probabilities[proposed, at] / np.float64(STEPS),
    }


def _outlines(
    codes: Codes,
    label: Bytes,
    proposed: Bytes,
    known: Bool,
    where: tuple[Ints, Ints],
    edge: Bool,
) -> dict[str, Floats]:
    """How many of the four sides of each pixel belong to its part's outline, and what lies beyond them."""
    found = {name: np.zeros(len(edge)) for name in ("outline", "outline_label", "touching")}
    height, width = label.shape
    rows, cols = where[0][edge], where[1][edge]  # few of the pixels
    code, own, aim = codes[rows, cols], label[rows, cols], proposed[rows, cols]
    for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        row, col = rows + down, cols + right
        inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        beyond = row.clip(0, height - 1), col.clip(0, width - 1)
        other = inside & known[beyond] & (codes[beyond] != code)
        found["outline"][edge] += other
        found["outline_label"][edge] += other & (label[beyond] != own)
        found["touching"][edge] += other & (label[beyond] == aim)
    return found


def moved_back(label: Bytes, shift: tuple[int, int], where: tuple[Ints, ...]) -> Bytes:
    """The label that belongs to each place (row, column), of one that lies (down, right) pixels off."""
    row, col = where[0] + shift[0], where[1] + shift[1]
    inside = (row >= 0) & (row < label.shape[0]) & (col >= 0) & (col < label.shape[1])
    beyond = row.clip(0, label.shape[0] - 1), col.clip(0, label.shape[1] - 1)
    return np.where(inside, label[beyond], np.uint8(NODATA))


def _depths(codes: Codes, known: Bool) -> Floats:
    """How many pixels each lies inside its part, 1 at the outline, at most `HALO`."""
    edge = np.zeros(codes.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (codes[one] != codes[other]) & known[one] & known[other]
        edge[one] |= differ
        edge[other] |= differ
    if not edge.any():
        return np.full(codes.shape, float(HALO))
    depths: Floats = np.minimum(1 + ndimage.distance_transform_edt(~edge), HALO)
    return depths


def _boxes(patches: StripPatches, width: int) -> Ints:
    count = len(patches.pixels)
    row, col = np.divmod(patches.at, width)
    box = np.zeros((4, count), np.int64)
    box[0], box[2] = np.iinfo(np.int64).max, np.iinfo(np.int64).max
    for place, values in ((0, row), (2, col)):
        np.minimum.at(box[place], patches.label, values)
        np.maximum.at(box[place + 1], patches.label, values)
    return box
