"""How probabilities are stored in 8 bits."""

STEPS = 200
"""A probability p is stored as round(200·p), in steps of half a per cent; 255 says that there is none."""
