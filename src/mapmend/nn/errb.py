"""Backbones that never down-sample: blocks of three kernels, and a refinement that is gated by the image's edges.

C2FNet (IEEE TGRS 63, 2025) states an Edge Resolution Refinement Backbone, features stable at full resolution and sharp
at edges, and no equations; the block below is L2HNet's (ISPRS 2022), the refinement is ours.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ERRB = {"errb64": 64, "errb128": 128}
"""Widths of the backbones with edge refinement, by name."""
RP = {"rp64": 64, "rp128": 128}
"""Widths of the same backbones without it: L2HNet's."""
BLOCKS = 5
_DILATIONS = (1, 2, 4)
_MEASURED = 100  # training batches from which the edges' constant is taken


def full_resolution_encoder(name: str, in_channels: int) -> FullResolution:
    """The backbone of a name in `ERRB` or `RP`, with random weights."""
    return FullResolution(in_channels, (ERRB | RP)[name], edges=name in ERRB)


class FullResolution(nn.Module):
    """Normalised image B×C×H×W → the features of five blocks, each B×W×H×W.

    F0 = Conv3×3(x); then per block RP, and with `edges` the refinement.

    Args:
        in_channels: C.
        width: W.
        edges: whether the blocks' features are refined at the image's edges.

    Attributes:
        width: as given.
    """

    def __init__(self, in_channels: int, width: int, *, edges: bool) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResolutionPreserving(width) for _ in range(BLOCKS))
        self.edges = Edges() if edges else None
        self.refinements = nn.ModuleList(EdgeRefinement(width) for _ in range(BLOCKS if edges else 0))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Five feature maps at the image's size."""
        edges = self.edges(image) if self.edges is not None else None
        features: Tensor = self.stem(image)
        every = []
        for at, block in enumerate(self.blocks):
            features = block(features)
            if edges is not None:
                features = self.refinements[at](features, edges)
            every.append(features)
        return every


class ResolutionPreserving(nn.Module):
    """L2HNet's block: RP(F) = F + φ1×1(cat[φ1×1→W(F), φ3×3→W/2(F), φ5×5→W/4(F)]), φ = convolution, norm, ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _conv_norm_relu(width, width // share, side) for share, side in ((1, 1), (2, 3), (4, 5))
        )
        self.join = _conv_norm_relu(width + width // 2 + width // 4, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """B×W×H×W → the same."""
        joined: Tensor = self.join(torch.cat([branch(features) for branch in self.branches], 1))
        return features + joined


class EdgeRefinement(nn.Module):
    """F + γ · g ⊙ Σ_{d ∈ {1, 2, 4}} DWConv3×3 dilated d (F), with g = sigmoid(Conv1×1 of cat(F, e)).

    γ starts at 0, so that a network starts as if there were no refinement.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(width + 1, width, 1)
        self.around = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d, groups=width, bias=False) for d in _DILATIONS
        )
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, edges: Tensor) -> Tensor:
        """Features B×W×H×W and edges B×1×H×W → features."""
        gate = torch.sigmoid(self.gate(torch.cat([features, edges.to(features.dtype)], 1)))
        around = sum(cast(Tensor, conv(features)) for conv in self.around)
        return features + self.gamma * gate * around


class Edges(nn.Module):
    """|Sobel(grey)| of a normalised image, divided by one constant per data set.

    The constant is the mean magnitude over the first hundred batches of training and is stored with the weights: a
    measure of each tile's own would make the map depend on how it is cut into tiles. Grey is the mean of the bands.
    """

    level: Tensor
    measured: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("level", torch.ones(()))
        self.register_buffer("measured", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Image B×C×H×W → edges B×1×H×W, about 1 on average."""
        grey = F.pad(image.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across, down = _sobel(grey), _sobel(grey.mT).mT
        magnitude = (across.square() + down.square()).sqrt()
        if self.training:
            self._measure(magnitude.mean())
        return magnitude / self.level

    def _measure(self, mean: Tensor) -> None:
        """Take a batch into the running mean; a batch without any edge (nothing is valid) tells nothing."""
        takes = (mean > 0) & (self.measured < _MEASURED)
        count = self.measured + takes
        step = (mean - self.level * (self.measured > 0)) / count.clamp(min=1)
        self.level.copy_(torch.where(takes, self.level * (self.measured > 0) + step, self.level))
        self.measured.copy_(count)


def _sobel(grey: Tensor) -> Tensor:
    """Slope along the columns per pixel, of …×(H+2)×(W+2), at the inner H×W pixels."""
    slope = grey[..., 2:] - grey[..., :-2]
    return (slope[..., :-2, :] + 2 * slope[..., 1:-1, :] + slope[..., 2:, :]) / 8


def _conv_norm_relu(width: int, out: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out, side, padding=side // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )
