"""The strong view of DACS's mixed images: colours and sharpness changed, once for a whole batch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mapmend.losses.distortion import around_grey

_APPLIED = 0.5
_SIGMA = (0.15, 1.15)
_RGB = 3


def jitter_and_blur(
    image: Tensor, valid: Tensor, low: Tensor, high: Tensor, generator: torch.Generator, *, strength: float = 0.2
) -> Tensor:
    """Colours jittered with probability ½, then blurred with probability ½, by one draw for the whole batch.

    Brightness, contrast and saturation are multiplied by 1 ± `strength`; of three bands the hue turns by `strength` of
    a full circle at most, around the grey axis. Bands' mean stands for grey. What is invalid keeps its colour and,
    unlike published, has no part in the blur. Nothing is cut off at black or white, which are but estimates: published
    for 8-bit images, which are.

    Args:
        image: B×C×H×W in stored units.
        valid: B×1×H×W bool.
        low: C, what counts as black in each band.
        high: C, what counts as white.
        generator: on the CPU.
        strength: of the jitter; 0 for none.

    Returns:
        B×C×H×W float32 in stored units.
    """
    jittered, blurred, *draws = torch.rand(7, generator=generator).tolist()
    bottom, span = low[:, None, None], (high - low)[:, None, None]
    view = plain = image.float()
    if strength and jittered < _APPLIED:
        brightness, contrast, saturation = (1 + strength * (2 * draw - 1) for draw in draws[:3])
        changed = (view - bottom) / span * brightness
        inside = valid.sum((-2, -1), keepdim=True).clamp(min=1)
        grey = (changed.mean(1, keepdim=True) * valid).sum((-2, -1), keepdim=True) / inside
        changed = grey + (changed - grey) * contrast
        grey = changed.mean(1, keepdim=True)
        changed = grey + (changed - grey) * saturation
        if changed.shape[1] == _RGB:
            turn = around_grey(2 * math.pi * strength * (2 * draws[3] - 1)).to(changed)
            changed = torch.einsum("ij,bjhw->bihw", turn, changed)
        view = changed * span + bottom
    if blurred < _APPLIED:
        sigma, known = _SIGMA[0] + (_SIGMA[1] - _SIGMA[0]) * draws[4], valid.float()
        view = _blurred(view.where(valid, 0), sigma) / _blurred(known, sigma).clamp(min=1e-6)
    return view.where(valid, plain)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    radius = math.ceil(3 * sigma)
    place = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (place / sigma) ** 2)
    kernel = kernel / kernel.sum()
    bands = image.shape[1]
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    across: Tensor = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(bands, 1, 1, -1), groups=bands)
    return F.conv2d(across, kernel.view(1, 1, -1, 1).expand(bands, 1, -1, 1), groups=bands)
