"""Losses of one pixel's label and probabilities: cross-entropy, and those that stand a wrong label better.

Each is a mean over the labelled pixels, with two kinds of weights on request. A class's weight counts in the mean's
divisor too, as in torch. A pixel's weight does not: a pixel that weighs a half teaches half as much, whatever else
there is in the batch. The pixels are laid out as rows of a table, for sums of 2-D maps run in no fixed order on a GPU.
In the formulas p is the softmax of the logits and y the label that was given.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-4  # of the probabilities that early-learning regularisation remembers
_NEVER = 1e-12  # stands for a chance of 0 where its logarithm is taken


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Cross-entropy: Σ w_y·(−log p_y) / Σ w_y over the labelled pixels; 0 where there are none.

    Args:
        logits: B×K×…
        target: B×… int64, class indices.
        weight: K; 1 for all where None.
        label_smoothing: ε of the target (1 − ε)·onehot(y) + ε/K; class weights weigh its terms, as in torch.
        pixel_weight: broadcasts to B×…; 1 for all where None.
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
    if pixel_weight is None:
        loss = F.nll_loss(log_p, flat, weight, ignore_index=ignore_index, reduction="sum")
    else:
        labelled = labelled * pixel_weight.float().expand(target.shape).reshape(-1)
        loss = (F.nll_loss(log_p, flat, weight, ignore_index=ignore_index, reduction="none") * labelled).sum()
    if label_smoothing:
        even = -(log_p @ weight * labelled).sum() / classes
        loss = (1 - label_smoothing) * loss + label_smoothing * even
    return loss / total.where(total > 0, 1)


def mixture_cross_entropy(
    logits: Tensor,
    target: Tensor,
    shares: Tensor,
    *,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Mean of −Σ_k s_k·log p_k: each pixel's label is what ground of its code holds of each class on average.

    Args and result as in `cross_entropy`, and:
        shares: s, B×K×…, over the classes they sum to one; looked at where the target has a label.
    """
    log_p, y, labelled = _as_rows(logits, target, ignore_index)
    each = -(shares.float().movedim(1, -1).reshape(log_p.shape) * log_p).sum(1)
    return _mean(each, y, labelled, target, weight, pixel_weight)


def reverse_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    log_zero: float = -4.0,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Mean of −Σ_k p_k·log onehot(y)_k = −A·(1 − p_y), where A stands for log 0 (Wang et al. 2019, eq. 5 and 8).

    Args and result as in `cross_entropy`, and:
        log_zero: A, below 0.
    """
    log_p, y, labelled = _as_rows(logits, target, ignore_index)
    each = -log_zero * (1 - _of(log_p, y).exp())
    return _mean(each, y, labelled, target, weight, pixel_weight)


def symmetric_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.1,
    beta: float = 1.0,
    log_zero: float = -4.0,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """α·cross-entropy + β·reverse cross-entropy (Wang et al. 2019, "Symmetric Cross Entropy", eq. 6)."""
    how = {"weight": weight, "pixel_weight": pixel_weight, "ignore_index": ignore_index}
    forward = cross_entropy(logits, target, **how)  # type: ignore[arg-type]
    reverse = reverse_cross_entropy(logits, target, log_zero=log_zero, **how)  # type: ignore[arg-type]
    return alpha * forward + beta * reverse


def published_symmetric_cross_entropy(
    logits: Tensor, target: Tensor, *, alpha: float = 1.0, beta: float = 2.0, ignore_index: int = 255
) -> Tensor:
    """What the code released with Liu et al. (IGARSS 2025) computes under the name of symmetric cross-entropy.

    Its reverse term is −log p_y again, and its mask B×1×H×W is multiplied to B×H×W losses, which gives every image's
    mask to every image's losses: (α + β)·mean over (i, j, pixel) of mask_i·CE_j, with CE_j = 0 where j has no label.
    With the released α = 1 and β = 2 that is 3·CE where nothing is ignored. It is here to reproduce their figures.

    Args and result as in `cross_entropy`; the mean is over all pixels.
    """
    each = F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction="none")
    labelled = (target != ignore_index).float()
    return (alpha + beta) * (labelled.mean(0) * each.mean(0)).mean()


def generalised_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    q: float = 0.7,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Mean of (1 − p_y^q)/q, between cross-entropy (q → 0) and 1 − p_y (q = 1); Zhang & Sabuncu 2018, eq. 6."""
    log_p, y, labelled = _as_rows(logits, target, ignore_index)
    each = (1 - (q * _of(log_p, y)).exp()) / q  # p^q itself has no finite slope at 0
    return _mean(each, y, labelled, target, weight, pixel_weight)


