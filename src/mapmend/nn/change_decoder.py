"""From features of a pair to its change, as C²F² has it: by themselves, or fused with another model's view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HIDDEN = 32
_LEAK = 0.1


def change_decoder(width: int, out: int) -> nn.Sequential:
    """Convolution 3×3 to 32 channels, leaky ReLU, and 1×1 to `out` logits, at the features' resolution.

    Published, the enlargement stands before the convolution 1×1. Linear interpolation and a convolution 1×1 commute,
    so logits that are enlarged are the same, at a fraction of the cost.
    """
    return nn.Sequential(*_reduce(width), nn.Conv2d(_HIDDEN, out, 1))


def _reduce(width: int) -> tuple[nn.Module, nn.Module]:
    """Convolution to the hidden channels, and what follows it.

    Published is a plain ReLU. Behind the few channels of a pyramid's decoder, which are positive and rise and fall
    together, all hidden units that speak for change were seen to be silent everywhere, and none can come back.
    """
    return nn.Conv2d(width, _HIDDEN, 3, padding=1), nn.LeakyReLU(_LEAK, inplace=True)


class FusedDecoder(nn.Module):
    """Features B×W×h×w and another model's G B×C×H×W → change logits B×2×H×W.

    Convolution 3×3 W→32, leaky ReLU, enlarged to G's size, put beside G, convolution 1×1 of 32 + C channels.

    Args:
        width: W.
        fused: C.
    """

    def __init__(self, width: int, fused: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(*_reduce(width))
        self.classify = nn.Conv2d(_HIDDEN + fused, 2, 1)

    def forward(self, features: Tensor, fused: Tensor) -> Tensor:
        """The logits, at the size of `fused`."""
        hidden = F.interpolate(self.reduce(features), fused.shape[-2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.classify(torch.cat([hidden, fused.to(hidden.dtype)], 1))
        return logits
