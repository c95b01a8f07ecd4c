"""Semantic change between two dates, in every convention that is in use; a figure's convention is in its name.

A pixel has a class before and a class after, in the reference and in the prediction. Code 0 means *no change*. H is a
confusion matrix with rows of the prediction and columns of the reference, and 0 the class of no change:

- `_pooled`: one (K+1)² matrix into which each pixel is counted twice, once per date (Bi-SRNet, SCanNet, Open-CD);
- `_fromto`: one (K²+1)² matrix whose classes are the transitions and no change (torchange, ClearSCD);
- `_image`: a mean over images.

In both, IoU_c = Σ_{i,j≥1} H_ij / (N − H_00), IoU_nc = H_00 / (H_0. + H_.0 − H_00), SeK = κ(Ĥ)·exp(IoU_c − 1) with Ĥ = H
but Ĥ_00 = 0 (Yang et al. 2022), and Fscd is the harmonic mean of Σ_{k≥1} H_kk over Σ_{i≥1} H_i. and over Σ_{j≥1} H_.j.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.confusion import IGNORE
from mapmend.core.errors import LegendError

CONVENTION = (
    "pooled: both dates in one matrix of K+1 classes; fromto: one matrix of K²+1 transitions; counted where both dates "
    "have a reference; a pixel without a prediction is an error"
)
_DENSE = 1 << 16  # so many combinations are counted in one table; above it, only those that occur

Classes = npt.NDArray[np.uint8]
Pair = tuple[Classes, Classes]
Codes = npt.NDArray[np.int64]


class SemanticChange:
    """Counts of how often each combination of reference and prediction at both dates occurs.

    Args:
        classes: K, how many classes of the land there are.
        masked: whether the rasters hold classes only where there is change, and 0 elsewhere, as SECOND's do. If not,
            they hold a class everywhere, and what has the same class at both dates is unchanged.

    Attributes:
        combinations: count of each (reference before, after, prediction before, after, changed), as one number.
        images: image → pixels right and pixels counted, before and after.
    """

    def __init__(self, classes: int, *, masked: bool) -> None:
        if not 1 <= classes < IGNORE:
            raise LegendError(f"semantic change of {classes} classes", fix=f"give 1 to {IGNORE - 1} classes")
        self.classes, self.masked = classes, masked
        self.has_change_map = False
        self.combinations: Counter[int] = Counter()
        self.images: dict[str, tuple[int, int, int, int]] = {}

    def update(
        self, reference: Pair, prediction: Pair, *, change: Classes | None = None, image: str = "", where: str = ""
    ) -> None:
        """Count one window.

        Args:
            reference: before and after, any shape: 1 to K, 0 for no change, 255 where there is no reference.
            prediction: the same of the prediction, 255 where there is none.
            change: the prediction's own map of change, 0 for unchanged, where it has one besides its classes.
            image: which image the window is of, for the means over images.
            where: the file an error shall name.

        Raises:
            ValueError: shapes differ.
            LegendError: a code above K, or 0 where every pixel has a class; nothing is counted then.
        """
        layers = (*reference, *prediction)
        shapes = {layer.shape for layer in (*layers, *(() if change is None else (change,)))}
        if len(shapes) > 1:
            raise ValueError(f"reference and prediction differ in shape: {shapes}")
        known = (reference[0] != IGNORE) & (reference[1] != IGNORE)
        r1, r2, p1, p2 = (layer[known].astype(np.int64) for layer in layers)
        for layer in (r1, r2, p1, p2):
            if np.any((layer > self.classes) & (layer != IGNORE)) or (not self.masked and np.any(layer == 0)):
                raise LegendError("a class outside the legend", where=where or None, fix=f"give 1 to {self.classes}")
        if change is not None:
            self.has_change_map = True
            changed = change[known] != 0
        else:
            changed = (p1 > 0) | (p2 > 0) if self.masked else p1 != p2
        shown = [np.where(changed | (layer == IGNORE), layer, 0) if self.masked else layer for layer in (p1, p2)]
        self._count_image(image, (r1, r2), (shown[0], shown[1]))
        missing, base = self.classes + 1, self.classes + 2
        p1, p2 = (np.where(layer == IGNORE, missing, layer) for layer in (p1, p2))
        codes = (((r1 * base + r2) * base + p1) * base + p2) * 2 + changed
        if base**4 * 2 <= _DENSE:
            counts = np.bincount(codes)
            found = np.flatnonzero(counts)
            counts = counts[found]
        else:
            found, counts = np.unique(codes, return_counts=True)
        self.combinations.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def __add__(self, other: Self) -> Self:
        """Two disjoint parts together, as if both had been counted by one; parts of one image stay one image.

        Raises:
            LegendError: other classes, or one of them is masked and the other is not.
        """
        if (self.classes, self.masked) != (other.classes, other.masked):
            raise LegendError("semantic changes of different classes cannot be added", fix="score both with one legend")
        total = type(self)(self.classes, masked=self.masked)
        total.has_change_map = self.has_change_map or other.has_change_map
        total.combinations = self.combinations + other.combinations
        for part in (self, other):
            for image, counts in part.images.items():
                total._add_image(image, counts)
        return total

    @property
    def pixels(self) -> int:
        """How many pixels have a reference at both dates."""
        return sum(self.combinations.values())

    def columns(self) -> tuple[Codes, Codes, Codes, Codes, npt.NDArray[np.bool_], Codes]:
        """The combinations that occur: reference before and after, prediction before and after, changed, count.

        K + 1 stands for no prediction.
        """
        base = self.classes + 2
        codes = np.fromiter(self.combinations.keys(), np.int64, len(self.combinations))
        counts = np.fromiter(self.combinations.values(), np.int64, len(self.combinations))
        codes, changed = codes // 2, codes % 2 == 1
        r1, r2, p1, p2 = (codes // base**power % base for power in (3, 2, 1, 0))
        return r1, r2, p1, p2, changed, counts

    def _count_image(self, image: str, reference: tuple[Codes, Codes], prediction: tuple[Codes, Codes]) -> None:
        right = [int(np.count_nonzero(r == p)) for r, p in zip(reference, prediction, strict=True)]
        self._add_image(image, (right[0], reference[0].size, right[1], reference[1].size))

    def _add_image(self, image: str, counts: tuple[int, int, int, int]) -> None:
        had = self.images.get(image, (0, 0, 0, 0))
        self.images[image] = (had[0] + counts[0], had[1] + counts[1], had[2] + counts[2], had[3] + counts[3])


@dataclass(frozen=True)
class SemanticChangeMetrics:
    """Figures of semantic change; what would be divided by nothing is None.

    Attributes:
        pixels: pixels that have a reference at both dates.
        half_labelled: pixels with a class at one date and no change at the other, in reference or prediction. Pooled
            figures count them date by date; for the from-to ones they have not changed.
        half_right: pixels rightly called changed of which one date's class is right and the other's wrong: half right
            pooled, wrong from-to.
        iou_c_pooled: IoU of change, pooled.
        iou_c_fromto: IoU of change, from-to; differs from the pooled one by the half-labelled pixels alone.
        miou_2class_pooled: (IoU_nc + IoU_c) / 2; published as mIoU.
        miou_2class_fromto: the same, from-to.
        kappa_separated_pooled: Cohen's kappa of Ĥ, pooled.
        kappa_separated_fromto: the same, from-to.
        sek_pooled: separated kappa, pooled.
        sek_fromto: separated kappa, from-to.
        score_pooled: 0.3 miou_2class_pooled + 0.7 sek_pooled.
        score_fromto: 0.3 miou_2class_fromto + 0.7 sek_fromto.
        score_clearscd: 0.3 iou_c_fromto + 0.7 sek_fromto; ClearSCD takes IoU_c for the mIoU.
        fscd_pooled: harmonic mean of precision and recall of the changed classes, pooled.
        fscd_fromto: of the transitions.
        miou_sc: K(K − 1) transitions between different classes, and unchanged: sum of IoUs / classes present in the
            reference. A prediction of change to the same class is right nowhere.
        miou_bc: IoU mean of the prediction's own change map and of its [before ≠ after]; None without such a map.
        miou_nc: K classes unchanged, and change with IoU_c: sum of IoUs / classes present in the reference; None where
            the classes of what is unchanged are not known.
        oa_image: accuracy of the codes of both dates, no change among them, mean over images (SECOND's published OA).
    """

    pixels: int
    half_labelled: int
    half_right: int
    iou_c_pooled: float | None
    iou_c_fromto: float | None
    miou_2class_pooled: float | None
    miou_2class_fromto: float | None
    kappa_separated_pooled: float | None
    kappa_separated_fromto: float | None
    sek_pooled: float | None
    sek_fromto: float | None
    score_pooled: float | None
    score_fromto: float | None
    score_clearscd: float | None
    fscd_pooled: float | None
    fscd_fromto: float | None
    miou_sc: float | None
    miou_bc: float | None
    miou_nc: float | None
    oa_image: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the convention the figures follow."""
        return {"convention": CONVENTION, **asdict(self)}


def semantic_change_metrics(change: SemanticChange) -> SemanticChangeMetrics:
    """The figures of semantic change from its counts."""
    r1, r2, p1, p2, changed, counts = change.columns()
    size, missing = change.classes, change.classes + 1
    if change.masked:
        hidden = ~changed & (p1 <= size) & (p2 <= size)
        reference, prediction = (r1, r2), (np.where(hidden, 0, p1), np.where(hidden, 0, p2))
    else:
        same, kept = r1 == r2, changed | (p1 > size) | (p2 > size)
        reference = (np.where(same, 0, r1), np.where(same, 0, r2))
        prediction = (np.where(kept, p1, 0), np.where(kept, p2, 0))
    half = ((reference[0] > 0) != (reference[1] > 0)) | ((prediction[0] > 0) != (prediction[1] > 0))
    (a1, a2), (b1, b2) = reference, prediction
    one_right = ((a1 == b1) != (a2 == b2)) & np.all([code > 0 for code in (a1, a2, b1, b2)], axis=0)
    no_row = size * size + 1
    pooled = _Figures(np.concatenate(prediction), np.concatenate(reference), np.tile(counts, 2), missing)
    transitions = _transitions(prediction, size, no_row), _transitions(reference, size, no_row)
    fromto = _Figures(*transitions, counts, no_row)
    return SemanticChangeMetrics(
        pixels=change.pixels,
        half_labelled=int(counts[half].sum()),
        half_right=int(counts[one_right].sum()),
        iou_c_pooled=pooled.iou_c,
        iou_c_fromto=fromto.iou_c,
        miou_2class_pooled=pooled.miou,
        miou_2class_fromto=fromto.miou,
        kappa_separated_pooled=pooled.kappa,
        kappa_separated_fromto=fromto.kappa,
        sek_pooled=pooled.sek,
        sek_fromto=fromto.sek,
        score_pooled=_score(pooled.miou, pooled.sek),
        score_fromto=_score(fromto.miou, fromto.sek),
        score_clearscd=_score(fromto.iou_c, fromto.sek),
        fscd_pooled=pooled.fscd,
        fscd_fromto=fromto.fscd,
        miou_sc=_miou_sc(prediction, reference, counts, size),
        miou_bc=_miou_bc((p1, p2), changed, counts, missing) if change.has_change_map else None,
        miou_nc=None if change.masked else _miou_nc(change, fromto.iou_c),
        oa_image=_oa_image(change),
    )


class _Figures:
    """What both conventions compute from their matrix, which stays a list of the cells that occur."""

    def __init__(self, rows: Codes, columns: Codes, counts: Codes, missing: int) -> None:
        change_row = (rows > 0) & (rows < missing)
        total = int(counts.sum())
        both = int(counts[(rows == 0) & (columns == 0)].sum())
        hits = int(counts[change_row & (columns > 0)].sum())
        right = int(counts[change_row & (rows == columns)].sum())
        union_nc = int(counts[(rows == 0) | (columns == 0)].sum())
        self.iou_c = _ratio(hits, total - both)
        iou_nc = _ratio(both, union_nc)
        self.miou = None if self.iou_c is None or iou_nc is None else (self.iou_c + iou_nc) / 2
        self.kappa = _kappa(rows, columns, np.where((rows == 0) & (columns == 0), 0, counts))
        self.sek = None if self.kappa is None or self.iou_c is None else self.kappa * math.exp(self.iou_c - 1)
        called, true = int(counts[change_row].sum()), int(counts[columns > 0].sum())
        self.fscd = _ratio(2 * right, called + true)


def _kappa(rows: Codes, columns: Codes, counts: Codes) -> float | None:
    total, agreed = int(counts.sum()), int(counts[rows == columns].sum())
    by_row, by_column = Counter[int](), Counter[int]()
    for row, column, count in zip(rows.tolist(), columns.tolist(), counts.tolist(), strict=True):
        by_row[row] += count
        by_column[column] += count
    chance = sum(count * by_column[code] for code, count in by_row.items())
    return _ratio(agreed * total - chance, total * total - chance)


def _transitions(pair: tuple[Codes, Codes], size: int, missing: int) -> Codes:
    """0 for no change, (before − 1)·K + after, or `missing`."""
    before, after = pair
    codes = np.where((before > 0) & (after > 0), (before - 1) * size + after, 0)
    return np.where((before > size) | (after > size), missing, codes)


def _miou_sc(prediction: tuple[Codes, Codes], reference: tuple[Codes, Codes], counts: Codes, size: int) -> float | None:
    rows, columns = (_transitions(pair, size, -1) for pair in (prediction, reference))
    rows = np.where((prediction[0] == prediction[1]) & (rows > 0), -1, rows)
    columns = np.where(reference[0] == reference[1], 0, columns)
    present = np.unique(columns)
    return _over_present([_iou(rows == code, columns == code, counts) for code in present.tolist()])


def _miou_bc(prediction: tuple[Codes, Codes], changed: npt.NDArray[np.bool_], counts: Codes, missing: int) -> float:
    known = (prediction[0] < missing) & (prediction[1] < missing)
    differ = prediction[0] != prediction[1]
    ious = (_iou(known & (differ == kind), known & (changed == kind), counts) for kind in (False, True))
    return sum(ious) / 2


def _miou_nc(change: SemanticChange, iou_c: float | None) -> float | None:
    r1, r2, p1, p2, changed, counts = change.columns()
    columns = np.where(r1 == r2, r1, 0)
    rows = np.where((p1 == p2) & ~changed, p1, 0)
    present = np.unique(columns).tolist()
    return _over_present(
        [(iou_c or 0.0) if not code else _iou(rows == code, columns == code, counts) for code in present]
    )


def _oa_image(change: SemanticChange) -> float | None:
    counted = [each for each in change.images.values() if each[1]]
    return math.fsum((a / n + b / m) / 2 for a, n, b, m in counted) / len(counted) if counted else None


def _iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], counts: Codes) -> float:
    return _ratio(int(counts[one & other].sum()), int(counts[one | other].sum())) or 0.0


def _over_present(ious: list[float]) -> float | None:
    return sum(ious) / len(ious) if ious else None


def _score(miou: float | None, sek: float | None) -> float | None:
    return None if miou is None or sek is None else 0.3 * miou + 0.7 * sek


def _ratio(above: int, below: int) -> float | None:
    return above / below if below else None
