"""CutMix: a rectangle of another pair of the batch, the same one at both dates and in whatever belongs to them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_APPLIED = 0.5
_AREA = (0.02, 0.4)
_LARGEST_RATIO = 1 / 0.3


def draw_boxes(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A random rectangle in half of the images, none in the others; count×H×W bool.

    Its area is 2 to 40 % of the image, its sides' ratio 0.3 to 1 / 0.3, as in UniMatch (Yang et al., CVPR 2023).
    """
    boxes = torch.zeros(count, height, width, dtype=torch.bool)
    for box in boxes:
        applied, share, shape, down, right = torch.rand(5, generator=generator).tolist()
        if applied >= _APPLIED:
            continue
        area = (_AREA[0] + (_AREA[1] - _AREA[0]) * share) * height * width
        ratio = 1 / _LARGEST_RATIO + (_LARGEST_RATIO - 1 / _LARGEST_RATIO) * shape
        rows, cols = min(height, round(math.sqrt(area * ratio))), min(width, round(math.sqrt(area / ratio)))
        top, left = int(down * (height - rows + 1)), int(right * (width - cols + 1))
        box[top : top + rows, left : left + cols] = True
    return boxes


def cut_mix(maps: Tensor, boxes: Tensor) -> Tensor:
    """Maps B×…×H×W with each one's box taken from the next of the batch; of a batch of one, as they are."""
    between = (1,) * (maps.ndim - boxes.ndim)
    return maps.roll(-1, 0).where(boxes.view(len(boxes), *between, *boxes.shape[1:]), maps)
