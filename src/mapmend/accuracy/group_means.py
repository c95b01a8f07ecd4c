"""Figures of groups of places, such as states: each group has one matrix and counts as one, however large it is."""

from __future__ import annotations

from collections.abc import Mapping

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.conventions import Figures, mean_class_accuracy
from mapmend.accuracy.metrics import map_metrics


def group_figures(matrix: ConfusionMatrix) -> Figures:
    """The figures of one group, by name; None where one is undefined.

    `miou` and `mf1` are means over the classes present in reference or prediction, `miou_all_classes` over the whole
    legend, with 0 for a class that neither has; `macc` is the mean of the recalls of the reference's classes.
    """
    found = map_metrics(matrix)
    return {
        "oa": found.oa,
        "kappa": found.kappa,
        "macc": mean_class_accuracy(matrix),
        "miou": found.miou,
        "miou_all_classes": sum(one.iou or 0.0 for one in found.classes) / len(matrix.names) if found.classes else None,
        "mf1": found.mf1,
    }


def group_means(kind: str, groups: Mapping[str, ConfusionMatrix]) -> Figures:
    """The mean of each figure over the groups that have it, as `miou_state_mean` where the kind is state."""
    rows = [group_figures(matrix) for matrix in groups.values()]
    means: Figures = {}
    for name in rows[0] if rows else ():
        known = [value for row in rows if (value := row[name]) is not None]
        means[f"{name}_{kind}_mean"] = sum(known) / len(known) if known else None
    return means
