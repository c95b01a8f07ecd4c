"""How undecided probabilities are."""

from __future__ import annotations

import math

import torch


def normalised_entropy(p: torch.Tensor, dim: int) -> torch.Tensor:
    """Shannon's entropy of probabilities over one axis ÷ that of equal ones: 0 where one is sure, 1 where none is.

    In float64, where the device has it, for the reason that `calibrated` gives.
    """
    wide = p if p.device.type == "mps" else p.double()
    nats: torch.Tensor = torch.special.entr(wide).sum(dim=dim)
    return nats.div_(math.log(max(p.shape[dim], 2))).float()
