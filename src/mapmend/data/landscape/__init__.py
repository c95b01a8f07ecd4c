"""A generated landscape of two dates, for the demo, for tests and for experiments whose truth must be known."""

from mapmend.data.landscape.folder import DATES, write_landscape
from mapmend.data.landscape.generation import OPTICAL_BANDS, RADAR_BANDS, Landscape, generate

__all__ = ["DATES", "OPTICAL_BANDS", "RADAR_BANDS", "Landscape", "generate", "write_landscape"]
