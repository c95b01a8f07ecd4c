"""The learning rate as a pure function of progress: nothing to store, nothing to resume."""

import math

from mapmend.train.config import LoopConfig


def rate_factor(progress: float, config: LoopConfig) -> float:
    """What the learning rate is multiplied with when a share `progress` of the training is done.

    It rises linearly to 1 over the warm-up, then falls to 0 along a line (poly) or half a cosine, or stays (constant).
    """
    if progress < config.warmup:
        # one half step's worth above 0, or the first step would learn nothing
        return (progress + 0.5 / config.steps) / (config.warmup + 0.5 / config.steps)
    left = 1 - (progress - config.warmup) / (1 - config.warmup) if config.warmup < 1 else 0.0
    left = min(1.0, max(0.0, left))
    if config.schedule == "poly":
        return left
    if config.schedule == "cosine":
        return 0.5 - 0.5 * math.cos(math.pi * left)
    return 1.0
