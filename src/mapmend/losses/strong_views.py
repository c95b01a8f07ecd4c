"""Strong views: images under photometric operations that leave everything where it is, so that labels still fit.

FixMatch's (Sohn et al. 2020, RandAugment without its geometric operations), as FPA and C²F² use them: two of nine
operations drawn with replacement, each applied with probability ½ at a magnitude of 1 to 9, then a grey square of 16
pixels cut out. Published for 8-bit RGB; here a band's range is given, grey is the bands' mean, and what is invalid has
no say in an image's statistics.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_DRAWN = 2
_APPLIED = 0.5
_CUT = 16
_GREY = 127 / 255
_BINS = 256

Operation = Callable[[Tensor, Tensor, int], Tensor]
"""Images D×C×H×W in 0 to 1, valid D×1×H×W, magnitude 1 to 9 → images; what it measures, it measures over all D."""


def strong_view(
    image: Tensor,
    valid: Tensor,
    low: Tensor,
    high: Tensor,
    generator: torch.Generator,
    *,
    cut: int = _CUT,
    alike: bool = False,
) -> Tensor:
    """Each image, of each date, under draws of its own, or those of one pair alike.

    Args:
        image: …×D×C×H×W in stored units, D dates of a place.
        valid: …×D×1×H×W bool.
        low: C, what counts as black in each band.
        high: C, what counts as white.
        generator: on the CPU.
        cut: side of the square in pixels, which every image gets at a place of its own; 0 for none.
        alike: whether all dates of a place go through the same operations, so that what differs between them is what
            differed; else each through its own, as published.

    Returns:
        …×D×C×H×W float32 in stored units.
    """
    bottom, span = low[:, None, None], (high - low)[:, None, None]
    together = image.shape[-4] if alike else 1
    flat, inside = (maps.reshape(-1, together, *maps.shape[-3:]) for maps in (image.float(), valid))
    views = []
    for one, seen in zip((flat - bottom) / span, inside, strict=True):
        view = one.where(seen, 0).clamp(0, 1)
        for _ in range(_DRAWN):
            which = int(torch.randint(len(OPERATIONS), (), generator=generator))
            magnitude = int(torch.randint(1, 10, (), generator=generator))
            if float(torch.rand((), generator=generator)) < _APPLIED:
                view = list(OPERATIONS.values())[which](view, seen, magnitude)
        views.append(torch.stack([_cut_out(date, cut, generator) for date in view]) if cut else view)
    return (torch.stack(views) * span + bottom).view(image.shape)


def _autocontrast(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """Each band stretched from its least to its largest value."""
    least = image.where(valid, torch.inf).amin((0, 2, 3))[:, None, None]
    most = image.where(valid, -torch.inf).amax((0, 2, 3))[:, None, None]
    stretched = (image - least) / (most - least).clamp(min=1e-6)
    return stretched.where(most - least > 0, image).clamp(0, 1)  # a band of one value, or without any, stays


def _brightness(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    return image * _factor(magnitude)


def _color(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """Between grey and the image."""
    grey = image.mean(1, keepdim=True)
    return grey + (image - grey) * _factor(magnitude)


def _contrast(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """Between the image's mean grey and the image."""
    grey = image.mean(1, keepdim=True).where(valid, 0).sum() / valid.sum().clamp(min=1)
    return grey + (image - grey) * _factor(magnitude)


def _equalize(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """Each band's values spread evenly."""
    level = (image * (_BINS - 1)).round().long()
    known = level.where(valid, _BINS).transpose(0, 1).flatten(1)
    counts = torch.zeros(image.shape[1], _BINS + 1, device=image.device).scatter_add_(
        1, known, torch.ones_like(known, dtype=torch.float32)
    )[:, :_BINS]
    below = counts.cumsum(1) - counts
    levels = torch.arange(_BINS, device=image.device)
    brightest = (levels * (counts > 0)).amax(1, keepdim=True)
    others = counts.sum(1, keepdim=True) - counts.gather(1, brightest)
    spread = (below / others.clamp(min=1)).clamp(max=1)
    bands = level.transpose(0, 1)
    each: Tensor = spread.gather(1, bands.flatten(1)).view_as(bands)
    return each.transpose(0, 1).where(others[..., None] > 0, image)


def _identity(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    return image


def _posterize(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """Only the first bits of eight are kept: four to seven of them."""
    step = 2 ** (4 - int(magnitude * 4 / 10))
    kept: Tensor = torch.floor(image * (_BINS - 1) / step) * step / (_BINS - 1)
    return kept


def _sharpness(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """Between the smoothed image and the image."""
    kernel = image.new_tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    around = F.pad(image.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    smooth = F.conv2d(around, kernel[None, None]).view_as(image)
    return smooth + (image - smooth) * _factor(magnitude)


def _solarize(image: Tensor, valid: Tensor, magnitude: int) -> Tensor:
    """What is brighter than a threshold is inverted."""
    threshold = (_BINS - int(magnitude * _BINS / 10)) / (_BINS - 1)
    return torch.where(image < threshold, image, 1 - image)


def _factor(magnitude: int) -> float:
    return 0.9 * magnitude / 10 + 0.05


def _cut_out(image: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A grey square around a random pixel, cut by the image's edges."""
    row, col = (int(torch.randint(size, (), generator=generator)) for size in image.shape[-2:])
    top, left = max(0, row - side // 2), max(0, col - side // 2)
    view = image.clone()
    view[:, top : top + side, left : left + side] = _GREY
    return view


OPERATIONS: dict[str, Operation] = {
    "autocontrast": _autocontrast,
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "equalize": _equalize,
    "identity": _identity,
    "posterize": _posterize,
    "sharpness": _sharpness,
    "solarize": _solarize,
}
