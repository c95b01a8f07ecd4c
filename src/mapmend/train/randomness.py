"""Random draws as a pure function of (seed, step, rank), so that there is no generator's state to store."""

import hashlib
import random

import numpy as np
import torch


def seed_of(*numbers: int) -> int:
    """A 63-bit seed that any change of a number changes altogether."""
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def seed_everything(*numbers: int) -> torch.Generator:
    """Seed every global generator (torch on all devices, Python, numpy) and return a CPU generator of its own seed."""
    seed = seed_of(*numbers)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - a library that draws from it must repeat as well
    return torch.Generator().manual_seed(seed_of(seed))
