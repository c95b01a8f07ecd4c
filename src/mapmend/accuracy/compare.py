"""Two maps scored against one reference: which is better, in words."""

from dataclasses import dataclass
from typing import Any, Literal

from mapmend.accuracy.metrics import ClassMetrics, MapMetrics

Verdict = Literal["better", "worse", "equal", "undefined"]

HIGHER_IS_BETTER = ("oa", "kappa", "miou", "fwiou", "mf1", "iou", "f1", "recall", "precision")
LOWER_IS_BETTER = ("quantity_disagreement", "allocation_disagreement")
NEAR_ZERO_IS_BETTER = ("area_bias",)
WHOLE_MAP = ("oa", "kappa", "miou", "fwiou", "mf1", *LOWER_IS_BETTER)
PER_CLASS = ("iou", "f1", "recall", "precision", "area_bias")


@dataclass(frozen=True)
class Difference:
    """One metric of two maps.

    Attributes:
        metric: its name in `MapMetrics` or `ClassMetrics`.
        class_name: the class; None for the whole map.
        baseline: the metric of the map one has (the label).
        candidate: the metric of the new map.
        difference: candidate − baseline; None where either is undefined.
        verdict: of the candidate: higher is better, but for disagreements (lower) and area bias (nearer to 0).
    """

    metric: str
    class_name: str | None
    baseline: float | None
    candidate: float | None
    difference: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """All metrics of two maps.

    Attributes:
        whole: one difference per metric of `WHOLE_MAP`.
        classes: for each class present in either comparison, one difference per metric of `PER_CLASS`.
        same_reference: both were scored against the same number of reference pixels of every class; if not, the
            differences mix two populations and must not be read as progress.
    """

    whole: tuple[Difference, ...]
    classes: tuple[Difference, ...]
    same_reference: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [[vars(one) for one in part] for part in (self.whole, self.classes)]
        return {"same_reference": self.same_reference, "whole": rows[0], "classes": rows[1]}


def compare(baseline: MapMetrics, candidate: MapMetrics, *, tolerance: float = 0.0005) -> Comparison:
    """Judge a new map against the one it was made from, metric by metric.

    Args:
        baseline: the label, scored against the reference.
        candidate: the map, scored against the same reference.
        tolerance: what is nearer than this counts as equal; the default vanishes at three decimals.
    """
    before = {one.name: one for one in baseline.classes}
    after = {one.name: one for one in candidate.classes}
    whole = tuple(
        _difference(metric, None, getattr(baseline, metric), getattr(candidate, metric), tolerance)
        for metric in WHOLE_MAP
    )
    classes = tuple(
        _difference(
            metric, name, getattr(before.get(name), metric, None), getattr(after.get(name), metric, None), tolerance
        )
        for name in {**after, **before}
        for metric in PER_CLASS
    )
    return Comparison(whole, classes, _reference_counts(before) == _reference_counts(after))


def _difference(
    metric: str, class_name: str | None, baseline: float | None, candidate: float | None, tolerance: float
) -> Difference:
    if baseline is None or candidate is None:
        return Difference(metric, class_name, baseline, candidate, None, "undefined")
    if metric in NEAR_ZERO_IS_BETTER:
        gain = abs(baseline) - abs(candidate)
    else:
        gain = baseline - candidate if metric in LOWER_IS_BETTER else candidate - baseline
    verdict: Verdict = "equal" if abs(gain) < tolerance else "better" if gain > 0 else "worse"
    return Difference(metric, class_name, baseline, candidate, candidate - baseline, verdict)


def _reference_counts(classes: dict[str, ClassMetrics]) -> dict[str, int]:
    return {name: one.reference for name, one in classes.items() if one.reference}
