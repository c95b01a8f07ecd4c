"""The running average of a network's weights and buffers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, as they are (no copies), gradients left aside."""
    return {name: tensor.detach() for name, tensor in network.state_dict(keep_vars=True).items()}


class Average:
    """Exponential moving average of a network's floating-point tensors; integers (BN's counters) are copied.

    The t-th update (from 0) keeps min(1 − 1/(t + 1), decay) of the average: at first it is the plain mean of what was
    seen, so the weights before training leave no trace.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network, self._decay = network, decay
        self.tensors = {name: tensor.clone() for name, tensor in tensors_of(network).items()}

    @torch.no_grad()
    def update(self, t: int) -> None:
        """Take in the network as it is after update t."""
        new = 1 - min(1 - 1 / (t + 1), self._decay)
        for name, tensor in tensors_of(self._network).items():
            if tensor.is_floating_point() and new < 1:
                self.tensors[name].lerp_(tensor, new)
            else:
                self.tensors[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network computes with the average inside of the block, and with its own weights again after it."""
        own = {name: tensor.clone() for name, tensor in tensors_of(self._network).items()}
        put(self._network, self.tensors)
        try:
            yield
        finally:
            put(self._network, own)


@torch.no_grad()
def put(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy values into a network, tensor by tensor, whatever device they are on."""
    for name, tensor in tensors_of(network).items():
        tensor.copy_(tensors[name])
