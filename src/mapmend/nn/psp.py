"""Pyramid pooling: what a place is, seen with what is around it at four scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BINS = (1, 2, 3, 6)


class PSP(nn.Module):
    """An encoder's last features B×C×h×w → B×W×h×w.

    Zhao et al., "Pyramid scene parsing network" (CVPR 2017): means over 1, 4, 9 and 36 parts of the map, each reduced
    to C / 4 channels, enlarged and put beside the features; one convolution 3×3 of all. The single mean is followed by
    a group norm (a batch of one has no variance), and enlargements are not corner-aligned.

    Args:
        channels: C.
        width: W.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        reduced = channels // len(BINS)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(channels, reduced, 1, bias=False),
                nn.BatchNorm2d(reduced),
                nn.ReLU(inplace=True),
            )
            for bins in BINS
        )
        self.join = nn.Sequential(
            nn.Conv2d(channels + len(BINS) * reduced, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The joined features; of an encoder's pyramid the last map is read."""
        last = features[-1]
        size = last.shape[-2:]
        around = [F.interpolate(branch(last), size, mode="bilinear", align_corners=False) for branch in self.branches]
        joined: Tensor = self.join(torch.cat([last, *around], 1))
        return joined
