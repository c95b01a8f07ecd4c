"""Class shares found without labels, where the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_predictors import Constant, Local, predictor
from tiny_scenes import random_pixels, read, write_scene

from mapmend.core.calibration import Calibration, with_class_weights
from mapmend.core.errors import ModelError
from mapmend.core.grid import Window
from mapmend.predict.class_shares import class_shares, estimated_shares, with_class_shares
from mapmend.predict.job import predict_scene
from mapmend.predict.pair import fitted
from mapmend.predict.probabilities import blended_probabilities

LEARNED = np.array([0.7, 0.2, 0.1])


def posteriors(shares, count=40_000, seed=0):
    """Of three Gaussian classes, by a model that learned them at other shares."""
    rng = np.random.default_rng(seed)
    x = rng.choice(3, count, p=shares) * 1.5 + rng.standard_normal(count)
    weighed = LEARNED[:, None] * np.exp(-0.5 * (x - 1.5 * np.arange(3)[:, None]) ** 2)
    return weighed / weighed.sum(0)


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (0.2, 0.3, 0.5), (0.1, 0.9, 0.0)])
def test_shares_of_a_known_mixture_are_found(shares):
    np.testing.assert_allclose(estimated_shares(posteriors(shares), LEARNED), shares, atol=0.015)


def test_without_a_pixel_the_learned_shares_stand():
    np.testing.assert_allclose(estimated_shares(np.zeros((3, 0)), 5 * LEARNED), LEARNED)


@pytest.mark.parametrize(
    "calibration",
    [None, Calibration("temperature", 1.7), Calibration("vector", weights=(1.0, 0.5, 2.0), biases=(0.1, 0.0, -0.3))],
)
def test_weights_multiply_calibrated_probabilities(calibration):
    p = np.random.default_rng(0).dirichlet(np.ones(3), 50).T
    weights = np.array([2.0, 0.5, 1.0])
    expected = (p if calibration is None else calibration.apply(p)) * weights[:, None]
    found = with_class_weights(calibration, tuple(weights)).apply(p)
    np.testing.assert_allclose(found, expected / expected.sum(0), atol=1e-12)


def test_tables_know_nothing_of_weights():
    table = ((0.1, 0.2), (0.9, 0.8))
    with pytest.raises(ModelError, match="isotonic"):
        with_class_weights(Calibration("isotonic", tables=(table,) * 3), (1.0, 2.0, 3.0))


def test_a_map_rests_on_the_shares_that_it_is_given(legend, scene, tmp_path):
    plain = predictor(Local(), legend)
    found = class_shares(plain, LEARNED, [scene])
    p, wanted = blended_probabilities(plain, scene, Window(0, 0, 150, 170))
    np.testing.assert_allclose(found, estimated_shares(p[:, wanted[0]].astype(float), LEARNED), atol=0.03)
    shifted = with_class_shares(plain, LEARNED, found)
    made = predict_scene(shifted, scene, tmp_path / "map", block=96)
    weighed = p * (found / LEARNED)[:, None, None]
    weighed /= weighed.sum(0)
    ids, sure, top = read(made.class_path), read(made.confidence_path), np.sort(weighed, axis=0)
    clear = wanted[0] & (top[-1] - top[-2] > 1e-4)
    np.testing.assert_array_equal(ids[clear], legend.id_lut[weighed.argmax(0)][clear])
    assert np.abs(sure[wanted[0]] / 200 - weighed.max(0)[wanted[0]]).max() < 0.0026
    assert shifted.identity != plain.identity and fitted(shifted, scene)[0].calibration == shifted.calibration


def test_one_s_own_calibration_comes_first(legend, tmp_path):
    member = predictor(Constant((1.0, 0.0, 0.0)), legend)
    member.calibration = Calibration("temperature", 2.0)
    place = write_scene(tmp_path, random_pixels(70, 80))
    found = class_shares(member, LEARNED, [replace(place, name="again")])
    p = np.exp([0.5, 0.0, 0.0]) / np.exp([0.5, 0.0, 0.0]).sum()
    np.testing.assert_allclose(found, estimated_shares(p[:, None], LEARNED), atol=1e-4)
