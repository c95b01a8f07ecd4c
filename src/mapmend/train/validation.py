"""Evaluation on the validation set, by which the deployed weights are chosen; the test set is never seen here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

import torch

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import MapMetrics, map_metrics
from mapmend.core.errors import LabelError
from mapmend.methods.method import Method, dates_as_samples
from mapmend.train.batches import settle
from mapmend.train.loading import ValidationBatches
from mapmend.train.processes import Processes


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, over all processes.

    Attributes:
        metrics: of the pooled confusion matrix.
        miou: the criterion, never None.
        seconds: how long it took, mean over the processes.
    """

    metrics: MapMetrics
    miou: float
    seconds: float


def evaluate(
    method: Method,
    batches: ValidationBatches,
    classes: Sequence[str],
    processes: Processes,
    autocast: Callable[[], AbstractContextManager[None]],
    stop: Callable[[], bool],
) -> Evaluation | None:
    """Score `method.predict` on the labelled pixels of the validation set.

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
    confusion = ConfusionMatrix(classes)
    given_up = False
    method.eval()
    with torch.no_grad(), closing(iter(batches)) as stream:
        for batch in stream:
            given_up = given_up or stop()
            if given_up:
                break
            image, valid, mask = dates_as_samples(settle(batch, processes.device))
            with autocast():
                prediction = method.predict(image, valid).argmax(1)
            confusion.update(mask.to(torch.uint8).cpu().numpy(), prediction.to(torch.uint8).cpu().numpy())
    method.train()
    seconds = time.monotonic() - started
    counts = torch.from_numpy(confusion.counts).to(processes.device)
    flags = torch.tensor([float(given_up), seconds], device=processes.device)
    counts, flags = processes.total(counts), processes.total(flags)
    if flags[0]:
        return None
    metrics = map_metrics(ConfusionMatrix.from_counts(confusion.names, counts.cpu().numpy()))
    if metrics.miou is None:
        raise LabelError("the validation set has no labelled pixel", fix="hold out another part, or none")
    return Evaluation(metrics, metrics.miou, float(flags[1]) / processes.world)
