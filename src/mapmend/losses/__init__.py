"""Losses, one file per family; what is 255 in the target never counts, and no label at all gives 0 with a gradient."""
