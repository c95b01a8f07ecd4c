"""The projection head of contrastive losses: it learns, and is dropped when the model is deployed."""

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Convolution 1×1 from `width` to `hidden`, norm, ReLU, and 1×1 back, as ClearSCD has it (128 → 32 → 128).

    Attributes:
        hidden: features B×width×h×w → B×hidden×h×w.
        out: the last layer, …×hidden → …×width; affine, so that it may be applied to means.
    """

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        )
        self.out = nn.Linear(hidden, width)

    def forward(self, features: Tensor) -> Tensor:
        """Every pixel's projection, B×width×h×w."""
        projected: Tensor = self.out(self.hidden(features).movedim(1, -1)).movedim(-1, 1)
        return projected
