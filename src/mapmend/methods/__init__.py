"""The ways to learn, one file each; importing the package registers all of them in `METHODS`."""

from importlib import import_module
from pkgutil import iter_modules

from mapmend.methods.method import METHODS, Method, StepState

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["METHODS", "Method", "StepState"]
