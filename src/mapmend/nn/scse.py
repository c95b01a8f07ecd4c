"""scSE: which channels, and which places, of a feature map are attended to."""

from __future__ import annotations

from torch import Tensor, nn

_REDUCTION = 15  # C²F² has it so, whose 15 class logits leave one hidden value


class SCSE(nn.Module):
    """x·σ(W₂ ReLU(W₁ mean x)) + x·σ(convolution 1×1 of x), B×C×H×W → the same.

    Roy et al., "Concurrent spatial and channel squeeze & excitation" (MICCAI 2018), with the sum of both.

    Args:
        channels: C; the hidden layer has C // 15, at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // _REDUCTION)
        self.of_channels = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )
        self.of_places = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Features, weighed."""
        weighed: Tensor = features * self.of_channels(features) + features * self.of_places(features)
        return weighed
