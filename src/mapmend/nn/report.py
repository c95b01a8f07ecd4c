"""What a network starts from, for the log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightsReport:
    """Where the weights came from.

    Attributes:
        source: none, hub, lite0, file or model.
        loaded: tensors that were taken over, in full or in part.
        total: the encoder's tensors, or the whole network's after a warm start.
        detail: in words.
    """

    source: str
    loaded: int
    total: int
    detail: str

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.detail} ({self.loaded} of {self.total} tensors)"
