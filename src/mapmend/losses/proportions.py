"""A loss at the label's own pixel size: how much of each class a coarse pixel holds, and not where in it."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Literal["kl", "squared"]

_LEAST = 1e-6  # of a share whose logarithm is taken


def proportion_loss(
    logits: Tensor,
    target: Tensor,
    cells: Tensor,
    *,
    shares: Tensor | None = None,
    distance: Distance = "kl",
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Distance between predicted and given class shares of each coarse pixel, a mean over the fine ones.

    π_c = mean of p over the labelled pixels of cell c, q_c = mean of what the label says there; the distance is
    KL(q‖π) = Σ_k q_k·log(q_k/π_k), or Σ_k (q_k − π_k)². A cell counts as often as it has labelled pixels, so that one
    that the crop cuts counts less.

    Args:
        logits: B×K×H×W.
        target: B×H×W int64, class indices.
        cells: B×H×W int64: number of the coarse pixel in its image, from 0; below 0 where there is none.
        shares: B×K×H×W: what the label says of each class, over the classes they sum to one; None: the target alone.
        distance: which of the two.
        pixel_weight: broadcasts to B×H×W; a cell weighs their mean. 1 for all where None.
        ignore_index: a pixel without a label, which counts on neither side.

    Returns:
        A float32 scalar; 0 where there are no labels.
    """
    batch, classes = logits.shape[:2]
    counted = (target != ignore_index) & (cells >= 0)
    flat = counted.reshape(-1)
    number = int(cells.max().clamp(min=0)) + 1
    image = torch.arange(batch, device=cells.device).view(-1, 1, 1) * number
    place = (cells.clamp(min=0) + image).reshape(-1)

    def sums(values: Tensor) -> Tensor:
        """N×C of the pixels → sums over the labelled ones of each cell."""
        found = values.new_zeros(batch * number, values.shape[1])
        return found.index_add(0, place, values * flat.unsqueeze(1))

    p = F.softmax(logits.float(), dim=1).movedim(1, -1).reshape(-1, classes)
    if shares is None:
        said = F.one_hot(target.where(counted, 0).reshape(-1), classes).float()
    else:
        said = shares.float().movedim(1, -1).reshape(-1, classes)
    pixels = sums(torch.ones_like(p[:, :1]))
    predicted, given = (sums(one) / pixels.clamp(min=1) for one in (p, said))
    if distance == "kl":
        each = (torch.xlogy(given, given) - given * predicted.clamp(min=_LEAST).log()).sum(1)
    else:
        each = (given - predicted).square().sum(1)
    weight = pixels if pixel_weight is None else sums(pixel_weight.float().expand(target.shape).reshape(-1, 1))
    return (each * weight[:, 0]).sum() / pixels.sum().clamp(min=1)


def square_cells(
    height: int,
    width: int,
    side: float,
    offset: tuple[float, float] = (0.0, 0.0),
    *,
    device: torch.device | None = None,
) -> Tensor:
    """Numbers H×W int64 of the coarse pixels over an image, row by row.

    Args:
        height: of the image, in pixels.
        width: of it.
        side: of a coarse pixel, in pixels; need not be whole.
        offset: how far down and right, in pixels, the first coarse pixel begins before the image does; 0 to `side`.
        device: of the result.
    """
    down, along = (
        ((torch.arange(size, device=device, dtype=torch.float64) + 0.5 + start) / side).floor().long()
        for size, start in zip((height, width), offset, strict=True)
    )
    across = int((width - 0.5 + offset[1]) // side) + 1
    return down[:, None] * across + along
