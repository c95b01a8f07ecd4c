"""The logits of a network, and of an auxiliary head beside it where a method has one."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from mapmend.nn.auxiliary_head import AuxiliaryHead
from mapmend.nn.network import Features, Network

_SIDE = 64  # of the image by which the feature's channels are found


class Auxiliary(nn.Module):
    """An FCN head on the encoder's last feature but one (stride 16 of a pyramid).

    Args:
        network: with an encoder; the head is no part of it.
        classes: K.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        known = cast(Network, network)
        training = network.training
        network.eval()
        with torch.no_grad():
            image = torch.zeros(1, known.spec.in_channels, _SIDE, _SIDE, device=next(network.parameters()).device)
            channels = _feature(known.with_features(image)[1]).shape[1]
        network.train(training)
        self.head = AuxiliaryHead(channels, classes)

    def forward(self, network: nn.Module, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Logits B×K×H×W of the network and of the head, float32."""
        known = cast(Network, network)
        logits, features = known.with_features(image, valid)
        return logits, known.at_image(self.head(_feature(features)), image)


def _feature(features: Features) -> Tensor:
    maps = features[0] if isinstance(features, tuple) else features
    return maps[-2] if len(maps) > 1 else maps[-1]
