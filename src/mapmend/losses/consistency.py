"""Losses without labels: what one view says for certain teaches another, and features of one class agree.

FPA (Zhang et al., IEEE TGRS 2023) and C²F² (Zhang et al., IEEE GRSL 2024, doi 10.1109/LGRS.2024.3467260), after
FixMatch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-5
_MOST = 1 << 20


def balanced_thresholds(logits: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """A threshold for each class, by which as large a share of what is called so is certain, whatever the class.

    Where one class is common and easy, τ is reached by that class alone, and pseudo-labels then teach that there is
    nothing else. The share is that of the class with the most pixels of p ≥ τ among those of which it is the likeliest;
    of the others as many are taken, the surest first, as in the class-balanced self-training of Zou et al. (ECCV 2018).

    Args:
        logits: B×K×H×W.
        valid: B×H×W bool; the rest does not count.
        threshold: τ.

    Returns:
        K float32, none above τ.
    """
    sure, likeliest = logits.detach().float().softmax(1).max(1)
    found = [sure[valid & (likeliest == one)] for one in range(logits.shape[1])]
    share = torch.stack([(one >= threshold).float().mean() if len(one) else sure.new_zeros(()) for one in found]).max()
    levels = [torch.quantile(_thinned(one), 1 - share) if len(one) else sure.new_tensor(threshold) for one in found]
    return torch.stack(levels).clamp(max=threshold).where(share > 0, threshold)


def _thinned(values: Tensor) -> Tensor:
    """At most as many as `torch.quantile` takes, evenly."""
    return values[:: -(-len(values) // _MOST)]


def pseudo_label_loss(
    logits: Tensor, teacher: Tensor, valid: Tensor, threshold: float | Tensor, *, among_valid: bool = False
) -> Tensor:
    """Mean of 1[max p ≥ τ]·CE(logits, argmax p), p the softmax of the teacher's logits, which do not learn.

    Args:
        logits: B×K×H×W, of the view that is taught.
        teacher: B×K×H×W, logits of the view that teaches.
        valid: B×H×W bool; the rest teaches nothing.
        threshold: τ, or one for each class, K.
        among_valid: divide by the valid pixels, as UniMatch does; else by all, as FPA and C²F² do.

    Returns:
        A float32 scalar.
    """
    sure, target = teacher.detach().float().softmax(1).max(1)
    each = F.cross_entropy(logits.float(), target, reduction="none")
    total = valid.sum().clamp(min=1) if among_valid else valid.numel()
    level = threshold[target] if isinstance(threshold, Tensor) else threshold
    return each.where((sure >= level) & valid, 0).sum() / total


def class_alignment(
    feature: Tensor, logits: Tensor, valid: Tensor, threshold: float | Tensor, *, centred: bool = False
) -> Tensor:
    """Class-aware feature alignment: the mean features of a class, image by image, point the same way.

    With M_{b,k} = 1[p_k ≥ τ] at the features' resolution, μ_{b,k} the normalised Σ M f / (Σ M + 1e-5), and S the
    cosines of a class's μ between the images of the batch,

        L = 1/(K·B²) Σ_{k, b, b'} 1[S ≠ 0]·(½ − S/2).

    An image without a class counts as zeros, and an image with itself contributes nothing.

    As published, features that all point one way, whatever the class, are the best ones. Centred ones cannot: the
    classes lie on either side of the batch's mean feature.

    Args:
        feature: f of the strong view, B×D×h×w.
        logits: of the weak view, B×K×H×W, taken as a constant.
        valid: B×H×W bool; the rest is of no class.
        threshold: τ, or one for each class, K.
        centred: take the directions from the mean of all valid features, which does not learn; else from zero, as
            published.

    Returns:
        A float32 scalar.
    """
    size = feature.shape[-2:]
    probability = F.interpolate(logits.detach().float().softmax(1), size, mode="nearest")
    seen = F.interpolate(valid[:, None].float(), size, mode="nearest") > 0
    level = threshold[:, None, None] if isinstance(threshold, Tensor) else threshold
    chosen = ((probability >= level) & seen).float().flatten(2)  # B×K×N
    features = feature.float().flatten(2)
    if centred:
        inside = seen.float().flatten(2)
        centre = (features.detach() * inside).sum((0, 2)) / inside.sum().clamp(min=1)
        features = features - centre[:, None]
    sums = chosen @ features.mT
    means = F.normalize(sums / (chosen.sum(2, keepdim=True) + _LEAST), dim=2)
    cosine = torch.einsum("bkd,ckd->kbc", means, means)
    there = (chosen.sum(2) > 0).T  # K×B
    both = there[:, :, None] & there[:, None, :] & ~torch.eye(len(feature), dtype=torch.bool, device=feature.device)
    return (0.5 - cosine / 2).where(both, 0).sum() / cosine.numel()
