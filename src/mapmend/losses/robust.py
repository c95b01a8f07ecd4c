"""Losses of one pixel's label and probabilities: cross-entropy, and those that stand a wrong label better."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = 255,
) -> Tensor:
    """Cross-entropy: Σ w_y·(−log p_y) / Σ w_y over the labelled pixels; 0 where there are none.

    The pixels are laid out as rows of a table, because the loss of 2-D maps adds up in no fixed order on a GPU.

    Args:
        logits: B×K×…
        target: B×… int64, class indices.
        weight: K; 1 for all where None.
        label_smoothing: ε of the target (1 − ε)·onehot(y) + ε/K; class weights weigh its terms, as in torch.
        ignore_index: a pixel without a label.

    Returns:
        A float32 scalar.
    """
    classes = logits.shape[1]
    log_p = F.log_softmax(logits.float().movedim(1, -1).reshape(-1, classes), dim=1)
    flat = target.reshape(-1)
    labelled = (flat != ignore_index).float()
    weight = torch.ones_like(log_p[0]) if weight is None else weight.float()
    total = (weight[flat.where(flat != ignore_index, 0)] * labelled).sum()
    loss = F.nll_loss(log_p, flat, weight, ignore_index=ignore_index, reduction="sum")
    if label_smoothing:
        even = -(log_p @ weight * labelled).sum() / classes
        loss = (1 - label_smoothing) * loss + label_smoothing * even
    return loss / total.where(total > 0, 1)
