"""A second look at images under other light, for losses that want two views to agree."""

from __future__ import annotations

import torch
from torch import Tensor


def other_light(image: Tensor, valid: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Each image with another contrast, each band with another brightness: x → m + (x − m)·g + b·σ.

    g and b are uniform within ±`strength` of 1 and 0; m and σ are a band's mean and standard deviation over the valid
    pixels of the image.

    Args:
        image: B×C×H×W in its stored type.
        valid: B×1×H×W bool.
        generator: on the CPU.
        strength: 0 changes nothing.

    Returns:
        B×C×H×W float32; what is invalid is not to be looked at.
    """
    pixels = image.float()
    count = valid.sum((-2, -1), keepdim=True).clamp(min=1)
    mean = pixels.where(valid, 0).sum((-2, -1), keepdim=True) / count
    apart = (pixels - mean).where(valid, 0)
    std = (apart.square().sum((-2, -1), keepdim=True) / count).sqrt()
    gain, shift = (
        strength * (2 * torch.rand(len(image), bands, 1, 1, generator=generator) - 1).to(image.device)
        for bands in (1, image.shape[1])
    )
    return mean + apart * (1 + gain) + shift * std
