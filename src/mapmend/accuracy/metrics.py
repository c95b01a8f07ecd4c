"""Map metrics from a confusion matrix.

All of them are *pooled*: counted over every pixel that has a reference, wherever it lies; the mean over images is
another metric. With r the reference pixels of a class, c the predicted ones, d those that agree, and N = Σ r:

- a pixel without a prediction counts in r and N but in no c, so it lowers overall accuracy, recall and IoU;
- for kappa and the disagreements "no prediction" is one more predicted class, of which the reference has nothing;
- what would be divided by nothing is None, never 0 or NaN;
- a class that neither raster has is left out of the means and listed in `absent`.
"""

from dataclasses import asdict, dataclass
from typing import Any

from mapmend.accuracy.confusion import ConfusionMatrix

CONVENTION = "pooled over all pixels that have a reference; a pixel without a prediction is an error"


@dataclass(frozen=True)
class ClassMetrics:
    """One class.

    Attributes:
        name: the class.
        reference: pixels of the class in the reference, r.
        predicted: pixels of the class in the prediction (where there is a reference), c.
        agreed: pixels where both have it, d.
        missing: pixels of the class in the reference that have no prediction; a part of r.
        iou: d / (r + c − d).
        f1: 2d / (r + c).
        recall: d / r, the producer's accuracy; None where the reference does not have the class.
        precision: d / c, the user's accuracy; None where the prediction does not have the class.
        area_bias: (c − r) / r, relative; None where the reference does not have the class.
    """

    name: str
    reference: int
    predicted: int
    agreed: int
    missing: int
    iou: float | None
    f1: float | None
    recall: float | None
    precision: float | None
    area_bias: float | None


@dataclass(frozen=True)
class MapMetrics:
    """A whole map; every figure but `pixels` and `missing` is None when there is no reference at all.

    Attributes:
        pixels: pixels that have a reference, N.
        missing: how many of them have no prediction.
        oa: overall accuracy, Σ d / N.
        kappa: Cohen's kappa; None where chance alone would agree fully.
        miou: mean IoU over the classes present in either raster.
        fwiou: IoU weighted by the reference's shares.
        mf1: mean F1 over the classes present in either raster.
        quantity_disagreement: ½ Σ |r − c| / N (Pontius and Millones 2011).
        allocation_disagreement: Σ min(r − d, c − d) / N; with the quantity disagreement it makes 1 − oa.
        classes: those present in either raster, in the legend's order.
        absent: names of the classes that neither raster has.
    """

    pixels: int
    missing: int
    oa: float | None
    kappa: float | None
    miou: float | None
    fwiou: float | None
    mf1: float | None
    quantity_disagreement: float | None
    allocation_disagreement: float | None
    classes: tuple[ClassMetrics, ...]
    absent: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the convention the figures follow."""
        plain = asdict(self)
        plain["classes"] = [asdict(one) for one in self.classes]
        plain["absent"] = list(self.absent)
        return {"convention": CONVENTION, **plain}


def map_metrics(confusion: ConfusionMatrix) -> MapMetrics:
    """The metrics of accuracy assessment by map comparison, from counts [reference, prediction]."""
    # Python's integers: products of two counts (kappa) leave int64 at continental sizes
    missing: list[int] = confusion.missing.tolist()
    reference: list[int] = [row + gap for row, gap in zip(confusion.counts.sum(1).tolist(), missing, strict=True)]
    predicted: list[int] = confusion.counts.sum(0).tolist()
    agreed: list[int] = confusion.counts.diagonal().tolist()
    every = [_class_metrics(*row) for row in zip(confusion.names, reference, predicted, agreed, missing, strict=True)]
    present = tuple(one for one in every if one.reference + one.predicted)
    pixels, correct, unpredicted = sum(reference), sum(agreed), sum(missing)
    chance = sum(r * c for r, c in zip(reference, predicted, strict=True))
    off_quantity = sum(abs(r - c) for r, c in zip(reference, predicted, strict=True)) + unpredicted
    off_place = sum(min(r - d, c - d) for r, c, d in zip(reference, predicted, agreed, strict=True))
    return MapMetrics(
        pixels=pixels,
        missing=unpredicted,
        oa=_ratio(correct, pixels),
        kappa=_ratio(correct * pixels - chance, pixels * pixels - chance),
        miou=_mean([one.iou for one in present]),
        fwiou=_ratio(sum(one.reference * (one.iou or 0.0) for one in present), pixels),
        mf1=_mean([one.f1 for one in present]),
        quantity_disagreement=_ratio(off_quantity, 2 * pixels),
        allocation_disagreement=_ratio(off_place, pixels),
        classes=present,
        absent=tuple(one.name for one in every if one not in present),
    )


def _class_metrics(name: str, reference: int, predicted: int, agreed: int, missing: int) -> ClassMetrics:
    return ClassMetrics(
        name=name,
        reference=reference,
        predicted=predicted,
        agreed=agreed,
        missing=missing,
        iou=_ratio(agreed, reference + predicted - agreed),
        f1=_ratio(2 * agreed, reference + predicted),
        recall=_ratio(agreed, reference),
        precision=_ratio(agreed, predicted),
        area_bias=_ratio(predicted - reference, reference),
    )


def _ratio(above: float, below: int) -> float | None:
    return above / below if below else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