def bootstrapping(
    logits: Tensor,
    target: Tensor,
    *,
    hard: bool = False,
    beta: float | None = None,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Cross-entropy against a mixture of the label and the prediction (Reed et al. 2015, eq. 6 and 7).

    Soft: −Σ_k (β·onehot(y)_k + (1 − β)·p_k)·log p_k. Hard: the arg-max of p, as one-hot, in the place of p.

    Args and result as in `cross_entropy`, and:
        hard: which of the two.
        beta: share of the label; .95 (soft) and .8 (hard) where None, the paper's.
    """
    log_p, y, labelled = _as_rows(logits, target, ignore_index)
    beta = (0.8 if hard else 0.95) if beta is None else beta
    own = log_p.max(1).values if hard else (log_p.exp() * log_p).sum(1)
    return _mean(-beta * _of(log_p, y) - (1 - beta) * own, y, labelled, target, weight, pixel_weight)


def forward_corrected(
    logits: Tensor,
    target: Tensor,
    transition: Tensor,
    *,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Mean of −log (pᵀT)_y: the label's chance, if the map is p and errs as T says (Patrini et al. 2017, theorem 2).

    Args and result as in `cross_entropy`, and:
        transition: T, K×K, T_ij = P(label j | true class i); rows sum to one.
    """
    log_p, y, labelled = _as_rows(logits, target, ignore_index)
    chances = transition.float().clamp(min=_NEVER).log()
    each = -torch.logsumexp(log_p + chances.T[y], dim=1)
    return _mean(each, y, labelled, target, weight, pixel_weight)


def early_learning(
    logits: Tensor,
    target: Tensor,
    remembered: Tensor,
    *,
    strength: float = 3.0,
    weight: Tensor | None = None,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Cross-entropy + λ·mean log(1 − ⟨p, t⟩), which falls as p nears t (Liu et al. 2020, "Early-Learning", eq. 6).

    Args and result as in `cross_entropy`, and:
        remembered: t, B×K×…: what the network, or its teacher, thought before it knew the labels by heart; no gradient.
        strength: λ.
    """
    log_p, y, labelled = _as_rows(logits, target, ignore_index)
    t = remembered.detach().float().movedim(1, -1).reshape(log_p.shape).clamp(_LEAST, 1 - _LEAST)
    each = torch.log1p(-(log_p.exp() * t).sum(1))
    regulariser = _mean(each, y, labelled, target, None, pixel_weight)
    return (
        cross_entropy(logits, target, weight=weight, pixel_weight=pixel_weight, ignore_index=ignore_index)
        + strength * regulariser
    )


def remember(remembered: Tensor, p: Tensor, *, keep: float = 0.7) -> Tensor:
    """The memory of `early_learning` after another look at the same pixels: keep·t + (1 − keep)·p.

    Args:
        remembered: t, B×K×…
        p: probabilities of the same shape; taken without a gradient and into [1e-4, 1 − 1e-4].
        keep: share of t that stays.
    """
    return keep * remembered + (1 - keep) * p.detach().clamp(_LEAST, 1 - _LEAST)


def _as_rows(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows log p N×K, y N (0 where there is no label), and whether there is one, N as 0 or 1."""
    log_p = F.log_softmax(logits.float().movedim(1, -1).reshape(-1, logits.shape[1]), dim=1)
    flat = target.reshape(-1)
    return log_p, flat.where(flat != ignore_index, 0), (flat != ignore_index).float()


def _of(log_p: Tensor, y: Tensor) -> Tensor:
    return log_p.gather(1, y.unsqueeze(1)).squeeze(1)


def _mean(
    each: Tensor, y: Tensor, labelled: Tensor, target: Tensor, weight: Tensor | None, pixel_weight: Tensor | None
) -> Tensor:
    """Σ v·w_y·loss / Σ w_y over the labelled pixels, v of the pixel; 0 where there are none."""
    counted = labelled if weight is None else labelled * weight.float()[y]
    total = counted.sum()
    if pixel_weight is not None:
        counted = counted * pixel_weight.float().expand(target.shape).reshape(-1)
    return (each * counted).sum() / total.where(total > 0, 1)
