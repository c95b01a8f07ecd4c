"""The noise lab: every way in which a label is wrong, made on purpose from one that is right."""

from mapmend.data.noise import coverage, geometry, presence, scale, swapping
from mapmend.data.noise.injecting import INJECTORS, Injector, Noised, Truth, inject, make_injector

__all__ = [
    "INJECTORS",
    "Injector",
    "Noised",
    "Truth",
    "coverage",
    "geometry",
    "inject",
    "make_injector",
    "presence",
    "scale",
    "swapping",
]
