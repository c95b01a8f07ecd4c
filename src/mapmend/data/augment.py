"""Augmentation on the device, in stored units, before the network normalises."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]


def photometric(std: tuple[float, ...], strength: float = 0.2) -> Callable[[Batch, torch.Generator], Batch]:
    """Random contrast of each image and brightness of each band.

    Per sample and channel: x → m + (x − m)·g + b·σ with g, b uniform in ±`strength` around 1 and 0, m the
    sample's channel mean over valid pixels, σ the channel's standard deviation.

    Args:
        std: σ per channel, stored units.
        strength: 0 leaves the image as it is.
    """

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        if strength == 0:
            return batch
        image = batch["image"].float()
        shape = (image.shape[0], image.shape[1], 1, 1, 1)
        bands = (image.shape[0], image.shape[1], image.shape[2], 1, 1)
        gain = 1 + strength * _uniform(shape, generator, image.device)
        shift = (
            strength * _uniform(bands, generator, image.device) * torch.tensor(std, device=image.device)[:, None, None]
        )
        inside = batch["valid"].all(2, keepdim=True)
        mean = (image * inside).sum((-2, -1), keepdim=True) / inside.sum((-2, -1), keepdim=True).clamp(min=1)
        return {**batch, "image": mean + (image - mean) * gain + shift}

    return augment


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    return (torch.rand(shape, generator=generator, device=generator.device) * 2 - 1).to(device)
