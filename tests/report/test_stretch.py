import numpy as np
import pytest

from mapmend.core.sensor import Band
from mapmend.report.stretch import display_bands, stretch


def test_each_band_runs_from_its_2nd_to_its_98th_percentile():
    ramp = np.arange(101, dtype=np.uint16).reshape(1, 101)
    shown = stretch(np.stack([ramp, 10 * ramp, 100 - ramp]), np.ones((1, 101), bool))
    assert shown.shape == (1, 101, 3) and shown.dtype == np.uint8
    assert shown[0, 2].tolist() == [0, 0, 255] and shown[0, 98].tolist() == [255, 255, 0]
    assert shown[0, 50].tolist() == [128, 128, 128]
    assert shown[0, 0, 0] == 0 and shown[0, 100, 0] == 255


def test_invalid_pixels_do_not_count_and_are_grey():
    pixels = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (3, 1, 1))
    valid = np.ones((1, 50), bool)
    plain = stretch(pixels, valid)
    spoiled = np.concatenate(
        [pixels, np.full((3, 1, 9), 1e6, np.float32), np.full((3, 1, 1), np.nan, np.float32)], axis=2
    )
    shown = stretch(spoiled, np.concatenate([valid, np.zeros((1, 9), bool), np.ones((1, 1), bool)], axis=1))
    assert np.array_equal(shown[:, :50], plain)
    assert (shown[:, 50:] == shown[0, 50]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_bands_are_grey(count):
    shown = stretch(np.random.default_rng(0).random((count, 8, 8)), np.ones((8, 8), bool))
    assert (shown[..., 0] == shown[..., 1]).all() and (shown[..., 0] == shown[..., 2]).all() and shown.std() > 0


def test_chosen_bands_are_shown_in_their_order():
    pixels = np.random.default_rng(0).random((5, 8, 8))
    valid = np.ones((8, 8), bool)
    assert np.array_equal(stretch(pixels, valid, (4, 2, 0)), stretch(pixels[[4, 2, 0]], valid))


def test_a_constant_band_and_an_empty_image():
    assert (stretch(np.full((3, 4, 4), 7, np.uint8), np.ones((4, 4), bool)) == 128).all()
    assert stretch(np.zeros((3, 4, 4), np.int16), np.zeros((4, 4), bool)).shape == (4, 4, 3)


def test_red_green_and_blue_are_found():
    wavelengths = [443, 490, 560, 665, 705, 842]
    assert display_bands([Band(f"B{i}", nm) for i, nm in enumerate(wavelengths)]) == (3, 2, 1)
    assert display_bands([Band(name) for name in ("nir", "blue", "green", "red")]) == (3, 2, 1)
    assert display_bands([Band("a"), Band("b"), Band("c"), Band("d")]) == (0, 1, 2)
    assert display_bands([Band("vv"), Band("vh")]) == (0,)
