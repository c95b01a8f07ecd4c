"""ClassMix: whole classes of a labelled image pasted on another; and what a teacher's guess of that one counts.

Olsson et al., "ClassMix" (WACV 2021), as DACS (Tranheden et al., WACV 2021) uses it between a source and a target.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NONE = 255


def draw_classes(mask: Tensor, classes: int, generator: torch.Generator, *, of_batch: bool = False) -> Tensor:
    """Half of the classes that an image shows, rounded up, B×K bool.

    Args:
        mask: B×H×W int64, 255 = no label.
        classes: K.
        generator: on the CPU.
        of_batch: draw, for each image, among the classes of the whole batch, as the public code does: of a class that
            the image does not show nothing is pasted.
    """
    shown = torch.stack([torch.bincount(one[one != _NONE], minlength=classes)[:classes] > 0 for one in mask]).cpu()
    if of_batch:
        shown = shown.any(0, keepdim=True).expand_as(shown)
    chosen = torch.zeros_like(shown)
    for row, of_image in zip(chosen, shown, strict=True):
        there = of_image.nonzero()[:, 0]
        drawn = torch.randperm(len(there), generator=generator)[: (len(there) + 1) // 2]
        row[there[drawn]] = True
    return chosen.to(mask.device)


def pasted(mask: Tensor, chosen: Tensor) -> Tensor:
    """Where an image has a label of one of its chosen classes, B×H×W bool.

    Args:
        mask: B×H×W int64, 255 = no label.
        chosen: B×K bool.
    """
    index = mask.where(mask != _NONE, 0).flatten(1)
    return chosen.gather(1, index).view_as(mask) & (mask != _NONE)


def image_weight(probability: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """The share of an image's valid pixels of which a teacher is sure, B: max_k p_k ≥ τ.

    It weighs every pixel of the image alike, and drops none (Liu et al., IGARSS 2025; DACS's weight).

    Args:
        probability: B×K×H×W.
        valid: B×H×W bool.
        threshold: τ.
    """
    sure = (probability.amax(1) >= threshold) & valid
    return sure.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
