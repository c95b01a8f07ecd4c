"""Losses of the overlap of whole classes: Dice and Lovász-softmax, over the classes present in the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dice_loss(logits: Tensor, target: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Mean over the classes present of 1 − 2 Σ p·g / (Σ p + Σ g), with sums over the batch's labelled pixels.

    Args:
        logits: B×K×…
        target: B×… int64, class indices.
        ignore_index: a pixel without a label.

    Returns:
        A float32 scalar; 0 where there are no labels.
    """
    p, truth, labelled = _as_table(logits, target, ignore_index)
    inside, present = (p * truth).sum(0), truth.sum(0)
    both = (p * labelled).sum(0) + present
    each = 1 - 2 * inside / both.where(both > 0, 1)
    return _mean_of_present(each, present)


def lovasz_softmax(logits: Tensor, target: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Lovász-softmax: mean over the classes present of the convex extension of 1 − IoU to probabilities.

    Berman et al., "The Lovász-Softmax loss" (CVPR 2018), eq. 8–11 and algorithm 1: a class's errors m = |g − p|, in
    falling order, times the increments of the Jaccard loss. A pixel without a label has error 0 and so adds nothing.

    Args:
        logits: B×K×…
        target: B×… int64, class indices.
        ignore_index: a pixel without a label.

    Returns:
        A float32 scalar; 0 where there are no labels.
    """
    p, truth, labelled = _as_table(logits, target, ignore_index)
    errors = (truth - p).abs() * labelled
    with torch.no_grad():
        order = errors.argsort(dim=0, descending=True, stable=True)
        increments = torch.empty_like(errors).scatter_(0, order, _jaccard_increments(truth.gather(0, order)))
    return _mean_of_present((errors * increments).sum(0), truth.sum(0))


def _as_table(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities N×K, truth N×K and labelled N×1 as 0 or 1; truth is 0 where there is no label."""
    classes = logits.shape[1]
    p = F.softmax(logits.float().movedim(1, -1).reshape(-1, classes), dim=1)
    flat = target.reshape(-1, 1)
    truth = (flat == torch.arange(classes, device=flat.device)).float()
    return p, truth, (flat != ignore_index).float()


def _jaccard_increments(truth: Tensor) -> Tensor:
    """Per column of a sorted truth N×K: how much each pixel adds to the Jaccard loss of the pixels before it."""
    # counted in int64: exact, and sums of floats run in no fixed order on a GPU
    hits = truth.long().cumsum(0)
    ranks = torch.arange(1, len(truth) + 1, device=truth.device).unsqueeze(1)
    union = truth.long().sum(0) + ranks - hits
    loss = 1 - (truth.long().sum(0) - hits).double() / union.clamp(min=1)
    return loss.diff(dim=0, prepend=torch.zeros_like(loss[:1])).float()


def _mean_of_present(each: Tensor, present: Tensor) -> Tensor:
    found = (present > 0).float()
    return (each * found).sum() / found.sum().clamp(min=1)
