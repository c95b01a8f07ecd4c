"""Evaluation on the validation set, by which the deployed weights are chosen; the test set is never seen here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

import torch

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import MapMetrics, map_metrics
from mapmend.core.errors import LabelError
from mapmend.methods.method import CHANGE, CHANGE_NAMES, CLASSES, Method
from mapmend.train.batches import settle
from mapmend.train.loading import ValidationBatches
from mapmend.train.processes import Processes


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, over all processes.

    Attributes:
        metrics: of the pooled confusion matrix, of each map that is judged and has a label.
        miou: of the classes, or of the change where there is nothing else.
        criterion: by which weights are chosen: mIoU of the classes, IoU of change, or the mean of both.
        seconds: how long it took, mean over the processes.
    """

    metrics: Mapping[str, MapMetrics]
    miou: float
    criterion: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Metrics as plain values: the classes', and under `change` those of change, where both are judged."""
        first, *more = self.metrics
        return {**self.metrics[first].to_dict(), **{name: self.metrics[name].to_dict() for name in more}}


def evaluate(
    method: Method,
    batches: ValidationBatches,
    classes: Sequence[str],
    processes: Processes,
    autocast: Callable[[], AbstractContextManager[None]],
    stop: Callable[[], bool],
) -> Evaluation | None:
    """Score what `method.judge` finds on the labelled pixels of the validation set.

    Args:
        method: left in `train()`.
        batches: this process's share.
        classes: names in the legend's order.
        processes: whose counts are added.
        autocast: the precision's context.
        stop: asked before each batch; True in any process gives up the evaluation in all.

    Returns:
        None if it was given up.

    Raises:
        LabelError: nothing is labelled there.
    """
    started = time.monotonic()
    confusions = {name: ConfusionMatrix(names) for name, names in method.judged(classes).items()}
    given_up = False
    method.eval()
    with torch.no_grad(), closing(iter(batches)) as stream:
        for batch in stream:
            given_up = given_up or stop()
            if given_up:
                break
            with autocast():
                found = method.judge(settle(batch, processes.device))
            for name, (label, prediction) in found.items():
                pair = (maps.to(torch.uint8).cpu().numpy() for maps in (label, prediction))
                confusions[name].update(*pair)
    method.train()
    seconds = time.monotonic() - started
    flags = processes.total(torch.tensor([float(given_up), seconds], device=processes.device))
    counts = {
        name: processes.total(torch.from_numpy(confusion.counts).to(processes.device))
        for name, confusion in confusions.items()
    }
    if flags[0]:
        return None
    every = {
        name: map_metrics(ConfusionMatrix.from_counts(confusion.names, counts[name].cpu().numpy()))
        for name, confusion in confusions.items()
    }
    metrics = {name: one for name, one in every.items() if one.miou is not None}
    if not metrics:
        raise LabelError("the validation set has no labelled pixel", fix="hold out another part, or none")
    return Evaluation(metrics, *_criteria(metrics), float(flags[1]) / processes.world)


def _criteria(metrics: Mapping[str, MapMetrics]) -> tuple[float, float]:
    """`miou` and `criterion` of an `Evaluation`."""
    mious = [one.miou or 0.0 for one in metrics.values()]
    if CHANGE not in metrics:
        return mious[0], mious[0]
    of_change = next((one.iou or 0.0 for one in metrics[CHANGE].classes if one.name == CHANGE_NAMES[1]), 0.0)
    return mious[0], (mious[0] + of_change) / 2 if CLASSES in metrics else of_change
