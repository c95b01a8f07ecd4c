"""Photometric distortion, as segmentation on 8-bit images has it, for any bands.

Brightness ± 32 of 255, contrast and saturation times 0.5 to 1.5, hue ± 18 of 180 (of three bands alone), each with
probability ½, contrast before or after the colours with equal chance (Liu et al. 2016, SSD; the source augmentation of
Liu et al., IGARSS 2025).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]

_APPLIED = 0.5
_BRIGHTNESS = 32 / 255
_FACTOR = (0.5, 1.5)
_HUE = 2 * math.pi * 18 / 180
_REACH = 2.5  # standard deviations from a band's mean to what counts as black and white
_RGB = 3


def distortion(
    mean: tuple[float, ...], std: tuple[float, ...], *, applied: bool
) -> Callable[[Batch, torch.Generator], Batch]:
    """The augmentation, drawn for each image and date.

    Args:
        mean: per channel, stored units.
        std: per channel; black and white lie 2.5 of it from the mean.
        applied: False leaves images as they are, and draws nothing.
    """

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        if not applied:
            return batch
        image = batch["image"].float()
        low = (torch.tensor(mean) - _REACH * torch.tensor(std)).to(image.device)[:, None, None]
        span = (2 * _REACH * torch.tensor(std)).to(image.device)[:, None, None]
        flat = ((image - low) / span).flatten(0, 1)
        changed = torch.stack([distorted(one, torch.rand(9, generator=generator).tolist()) for one in flat])
        return {**batch, "image": (changed * span + low).view(image.shape)}

    return augment


def distorted(image: Tensor, draws: list[float]) -> Tensor:
    """One image C×H×W, 0 to 1 from black to white, by nine draws from 0 to 1."""
    bright, by, contrasted, times, first, saturated, how, turned, angle = draws
    if bright < _APPLIED:
        image = image + _BRIGHTNESS * (2 * by - 1)
    contrast = _FACTOR[0] + (_FACTOR[1] - _FACTOR[0]) * times if contrasted < _APPLIED else 1.0
    if first < _APPLIED:
        image = image * contrast
    if saturated < _APPLIED:
        grey = image.mean(0, keepdim=True)
        image = grey + (image - grey) * (_FACTOR[0] + (_FACTOR[1] - _FACTOR[0]) * how)
    if turned < _APPLIED and len(image) == _RGB:
        image = torch.einsum("ij,jhw->ihw", around_grey(_HUE * (2 * angle - 1)).to(image), image)
    return image if first < _APPLIED else image * contrast


def around_grey(angle: float) -> Tensor:
    """The rotation around (1, 1, 1), 3×3 (Rodrigues' formula): hue turns, grey stays."""
    axis = torch.full((3,), 3**-0.5)
    cross = torch.tensor([[0, -1.0, 1], [1, 0, -1], [-1, 1, 0]]) * 3**-0.5
    return torch.eye(3) * math.cos(angle) + math.sin(angle) * cross + (1 - math.cos(angle)) * torch.outer(axis, axis)
