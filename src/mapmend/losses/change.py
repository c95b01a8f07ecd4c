"""Losses of a change logit, as ClearSCD has them: cross-entropy and Dice of the changed pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-7


def change_cross_entropy(logit: Tensor, change: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Mean binary cross-entropy over the labelled pixels; 0 where there are none.

    Args:
        logit: B×H×W.
        change: B×H×W int64, 1 where changed.
        ignore_index: a pixel without a label.

    Returns:
        A float32 scalar.
    """
    known = change != ignore_index
    truth = (change == 1).float()
    each = F.binary_cross_entropy_with_logits(logit.float(), truth, reduction="none").where(known, 0)
    return each.sum() / known.sum().clamp(min=1)


def change_dice(logit: Tensor, change: Tensor, *, ignore_index: int = 255) -> Tensor:
    """1 − 2 Σ p·g / (Σ p + Σ g) with sums over the batch's labelled pixels; 0 where none of them changed.

    Args and result as in `change_cross_entropy`.
    """
    known = (change != ignore_index).float()
    truth = (change == 1).float()
    p = logit.float().sigmoid() * known
    score = 2 * (p * truth).sum() / (p.sum() + truth.sum()).clamp(min=_LEAST)
    return (1 - score) * (truth.sum() > 0)
