"""Counts of every image, one after the other, and the figures of all of them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.boundary import BoundaryCounts, bf_tolerance, reach, ring_width
from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.conventions import explain, map_conventions
from mapmend.accuracy.group_means import group_figures, group_means
from mapmend.accuracy.image_means import ImageMeans, image_metrics
from mapmend.accuracy.metrics import map_metrics
from mapmend.accuracy.semantic_change import SemanticChange, semantic_change_metrics
from mapmend.core.classes import NODATA, Legend
from mapmend.core.grid import Window, windows
from mapmend.core.grouping import Grouping
from mapmend.scoring.codes import count_codes
from mapmend.scoring.images import ScoredImage
from mapmend.scoring.scores import DateScores, Scores, Seen

MOST_RING = 512  # pixels; a window grows by the ring's width on every side
_SIDE = 2048

Classes = npt.NDArray[np.uint8]


class Gathering:
    """Counts of every image."""

    def __init__(
        self, legend: Legend, masked: int | None, has_change_map: bool, grouping: Grouping | None = None
    ) -> None:
        self.grouping = grouping
        self.legend, self.masked, self.has_change_map = legend, masked, has_change_map
        self.images, self.notes = 0, list[str]()
        self.dates: dict[str, DateCounts] = {}
        self.change: ChangeAccuracy | None = None
        self.semantic: SemanticChange | None = None

    def add(self, name: str, image: ScoredImage, ring: int | None) -> None:
        """Count one image."""
        height, width = (int(n) for n in image.grid.shape)
        rim = ring_width(height, width) if ring is None else ring
        tolerance = bf_tolerance(height, width) if ring is None else float(ring)
        if rim > MOST_RING:
            self.notes.append(f"{name}: too large for boundary metrics of the usual width; set the ring's width")
            rim = 0
        pad = reach(rim, tolerance) if rim else 0
        roles = [("", "reference", "prediction")]
        if image.has_two_dates:
            roles.append(("before_", "before_reference", "before_prediction"))
        counted = {
            date: (ConfusionMatrix(self.legend.names), BoundaryCounts(len(self.legend)) if rim else None)
            for date, *_ in roles
        }
        pairs_of_codes = None if rim or len(roles) == 2 else count_codes(image, ("reference", "prediction"))
        if pairs_of_codes is not None:
            counted[""][0].update_joint(pairs_of_codes, where=name)
        for window in windows(image.grid, _SIDE) if pairs_of_codes is None else ():
            core = Window(pad, pad, window.height, window.width).slices
            pairs = {}
            for date, true, made in roles:
                reference, prediction = (image.read(role, window.pad(pad)) for role in (true, made))
                matrix, boundary = counted[date]
                pairs[date] = (reference[core], prediction[core])
                matrix.update(*pairs[date], where=name)
                if boundary is not None:
                    boundary.update(reference, prediction, width=rim, tolerance=tolerance, core=core)
            if len(roles) == 2:
                changed = image.changed(window) if self.has_change_map else None
                self._count_change(name, pairs["before_"], pairs[""], changed)
        group = self.grouping.group(name, where="--group-by") if self.grouping is not None else None
        for date, parts in counted.items():
            of_date = self.dates.setdefault(date, DateCounts(self.legend))
            of_date.close_image(name, *parts)
            if group is not None:
                of_date.add_to_group(group, parts[0])
        self.images += 1

    def scores(self, notes: tuple[str, ...], *, by_code: bool, seen: Seen | None = None) -> Scores:
        """The figures of all images; `seen` is what the model had seen of them."""
        later, before = self.dates[""], self.dates.get("before_")
        if not later.matrix.pixels:
            notes = (*notes, "no pixel has a reference: there is nothing to score")
        semantic = semantic_change_metrics(self.semantic) if self.semantic else None
        where: dict[str, str] = {}
        if semantic:
            half = f"{semantic.half_labelled} pixels have a class at one date alone"
            right = f"{semantic.half_right} changed pixels have one date right and the other wrong"
            where = dict.fromkeys(("iou_c_fromto", "miou_2class_fromto"), half)
            where |= dict.fromkeys(("kappa_separated_fromto", "sek_fromto", "score_fromto", "fscd_fromto"), right)
        return Scores(
            images=self.images,
            pixels=semantic.pixels if semantic else later.matrix.pixels,
            later=later.scores(by_code, self.grouping),
            before=before.scores(by_code, self.grouping) if before else None,
            change=change_metrics(self.change) if self.change else None,
            semantic=semantic,
            explained=explain(vars(semantic), where) if semantic else (),
            notes=notes,
            seen=seen,
        )

    def _count_change(
        self, name: str, before: tuple[Classes, Classes], later: tuple[Classes, Classes], changed: Classes | None
    ) -> None:
        if self.change is None or self.semantic is None:
            self.change = ChangeAccuracy(self.legend.names, "px")
            self.semantic = SemanticChange(len(self.legend) - (self.masked is not None), masked=self.masked is not None)
        (true_before, made_before), (true_later, made_later) = before, later
        ones = np.ones(true_before.shape)
        self.change.update((true_before, true_later), (made_before, made_later), ones, where=name)
        codes = _semantic_codes(len(self.legend), self.masked)
        self.semantic.update(
            (codes[true_before], codes[true_later]),
            (codes[made_before], codes[made_later]),
            change=changed,
            image=name,
            where=name,
        )


class DateCounts:
    """Counts of one date."""

    def __init__(self, legend: Legend) -> None:
        self.matrix, self.means = ConfusionMatrix(legend.names), ImageMeans()
        self.boundary = BoundaryCounts(len(legend))
        self.lowest: tuple[float, str] = (math.inf, "")
        self.boundary_ious: list[float] = []
        self.bf_scores: list[float] = []
        self.groups: dict[str, tuple[int, ConfusionMatrix]] = {}

    def add_to_group(self, group: str, matrix: ConfusionMatrix) -> None:
        """Count an image in its group too."""
        images, counted = self.groups.get(group, (0, ConfusionMatrix(matrix.names)))
        self.groups[group] = images + 1, counted + matrix

    def close_image(self, name: str, matrix: ConfusionMatrix, boundary: BoundaryCounts | None) -> None:
        """Take in what was counted of one image."""
        self.matrix = self.matrix + matrix
        self.means.add(matrix)
        miou = map_metrics(matrix).miou
        if miou is not None:
            self.lowest = min(self.lowest, (miou, name))
        if boundary is None:
            return
        self.boundary = self.boundary + boundary
        for values, gathered in (
            (boundary.boundary_ious(), self.boundary_ious),
            (boundary.bf_scores(), self.bf_scores),
        ):
            known = [value for value in values if value is not None]
            gathered.extend([math.fsum(known) / len(known)] if known else [])

    def scores(self, by_code: bool, grouping: Grouping | None = None) -> DateScores:
        """The figures of all images, and of all groups."""
        matrix = _those_present(self.matrix) if by_code else self.matrix
        found, images = map_metrics(matrix), image_metrics(self.means)
        boundaries, outlines = self.boundary.boundary_ious(), self.boundary.bf_scores()
        figures = map_conventions(matrix, images)
        matrices = {name: _those_present(one) if by_code else one for name, (_, one) in sorted(self.groups.items())}
        figures |= group_means(grouping.kind, matrices) if grouping is not None else {}
        figures |= {
            "boundary_iou_pooled": _mean([value for value in boundaries if value is not None]),
            "boundary_iou_image": _mean(self.boundary_ious),
            "bf_pooled": _mean([value for value in outlines if value is not None]),
            "bf_image": _mean(self.bf_scores),
        }
        if not self.boundary_ious:
            figures = {name: value for name, value in figures.items() if not name.startswith(("boundary", "bf"))}
        rows = []
        for one in found.classes:
            index = self.matrix.names.index(one.name)
            row = {key: value for key, value in vars(one).items() if key not in ("agreed", "missing")}
            edges = {"boundary_iou": boundaries[index], "bf": outlines[index]} if self.boundary_ious else {}
            rows.append({**row, **edges})
        only = [one.name for one in found.classes if not one.reference]
        where = {
            "miou_reference_classes": "only the prediction has " + ", ".join(only),
            "miou_all_classes": "neither has " + ", ".join(found.absent),
            "oa_without_missing": f"{found.missing} of {found.pixels} pixels have no prediction",
        }
        where |= {name: f"{images.images} images" for name in figures if name.endswith("_image")}
        if found.classes:
            worst = min(found.classes, key=lambda one: one.iou or 0.0)
            share = 100 * worst.reference / max(found.pixels, 1)
            where["fwiou"] = f"{worst.name} has IoU {worst.iou or 0:.3f} and {share:.1f} % of the reference"
            where["f1_weighted"] = f"{worst.name} has F1 {worst.f1 or 0:.3f} and {share:.1f} % of the reference"
            where["miou_image"] = f"{images.images} images, the lowest {self.lowest[0]:.3f} in {self.lowest[1]}"
        groups = tuple(
            {
                "name": name,
                "images": self.groups[name][0],
                "pixels": one.pixels,
                **group_figures(one),
                "confusion": one.to_dict(),
            }
            for name, one in matrices.items()
        )
        return DateScores(figures, tuple(rows), found.absent, explain(figures, where), groups)


def _semantic_codes(classes: int, masked: int | None) -> Classes:
    """Class index → 1 to K, 0 for no change, 255 for none."""
    table = np.full(256, NODATA, np.uint8)
    table[:classes] = np.arange(classes) + 1
    if masked is not None:
        table[masked + 1 : classes] -= 1
        table[masked] = 0
    return table


def _those_present(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """Without the codes that nobody declared and no raster has."""
    used = np.flatnonzero(matrix.counts.sum(0) + matrix.counts.sum(1) + matrix.missing)
    used = used if used.size else np.arange(1)
    names = [matrix.names[index] for index in used]
    return ConfusionMatrix.from_counts(names, matrix.counts[np.ix_(used, used)], matrix.missing[used])


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
