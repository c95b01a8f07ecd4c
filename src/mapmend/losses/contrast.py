"""Losses of C2FNet: a margin on confident pixels, a distribution for vague ones, two views of one cell held together.

The paper (IEEE TGRS 63, 2025) states a contrasting self-supervised loss on cosine similarity that pulls a pixel's
feature towards the weight vector of its class, and no equations; the formulas are ours.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def margin_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, *, margin: Tensor | float = 0.0, ignore_index: int = 255
) -> Tensor:
    """Σ w·(−log softmax of ℓ_y − margin for the label and ℓ_c for the others) / Σ w; 0 where nothing weighs.

    Args:
        logits: B×K×…; of a cosine head s·cos θ.
        target: B×… int64.
        weight: B×…, at least 0.
        margin: in units of the logits: s·m.
        ignore_index: a pixel without a label, whatever its weight.

    Returns:
        A float32 scalar.
    """
    classes = logits.shape[1]
    rows = logits.float().movedim(1, -1).reshape(-1, classes)
    flat = target.reshape(-1)
    counts = weight.reshape(-1).float() * (flat != ignore_index)
    label = flat.where(flat != ignore_index, 0)
    its_own = F.one_hot(label, classes).float()
    loss = F.cross_entropy(rows - margin * its_own, label, reduction="none")
    total = counts.sum()
    return (loss * counts).sum() / total.where(total > 0, 1)


def vague_divergence(logits: Tensor, target: Tensor, vague: Tensor) -> Tensor:
    """Mean over the vague pixels of KL(q‖p)·(1 − H(q)/log K); 0 where there are none.

    Args:
        logits: B×K×H×W.
        target: q, B×K×H×W, no gradient.
        vague: B×H×W bool.

    Returns:
        A float32 scalar.
    """
    log_p = F.log_softmax(logits.float(), 1)
    entropy = -torch.xlogy(target, target).sum(1)
    divergence = -(target * log_p).sum(1) - entropy
    sure = 1 - entropy / math.log(logits.shape[1])
    return (divergence * sure * vague).sum() / vague.sum().clamp(min=1)


def two_view_contrast(first: Tensor, second: Tensor, label: Tensor, *, temperature: float = 0.1) -> Tensor:
    """InfoNCE of cells seen twice: its own second view against the second views of cells of another label.

    van den Oord et al., "Representation learning with contrastive predictive coding" (2018), eq. 4, on cosines.

    Args:
        first: N×D, features of any length.
        second: N×D of the other view, no gradient.
        label: N; cells of the same label are no negatives.
        temperature: τ.

    Returns:
        A float32 scalar, mean over the cells; 0 without any.
    """
    cosine = F.normalize(first.float(), dim=1) @ F.normalize(second.detach().float(), dim=1).T / temperature
    other = label[:, None] != label
    itself = torch.eye(len(label), dtype=torch.bool, device=label.device)
    against = cosine.masked_fill(~(other | itself), -torch.inf)
    return (against.logsumexp(1) - cosine.diagonal()).sum() / max(len(label), 1)
