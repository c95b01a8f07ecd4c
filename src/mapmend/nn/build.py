"""From a network spec to a network that is ready to be trained."""

from __future__ import annotations

from pathlib import Path

from mapmend.nn.decoders import DECODERS
from mapmend.nn.encoders import ENCODERS
from mapmend.nn.fitting import bare_network, check
from mapmend.nn.network import Network
from mapmend.nn.report import WeightsReport
from mapmend.nn.spec import NetworkSpec
from mapmend.nn.weights import load_weights

__all__ = ["DECODERS", "ENCODERS", "Network", "NetworkSpec", "WeightsReport", "build_network", "check"]


def build_network(spec: NetworkSpec, weights: str | Path = "none") -> tuple[Network, WeightsReport]:
    """A network and what it starts from.

    Args:
        spec: what it is made of; `network.spec` has the decoder's widths filled in.
        weights: as in `load_weights`. What is random is drawn from torch's global generator.

    Raises:
        ModelError: encoder and decoder do not fit, or the weights cannot be had; there is no silent substitute.
    """
    network = bare_network(spec)
    return network, load_weights(network, weights)
