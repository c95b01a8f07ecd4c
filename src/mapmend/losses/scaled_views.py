"""Weak views: pairs seen larger, smaller or turned, both dates and all their labels alike."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

_WHOLE = 0.999  # of a bilinear mean of validity


def scaled_view(
    batch: Mapping[str, Tensor], generator: torch.Generator, scale: tuple[float, float]
) -> dict[str, Tensor]:
    """Each pair enlarged or reduced by a factor drawn for it, and cut or continued to its size.

    What is enlarged is cut at a random place. What is reduced is continued by its mirror image, labels and all: a blank
    margin, as published, is seen by batch norms, which then expect pairs that are mostly blank. Images are interpolated
    linearly, labels by nearest neighbour; a pixel whose neighbourhood holds invalid pixels is invalid, for their values
    have spread.

    Args:
        batch: with image B×T×C×H×W, valid B×T×M×H×W, mask B×T×H×W and change B×H×W.
        generator: on the CPU.
        scale: the least and the largest factor; (1, 1) changes nothing.

    Returns:
        The batch with these replaced; the image is float32.
    """
    if scale == (1, 1):
        return dict(batch)
    size, device = len(batch["image"]), batch["image"].device
    draws = torch.rand(3, size, generator=generator).to(device)
    factor = scale[0] + (scale[1] - scale[0]) * draws[0]
    # in units of half the image: where the view's centre lies, so that it stays on the image, or the image in it
    room = (1 - 1 / factor).abs()
    theta = torch.zeros(size, 2, 3, device=device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / factor
    theta[:, 0, 2], theta[:, 1, 2] = (room * (2 * draw - 1) for draw in draws[1:])
    return _seen_through(batch, theta)


def turned_view(
    batch: Mapping[str, Tensor], generator: torch.Generator, degrees: float, share: float = 0.5
) -> dict[str, Tensor]:
    """A share of the pairs turned around their centre by an angle drawn for each, and continued by their mirror image.

    Args:
        batch: as of `scaled_view`, and what becomes of its layers too.
        generator: on the CPU.
        degrees: the largest angle, either way; 0 changes nothing.
        share: how likely a pair is turned.
    """
    if not degrees:
        return dict(batch)
    size, device = len(batch["image"]), batch["image"].device
    drawn, turned = torch.rand(2, size, generator=generator).to(device)
    angle = math.radians(degrees) * (2 * drawn - 1) * (turned < share)
    height, width = batch["image"].shape[-2:]
    theta = torch.zeros(size, 2, 3, device=device)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * height / width, angle.sin() * width / height
    return _seen_through(batch, theta)


def _seen_through(batch: Mapping[str, Tensor], theta: Tensor) -> dict[str, Tensor]:
    """Images and labels at the places that B×2×3 maps tell, from −1 to 1 across the image."""
    image, valid = batch["image"], batch["valid"]
    grid = F.affine_grid(theta, [len(image), 1, *image.shape[-2:]], align_corners=False)
    seen = valid.all(2, keepdim=True)
    pixels = _sampled(image.float().where(seen, 0), grid, "bilinear")
    whole = _sampled(valid.float(), grid, "bilinear") > _WHOLE
    labels = {name: _label(batch[name], grid) for name in ("mask", "change")}
    return {**batch, **labels, "image": pixels, "valid": whole}


def _sampled(maps: Tensor, grid: Tensor, mode: str) -> Tensor:
    """B×…×H×W at the places of a grid; mirrored outside."""
    flat = maps.flatten(1, -3)
    return F.grid_sample(flat, grid, mode, "reflection", align_corners=False).view_as(maps)


def _label(label: Tensor, grid: Tensor) -> Tensor:
    """By nearest neighbour."""
    flat = label.float() if label.ndim > 3 else label.float()[:, None]
    return _sampled(flat, grid, "nearest").view_as(label).long()
