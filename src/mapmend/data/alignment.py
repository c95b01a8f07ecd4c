"""Resolution alignment: images made as coarse as another sensor's, with objects as large or larger in pixels.

Liu et al., "Learning from Noisy Pseudo-labels for All-Weather Land Cover Mapping" (IGARSS 2025): with probability 0.2 a
source image is reduced bilinearly to 0.1 to 0.35 of its side, then enlarged bilinearly to 1 to 3 times its first side,
and cut to that side again. The label is enlarged by nearest neighbour and never reduced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Batch = Mapping[str, Tensor]

_REDUCED = (0.1, 0.35)
_ENLARGED = (1.0, 3.0)
_KNOWN = 0.5  # of a pixel's weight that must come from valid ones
_MAPS = ("mask", "change", "confidence", "cell", "shares")
"""What lies on the image's pixels and has no values between its values."""


def resolution_alignment(probability: float) -> Callable[[Batch, torch.Generator], Batch]:
    """The augmentation, for images of any bands and dates and whatever lies on their pixels.

    Args:
        probability: that an image is changed; 0 leaves all as they are, and draws nothing.
    """

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        if probability == 0:
            return batch
        draws = torch.rand(len(batch["image"]), 5, generator=generator).tolist()
        if not any(draw[0] < probability for draw in draws):
            return batch
        image, valid = batch["image"].float(), batch["valid"]
        names = [name for name in _MAPS if name in batch]
        images: list[Tensor] = []
        valids: list[Tensor] = []
        maps: dict[str, list[Tensor]] = {name: [] for name in names}
        for index, (applied, *how) in enumerate(draws):
            one, known = image[index], valid[index]
            others = {name: batch[name][index] for name in names}
            if applied < probability:
                one, known, others = aligned(one, known, others, *how)
            images.append(one)
            valids.append(known)
            for name in names:
                maps[name].append(others[name])
        return {
            **batch,
            "image": torch.stack(images),
            "valid": torch.stack(valids),
            **{name: torch.stack(several) for name, several in maps.items()},
        }

    return augment


def aligned(
    image: Tensor, valid: Tensor, maps: Mapping[str, Tensor], smaller: float, larger: float, down: float, right: float
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """One image reduced, enlarged and cut.

    Args:
        image: T×C×H×W float32, in stored units.
        valid: T×M×H×W bool; where a date has invalid pixels they have no part in its means.
        maps: T×…×H×W or H×W, by name.
        smaller: 0 to 1, how far the image is reduced between the limits.
        larger: 0 to 1, how far it is enlarged.
        down: 0 to 1, where it is cut from top to bottom.
        right: likewise from left to right.

    Returns:
        All of them, of the shapes they had.
    """
    height, width = image.shape[-2:]
    factor = _REDUCED[0] + (_REDUCED[1] - _REDUCED[0]) * smaller
    small = [max(1, round(side * factor)) for side in (height, width)]
    growth = _ENLARGED[0] + (_ENLARGED[1] - _ENLARGED[0]) * larger
    large = [max(side, round(side * growth)) for side in (height, width)]
    top, left = int(down * (large[0] - height + 1)), int(right * (large[1] - width + 1))
    cut = (..., slice(top, top + height), slice(left, left + width))

    inside = valid.all(1, keepdim=True)
    weight = F.interpolate(inside.float(), small, mode="bilinear")
    coarse = F.interpolate(image.where(inside, 0), small, mode="bilinear") / weight.clamp(min=1e-6)
    back = F.interpolate(coarse * weight, large, mode="bilinear")
    share = F.interpolate(weight, large, mode="bilinear")
    pixels = (back / share.clamp(min=1e-6))[cut]
    enough = (share > _KNOWN)[cut]
    known = _nearest(valid, large)[cut] & enough
    return pixels.where(enough, 0), known, {name: _nearest(one, large)[cut] for name, one in maps.items()}


def _nearest(maps: Tensor, size: list[int]) -> Tensor:
    """Maps …×H×W enlarged, each pixel the one that its centre lies in."""
    rows, cols = (
        ((torch.arange(new, device=maps.device) + 0.5) * old / new).long()
        for new, old in zip(size, maps.shape[-2:], strict=True)
    )
    return maps[..., rows[:, None], cols[None, :]]
