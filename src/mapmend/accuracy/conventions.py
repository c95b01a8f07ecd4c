"""The conventions by which one map gets several figures of the same name, and why they differ."""

from __future__ import annotations

from collections.abc import Mapping

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.image_means import ImageMetrics
from mapmend.accuracy.metrics import map_metrics

Figures = dict[str, float | None]

_IMAGE = (
    "pooled, every pixel counts as one; per image, every image does, and a class that an image lacks is left out there"
)
_SPACE = "pooled counts each date of a pixel; from-to wants both classes right at once, among K² transitions"
PAIRS = (
    ("oa_pooled", "oa_image", _IMAGE),
    ("oa_pooled", "oa_without_missing", "without missing, pixels that have no prediction are left out, not errors"),
    ("oa_pooled", "macc_pooled", "overall accuracy counts each pixel alike; mean class accuracy, each class"),
    ("kappa_pooled", "kappa_image", _IMAGE),
    ("miou_pooled", "miou_image", _IMAGE),
    (
        "miou_pooled",
        "miou_reference_classes",
        "pooled, a class that only the prediction has is an IoU of 0; over the reference's classes, it is left out",
    ),
    (
        "miou_pooled",
        "miou_all_classes",
        "over all classes, one that neither has is an IoU of 0; pooled, it is left out",
    ),
    ("miou_pooled", "fwiou", "fwiou weighs each class by its share of the reference; pooled, each counts alike"),
    ("mf1_pooled", "mf1_image", _IMAGE),
    ("mf1_pooled", "f1_weighted", "weighted by each class's share of the reference; pooled, each counts alike"),
    ("mf1_pooled", "f1_of_means", "the mean of the classes' F1 is not the F1 of the means of precision and recall"),
    ("boundary_iou_pooled", "boundary_iou_image", _IMAGE),
    ("bf_pooled", "bf_image", _IMAGE),
    ("miou_pooled", "boundary_iou_pooled", "Boundary IoU counts pixels near outlines alone"),
    ("bf_pooled", "boundary_iou_pooled", "the BF score forgives a shift within its tolerance; Boundary IoU does not"),
    ("iou_c_pooled", "iou_c_fromto", "a pixel with a class at one date alone is half a change pooled, none from-to"),
    ("miou_2class_pooled", "miou_2class_fromto", "a pixel with a class at one date alone counts half pooled"),
    ("kappa_separated_pooled", "kappa_separated_fromto", _SPACE),
    ("sek_pooled", "sek_fromto", _SPACE),
    ("score_pooled", "score_fromto", "their SeK differs: " + _SPACE),
    ("score_fromto", "score_clearscd", "ClearSCD puts IoU_c in the place of the mean IoU of change and no change"),
    ("fscd_pooled", "fscd_fromto", _SPACE),
    ("miou_2class_fromto", "miou_sc", "two classes, change and no change, against one class for each transition"),
    ("miou_sc", "miou_nc", "classes are the transitions against what stayed, class by class"),
)


def map_conventions(matrix: ConfusionMatrix, images: ImageMetrics) -> Figures:
    """Every convention of overall accuracy, kappa, mean IoU and F1 for one map; None where it is undefined.

    - `_pooled`: over all pixels with a reference; means over the classes present in reference or prediction;
    - `_image`: per image, then the mean over images;
    - `miou_reference_classes`: mean over the classes present in the reference;
    - `miou_all_classes`: mean over the whole legend, 0 for a class that neither raster has;
    - `macc_pooled`: mean of the recalls of the reference's classes; some repositories print it as "OA";
    - `oa_without_missing`, `miou_without_missing`: pixels without a prediction left out of account;
    - `f1_weighted`: weighted by the reference; `f1_of_means`: harmonic mean of mean precision and mean recall,
      each over the classes present in either, 0 where undefined.
    """
    found = map_metrics(matrix)
    held = map_metrics(ConfusionMatrix.from_counts(matrix.names, matrix.counts))
    ious = [one.iou or 0.0 for one in found.classes]
    in_reference = [one.iou or 0.0 for one in found.classes if one.reference]
    precision = _mean([one.precision or 0.0 for one in found.classes])
    recall = _mean([one.recall or 0.0 for one in found.classes])
    weighted = sum(one.reference * (one.f1 or 0.0) for one in found.classes)
    both = (precision or 0.0) + (recall or 0.0)
    return {
        "oa_pooled": found.oa,
        "oa_image": images.oa_image,
        "oa_without_missing": held.oa,
        "macc_pooled": mean_class_accuracy(matrix),
        "kappa_pooled": found.kappa,
        "kappa_image": images.kappa_image,
        "miou_pooled": found.miou,
        "miou_image": images.miou_image,
        "miou_reference_classes": _mean(in_reference),
        "miou_all_classes": sum(ious) / len(matrix.names) if ious else None,
        "miou_without_missing": held.miou,
        "fwiou": found.fwiou,
        "mf1_pooled": found.mf1,
        "mf1_image": images.mf1_image,
        "f1_weighted": weighted / found.pixels if found.pixels else None,
        "f1_of_means": 2 * (precision or 0.0) * (recall or 0.0) / both if both else _mean([0.0 for _ in ious]),
        "quantity_disagreement": found.quantity_disagreement,
        "allocation_disagreement": found.allocation_disagreement,
    }


def mean_class_accuracy(matrix: ConfusionMatrix) -> float | None:
    """The mean of the recalls of the classes that the reference has; None without any."""
    return _mean([one.recall for one in map_metrics(matrix).classes if one.recall is not None])


def explain(figures: Mapping[str, object], where: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each pair of conventions that differ.

    Args:
        figures: name → value.
        where: name of a pair's second figure → what in these maps makes it differ, where that is known.
    """
    lines = []
    for one, other, why in PAIRS:
        first, second = figures.get(one), figures.get(other)
        if not isinstance(first, float) or not isinstance(second, float) or abs(first - second) < 5e-7:
            continue
        here = f" (here: {where[other]})" if other in where else ""
        lines.append(f"{one} {first:.6f}, {other} {second:.6f}, {second - first:+.6f}: {why}{here}")
    return tuple(lines)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
