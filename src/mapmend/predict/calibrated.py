"""A calibration on the device: the arithmetic of `Calibration.apply` in PyTorch."""

from __future__ import annotations

import torch

from mapmend.core.calibration import LEAST, Calibration


def calibrated(means: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """Calibrated probabilities K×H×W of blended ones; all 0 where these are all 0.

    In float64, where the device has it: powers and logarithms differ in their last digit with the place of a number in
    a vector, and in float32 some of these differences would show in a map's bytes.
    """
    p = _exact(means)
    if calibration.kind == "temperature":
        scaled: torch.Tensor = p.pow(1 / calibration.temperature)
    elif calibration.kind == "vector":
        scores = p.clamp(min=LEAST).log_()
        scores.mul_(_column(calibration.weights, p)).add_(_column(calibration.biases, p))
        scaled = scores.sub_(scores.amax(dim=0)).exp_()
    else:
        scaled = torch.stack([_looked_up(one, table) for one, table in zip(p, calibration.tables, strict=True)])
    return _normalised(scaled)


def weighed(p: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Probabilities K×H×W in proportion to others times weights K×H×W; as for calibration, in float64 if possible."""
    return _normalised(_exact(p) * weights)


def _normalised(values: torch.Tensor) -> torch.Tensor:
    return values.div_(values.sum(dim=0).clamp_(min=torch.finfo(values.dtype).tiny))


def _exact(p: torch.Tensor) -> torch.Tensor:
    return p.to(torch.float32 if p.device.type == "mps" else torch.float64)


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _looked_up(p: torch.Tensor, table: tuple[tuple[float, float], ...]) -> torch.Tensor:
    """Straight between the knots of a table, level beyond them."""
    x, y = torch.tensor(table, dtype=p.dtype, device=p.device).T.contiguous().unbind()
    if len(x) == 1:
        return y.expand_as(p) + 0 * p  # what is not a number stays none
    slopes = y.diff() / x.diff()
    p = p.clamp(min=float(x[0]), max=float(x[-1]))
    before = torch.bucketize(p, x[1:-1], right=True)
    return torch.addcmul(y[before], slopes[before], p - x[before])
