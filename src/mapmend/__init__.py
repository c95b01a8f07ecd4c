"""mapmend mends land-cover maps."""

__version__ = "0.1.0"
