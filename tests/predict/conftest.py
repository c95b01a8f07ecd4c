import sys
from pathlib import Path

import pytest

from mapmend.core.classes import Legend, LegendClass

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_scenes and tiny_predictors, which child processes import too


@pytest.fixture
def legend():
    classes = (LegendClass(10, "water", "#0000aa"), LegendClass(20, "forest", "#00aa00"))
    return Legend("three", (*classes, LegendClass(44, "field", "#aaaa00")))
