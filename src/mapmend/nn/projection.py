"""The projection head of contrastive losses: it learns, and is dropped when the model is deployed."""

from torch import nn


def projection_head(width: int, hidden: int = 32) -> nn.Sequential:
    """Convolution 1×1 from `width` to `hidden`, norm, ReLU, and 1×1 back, as ClearSCD has it (128 → 32 → 128)."""
    return nn.Sequential(
        nn.Conv2d(width, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, width, 1),
    )
