"""Deep CVAPS, change vector analysis in posterior-probability space: change out of what two dates are said to be."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Space = Literal["probability", "logit"]
_LAYERS = 3


class DeepCVAPS(nn.Module):
    """Class logits of two dates → change logit: convolutions of |P_A − P_B|.

    Tang et al., "The ClearSCD model" (ISPRS J. 211, 2024): three of [convolution 3×3 K→K, norm, ReLU], and one K→1.

    Args:
        classes: K.
        space: `probability`, P = softmax of the logits, as the paper has it; `logit`, P = the logits, as its code has.
    """

    def __init__(self, classes: int, space: Space = "probability") -> None:
        super().__init__()
        self._space = space
        blocks = [
            layer
            for _ in range(_LAYERS)
            for layer in (
                nn.Conv2d(classes, classes, 3, padding=1, bias=False),
                nn.BatchNorm2d(classes),
                nn.ReLU(inplace=True),
            )
        ]
        self.layers = nn.Sequential(*blocks, nn.Conv2d(classes, 1, 3, padding=1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of both dates, each B×K×h×w → B×1×h×w."""
        if self._space == "probability":
            first, second = first.float().softmax(1), second.float().softmax(1)
        change: Tensor = self.layers((first - second).abs())
        return change
