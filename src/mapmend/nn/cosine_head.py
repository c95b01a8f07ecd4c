"""Heads that name a pixel feature of 128 channels: classes as directions (cosine) or as planes (linear)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = ("plain", "linear", "cosine", "cosine_learned")
"""plain is the decoder's own; cosine has s = 16, cosine_learned learns s up to 30."""
FEATURES = 128
SCALE, MOST_SCALE = 16.0, 30.0


@dataclass(frozen=True)
class PixelOutput:
    """What a network says of every pixel.

    Attributes:
        logits: B×K×H×W float32.
        feature: B×D×H×W float32, not yet of length 1.
        scale: s of logits s·cos θ; None where the logits are no cosines.
    """

    logits: Tensor
    feature: Tensor
    scale: Tensor | None


class PixelNetwork(Protocol):
    """A network that says more of a pixel than its logits."""

    def pixels(self, image: Tensor, valid: Tensor) -> PixelOutput:
        """Of an image B×C×H×W in its stored type, valid B×1×H×W."""
        ...


class LinearHead(nn.Module):
    """Decoded B×D×h×w → feature f of 128 channels → logits w_c·f + b_c.

    Args:
        in_channels: D; where it is 128 already, the feature is what was decoded.
        classes: K.
    """

    def __init__(self, in_channels: int, classes: int, *, bias: bool = True) -> None:
        super().__init__()
        self.embed = nn.Identity() if in_channels == FEATURES else nn.Conv2d(in_channels, FEATURES, 1)
        self.classes = nn.Conv2d(FEATURES, classes, 1, bias=bias)

    @property
    def scale(self) -> Tensor | None:
        """None: the logits are no cosines."""
        return None

    def classify(self, feature: Tensor) -> Tensor:
        """Feature B×128×h×w → logits B×K×h×w."""
        logits: Tensor = self.classes(feature)
        return logits

    def forward(self, decoded: Tensor) -> Tensor:
        """Decoded → logits."""
        return self.classify(self.embed(decoded))


class CosineHead(LinearHead):
    """Logits s·⟨f̄, w̄_c⟩ of features and class vectors of length 1.

    Args:
        in_channels: D.
        classes: K.
        learned: s = 30·sigmoid(a), which starts at 16; else s = 16.
    """

    def __init__(self, in_channels: int, classes: int, *, learned: bool = False) -> None:
        super().__init__(in_channels, classes, bias=False)
        start = torch.tensor(math.log(SCALE / (MOST_SCALE - SCALE)))
        self.raw_scale = nn.Parameter(start.view(1)) if learned else None

    @property
    def scale(self) -> Tensor:
        """What the cosines are multiplied with."""
        weight = self.classes.weight
        return weight.new_tensor(SCALE) if self.raw_scale is None else MOST_SCALE * self.raw_scale.float().sigmoid()

    def classify(self, feature: Tensor) -> Tensor:
        """Feature B×128×h×w, of any length, → logits B×K×h×w."""
        with torch.autocast(feature.device.type, enabled=False):  # bfloat16 would move s·cos θ by a sixteenth
            feature = feature.float()
            # the product is divided, not the feature: K channels to go over instead of 128
            along = F.conv2d(feature, F.normalize(self.classes.weight.float(), dim=1))
            logits: Tensor = self.scale * along / feature.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return logits


def make_head(kind: str, in_channels: int, classes: int) -> LinearHead:
    """The head of a name in `HEADS` other than `plain`."""
    if kind == "linear":
        return LinearHead(in_channels, classes)
    return CosineHead(in_channels, classes, learned=kind == "cosine_learned")
