"""Maps of a calibrated model: the device's arithmetic is the reference's, and bytes do not depend on blocks."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_predictors import Constant, Local
from tiny_scenes import random_pixels, read, write_scene

from mapmend.core.calibration import Calibration
from mapmend.core.errors import ModelError
from mapmend.core.grid import Window
from mapmend.predict.calibrated import calibrated
from mapmend.predict.job import predict_scene
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import TorchPredictor
from mapmend.predict.probabilities import blended_probabilities

TABLES = (((0.0, 0.01), (0.5, 0.3), (0.9, 0.3)), ((0.2, 0.4),), ((0.1, 0.05), (0.4, 0.2), (1.0, 0.8)))
EVERY = [
    Calibration("temperature", 2.2),
    Calibration("temperature", 0.4),
    Calibration("vector", weights=(0.6, 1.4, 1.0), biases=(1.0, -0.5, 0.0)),
    Calibration("isotonic", tables=TABLES),
]
NAMES = ("temperature above", "temperature below", "vector", "isotonic")


def model_of(legend, calibration, network=None, **more):
    network = network or Local()
    settings = {"device": "cpu", "batch": 3, "weights": "test", **more}
    return TorchPredictor(network, legend, (), Lattice(64, 16), calibration=calibration, **settings)


@pytest.fixture
def scene(tmp_path):
    pixels = random_pixels(150, 170)
    pixels[:, 20:50, 100:] = 0
    return write_scene(tmp_path, pixels)


@pytest.mark.parametrize("calibration", EVERY, ids=NAMES)
def test_the_device_s_arithmetic_is_that_of_the_value(calibration):
    p = np.random.default_rng(0).dirichlet([0.3, 0.5, 1.0], (40, 50)).transpose(2, 0, 1).astype(np.float32)
    p[:, 0, 0] = 0, 1, 0
    found = calibrated(torch.from_numpy(p), calibration).numpy()
    assert np.abs(found - calibration.apply(p.astype(np.float64))).max() < 1e-6


@pytest.mark.parametrize("calibration", EVERY, ids=NAMES)
def test_the_map_is_the_calibration_of_the_blended_probabilities(calibration, legend, scene, tmp_path):
    model = model_of(legend, calibration)
    result = predict_scene(model, scene, tmp_path / "map", block=96)
    shares, valid = blended_probabilities(model, scene, Window(0, 0, 150, 170))
    expected = calibration.apply(shares[:, valid[0]].astype(np.float64))
    ids, confidence = read(result.class_path), read(result.confidence_path)
    np.testing.assert_array_equal(ids[valid[0]], np.array(legend.ids)[expected.argmax(0)])
    np.testing.assert_array_equal(confidence[valid[0]], np.rint(200 * expected.max(0)))
    assert (ids[~valid[0]] == 255).all() and (confidence[~valid[0]] == 255).all()


@pytest.mark.parametrize("calibration", EVERY, ids=NAMES)
def test_a_calibrated_map_s_bytes_do_not_depend_on_the_size_of_blocks(calibration, legend, scene, tmp_path):
    model = model_of(legend, calibration)
    maps = [
        predict_scene(model, scene, tmp_path / f"map{side}", block=side, probabilities="forest") for side in (96, 512)
    ]
    for layer in ("class", "confidence", "probability_forest"):
        assert len({(result.folder / f"{layer}.tif").read_bytes() for result in maps}) == 1


def test_a_temperature_leaves_the_classes_as_they_are(legend, scene, tmp_path):
    plain = predict_scene(model_of(legend, None), scene, tmp_path / "plain")
    warm = predict_scene(model_of(legend, EVERY[0]), scene, tmp_path / "warm")
    np.testing.assert_array_equal(read(plain.class_path), read(warm.class_path))
    valid = read(plain.class_path) != 255
    before, after = read(plain.confidence_path)[valid].astype(int), read(warm.confidence_path)[valid].astype(int)
    assert (after <= before).all() and after.mean() < before.mean() - 5


def test_change_is_the_distance_of_the_calibrated_posteriors(legend, tmp_path):
    first = write_scene(tmp_path, random_pixels(100, 120), name="old")
    second = write_scene(tmp_path, random_pixels(100, 120, seed=1), name="new")
    pair = replace(second, before=first.sources)
    model = model_of(legend, EVERY[2])
    result = predict_scene(model, pair, tmp_path / "map", probabilities=["forest"])
    whole = Window(0, 0, 100, 120)
    before, after = (
        EVERY[2].apply(blended_probabilities(model, one, whole)[0].astype(np.float64)) for one in (first, second)
    )
    distance = np.abs(before - after).sum(0) / 2
    np.testing.assert_array_equal(read(result.change_path), np.rint(200 * distance))
    np.testing.assert_array_equal(read(result.probability_paths["forest"]), np.rint(200 * after[1]))


def test_numbers_that_are_none_are_found_behind_every_calibration(legend, tmp_path):
    scene = write_scene(tmp_path, random_pixels(64, 64))
    for number, calibration in enumerate(EVERY):
        model = model_of(legend, calibration, Constant([0.0, float("nan"), 0.5]))
        with pytest.raises(ModelError, match="not numbers"):
            predict_scene(model, scene, tmp_path / f"map{number}")


def test_the_record_says_how_a_map_was_calibrated(legend, scene, tmp_path):
    predict_scene(model_of(legend, EVERY[0]), scene, tmp_path / "map")
    config = json.loads((tmp_path / "map" / "mapmend.json").read_text())["config"]
    assert config["calibration"] == {"kind": "temperature", "temperature": 2.2}
