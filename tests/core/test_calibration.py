"""Calibrations as values: their arithmetic by naive loops, and what is refused."""

import json
import math

import numpy as np
import pytest

from mapmend.core.calibration import Calibration
from mapmend.core.errors import ModelError

TABLES = (((0.0, 0.01), (0.5, 0.3), (0.9, 0.3)), ((0.2, 0.4),), ((0.1, 0.05), (1.0, 0.8)))
EVERY = [
    Calibration("temperature", 1.7),
    Calibration("vector", weights=(0.8, 1.3, 1.0), biases=(0.1, -0.4, 0.0)),
    Calibration("isotonic", tables=TABLES),
]


def _interpolated(x, table):
    if x <= table[0][0]:
        return table[0][1]
    for (x0, y0), (x1, y1) in zip(table, table[1:], strict=False):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return table[-1][1]


def _naive(calibration, p):
    if calibration.kind == "temperature":
        raw = [each ** (1 / calibration.temperature) for each in p]
    elif calibration.kind == "vector":
        raw = [each**w * math.exp(b) for each, w, b in zip(p, calibration.weights, calibration.biases, strict=True)]
    else:
        raw = [_interpolated(each, table) for each, table in zip(p, calibration.tables, strict=True)]
    return [each / sum(raw) for each in raw]


@pytest.mark.parametrize("calibration", EVERY, ids=lambda one: one.kind)
def test_each_kind_is_its_formula_pixel_by_pixel(calibration):
    p = np.random.default_rng(0).dirichlet(np.ones(3) * 0.4, (5, 7)).transpose(2, 0, 1)
    found = calibration.apply(p)
    for row in range(5):
        for col in range(7):
            np.testing.assert_allclose(found[:, row, col], _naive(calibration, p[:, row, col]), rtol=1e-9)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-12)
    single = calibration.apply(p.astype(np.float32))
    assert single.dtype == np.float32 and np.abs(single - found).max() < 1e-6


@pytest.mark.parametrize("calibration", EVERY, ids=lambda one: one.kind)
def test_certain_probabilities_stay_numbers(calibration):
    found = calibration.apply(np.eye(3))
    assert np.isfinite(found).all() and np.allclose(found.sum(0), 1)


@pytest.mark.parametrize("temperature", [0.3, 3.0])
def test_temperature_keeps_the_most_probable_class_and_moves_its_probability(temperature):
    p = np.random.default_rng(1).dirichlet(np.ones(6), 500).T
    found = Calibration("temperature", temperature).apply(p)
    np.testing.assert_array_equal(found.argmax(0), p.argmax(0))
    assert (found.max(0) > p.max(0)).all() == (temperature < 1)


@pytest.mark.parametrize("calibration", EVERY, ids=lambda one: one.kind)
def test_plain_values_and_back(calibration):
    plain = json.loads(json.dumps(calibration.to_dict()))
    assert Calibration.from_dict(plain) == calibration


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ({"kind": "platt"}, "kind"),
        ({}, "kind"),
        ({"kind": "temperature", "temprature": 2.0}, "did you mean 'temperature'"),
        ({"kind": "temperature", "temperature": "warm"}, "temperature"),
        ({"kind": "temperature", "temperature": 0.0}, "above 0"),
        ({"kind": "temperature", "temperature": float("nan")}, "finite"),
        ({"kind": "temperature", "weights": [1.0], "biases": [0.0]}, "does not use"),
        ({"kind": "vector", "weights": [1.0, 1.0], "biases": [0.0]}, "2 weights and 1 biases"),
        ({"kind": "vector"}, "0 weights"),
        ({"kind": "vector", "weights": [-1.0, 1.0], "biases": [0.0, 0.0]}, "above 0"),
        ({"kind": "isotonic", "tables": []}, "table"),
        ({"kind": "isotonic", "tables": [[[0.0, 0.5], [1.0, 0.4]]]}, "falls"),
        ({"kind": "isotonic", "tables": [[[0.5, 0.5], [0.5, 0.6]]]}, "table"),
        ({"kind": "isotonic", "tables": [[[0.0, 0.0], [1.0, 1.0]]]}, "above 0"),
    ],
)
def test_what_is_no_calibration_is_one_line_that_names_the_place(plain, told):
    with pytest.raises(ModelError, match=told) as fault:
        Calibration.from_dict(plain, where="model.json")
    assert str(fault.value).startswith("model.json") and "\n" not in str(fault.value)
