import sys
from pathlib import Path

import pytest

from mapmend.core.classes import Legend, LegendClass

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_scenes and tiny_predictors, which child processes import too


@pytest.fixture
def legend():
    classes = (LegendClass(10, "water", "#0000aa"), LegendClass(20, "forest", "#00aa00"))
    return Legend("three", (*classes, LegendClass(44, "field", "#aaaa00")))


@pytest.fixture
def scene(tmp_path):
    from tiny_scenes import random_pixels, write_scene

    pixels = random_pixels(150, 170)
    pixels[:, 20:50, 100:] = 0
    return write_scene(tmp_path, pixels)


@pytest.fixture
def model(legend):
    from tiny_predictors import Counting, Local, predictor

    return Counting(predictor(Local(), legend))
