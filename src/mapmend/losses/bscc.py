"""BSCC, bi-temporal semantic correlation capture: features agree where nothing changed, and part where it did."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-4  # ε, as published
_HALF = 0.5  # which rounds to 0


def semantic_correlation(
    first: Tensor, second: Tensor, change: Tensor, *, margin: float = 2.0, counted: Tensor | None = None
) -> Tensor:
    """Contrast of both dates' features that the predicted change gates.

    With d = |F_A − F_B| of D channels, p = sigmoid of the change logit and the gate round(p),

        L = 1/D · { ½ Σ_{gate=0} (1 − p) Σ_k d_k² / (Σ_{gate=0} (1 − p) + ε)
                  + ½ Σ_{gate=1} p Σ_k max(margin − d_k, 0)² / (Σ_{gate=1} p + ε) }.

    Tang et al., "The ClearSCD model" (ISPRS J. 211, 2024), as its public code has it: features are not normalised, and
    p learns as well; give a detached logit for a p that does not.

    Args:
        first: F_A, B×D×h×w.
        second: F_B, likewise.
        change: logit, B×1×h×w.
        margin: by which features of changed places shall differ, per channel.
        counted: B×h×w bool, pixels that count; all where None.

    Returns:
        A float32 scalar; 0 where no pixel counts.
    """
    apart = first.float() - second.float()
    p = change.float().sigmoid()[:, 0]
    gate = p.detach() > _HALF
    counts = torch.ones_like(gate) if counted is None else counted
    together = torch.where(gate, 0, 1 - p) * counts
    parted = gate & counts  # few; the margin is asked of these alone
    away, rows = p[parted], apart.movedim(1, -1)[parted]
    near = (together * apart.square().sum(1)).sum() / (together.sum() + _LEAST)
    far = (away * (margin - rows.abs()).clamp(min=0).square().sum(1)).sum() / (away.sum() + _LEAST)
    return (near + far) / (2 * first.shape[1])
