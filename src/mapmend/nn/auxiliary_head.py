"""A second head on an earlier feature of the encoder, which helps while training and is not deployed."""

from __future__ import annotations

from torch import Tensor, nn

WIDTH = 256


class AuxiliaryHead(nn.Module):
    """Conv3×3, batch norm, ReLU, dropout, Conv1×1: the FCN head (Long et al., CVPR 2015) as segmentors use it.

    Args:
        channels: of the feature.
        classes: K.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(WIDTH, classes, 1),
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Logits B×K×h×w of a feature B×C×h×w."""
        logits: Tensor = self.layers(feature)
        return logits
