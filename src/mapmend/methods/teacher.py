"""A teacher: the running average of a network, which looks at what the network looks at."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """Exponential moving average of a network's weights and buffers, always in `eval()`, never trained.

    Args:
        network: whose average it is; it begins as a copy.
        decay: share of the average that stays in a step; less in the first steps, so that the start leaves no trace.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in `eval()`."""
        return super().train(False)

    @torch.no_grad()
    def probabilities(self, image: Tensor, valid: Tensor) -> Tensor:
        """Softmax B×K×H×W of one date."""
        logits: Tensor = self.network(image, valid)
        return logits.float().softmax(1)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the network as it is after a step, counted from 0."""
        new = 1 - min(1 - 1 / (step + 1), self._decay)
        source = network.state_dict(keep_vars=True)
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            if tensor.is_floating_point() and new < 1:
                tensor.lerp_(source[name], new)
            else:
                tensor.copy_(source[name])
