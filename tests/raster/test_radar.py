"""Radar as decibels: units against closed forms, filters against naive loops, and what is refused."""

import numpy as np
import pytest
import rasterio
from tests.data.scenery import grid, write

from mapmend.core.errors import RasterError, SensorError
from mapmend.core.grid import Window, full_window
from mapmend.core.manifest import Row
from mapmend.core.sensor import Band, Sensor, load_sensor
from mapmend.data.prepare import prepare
from mapmend.raster.radar import half_window, lee, refined_lee
from mapmend.raster.reading import ImageSource, Reader


def card(unit="amplitude", **more):
    return Sensor("sar", (Band("vv"),), kind="radar", unit=unit, **more)


def image(path, values, **more):
    return ImageSource((write(path, values, grid(*values.shape[-2:])),), ("vv",), card(**more))


def speckled(height=24, width=30, looks=4, seed=0):
    """Two fields 10 dB apart under gamma speckle."""
    rng = np.random.default_rng(seed)
    power = np.where(np.arange(width) < width // 2, 0.02, 0.2) * np.ones((height, 1))
    return (power * rng.gamma(looks, 1 / looks, power.shape)).astype(np.float32)


def test_units_are_what_the_card_says(tmp_path):
    power = speckled()
    given = {
        "power": (power, {}),
        "amplitude": (np.sqrt(power), {}),
        "dB": (10 * np.log10(power), {}),
        "scaled": ((100 * np.sqrt(power)).astype(np.float32), {"unit": "amplitude", "scale": 0.01}),
    }
    for name, (values, more) in given.items():
        source = image(tmp_path / f"{name}.tif", values[None], **{"unit": name, **more})
        pixels, valid = Reader(source).read(full_window(grid(24, 30)))
        assert pixels.dtype == np.float32 and valid.all()
        np.testing.assert_allclose(pixels[0], 10 * np.log10(power), atol=1e-3)


def test_values_are_clipped_and_no_echo_is_no_data(tmp_path):
    values = np.full((1, 8, 8), 100, np.uint8)
    values[0, 0], values[0, 1] = 0, 1
    pixels, valid = Reader(image(tmp_path / "a.tif", values, clip=(10, 30))).read(Window(0, 0, 8, 8))
    assert not valid[0].any() and valid[1:].all()
    assert (pixels[0, 0] == 0).all() and (pixels[0, 1] == 10).all() and (pixels[0, 2:] == 30).all()


def naive_lee(power, valid, looks, window=None):
    out = np.zeros_like(power, np.float64)
    window = np.ones((7, 7)) if window is None else window
    for r, c in np.ndindex(*power.shape):
        seen = [
            float(power[r + i - 3, c + j - 3])
            for i, j in np.ndindex(7, 7)
            if window[i, j] and 0 <= r + i - 3 < power.shape[0] and 0 <= c + j - 3 < power.shape[1]
            if valid[r + i - 3, c + j - 3]
        ]
        mean, variance = (np.mean(seen), np.var(seen)) if seen else (0.0, 0.0)
        k = max(0.0, variance - mean**2 / looks) / (variance * (1 + 1 / looks)) if variance > 1e-12 else 0.0
        out[r, c] = mean + k * (float(power[r, c]) - mean)
    return out


def test_lee_is_the_formula_pixel_by_pixel():
    power = speckled(12, 14)
    valid = np.random.default_rng(1).random(power.shape) > 0.2
    np.testing.assert_allclose(
        lee(power * valid, valid, 4)[valid], naive_lee(power, valid, 4)[valid], rtol=2e-3, atol=1e-5
    )


def test_refined_lee_takes_the_pixel_s_side_of_an_edge():
    """Left and right of the edge, a half that lies, straight or aslant, on the side of the own field."""
    power, valid = speckled(20, 30, looks=200), np.ones((20, 30), bool)
    refined = refined_lee(power, valid, 4)
    for column, side in ((14, "left"), (15, "right")):
        halves = [half_window(name) for name in (side, f"up_{side}", f"down_{side}")]
        same = [np.isclose(refined[:, column], naive_lee(power, valid, 4, one)[:, column], rtol=2e-3) for one in halves]
        assert np.any(same, axis=0)[3:-3].mean() > 0.9
    edge, power = slice(12, 18), speckled(20, 30)
    refined = refined_lee(power, valid, 4)
    truth = np.where(np.arange(30) < 15, 0.02, 0.2) * np.ones((20, 1))
    faults = [np.abs(np.log(maps[:, edge] / truth[:, edge])).mean() for maps in (refined, lee(power, valid, 4))]
    assert faults[0] < faults[1]


@pytest.mark.parametrize("speckle", ["lee", "refined_lee"])
def test_filtered_speckle_is_calmer_and_keeps_the_mean_and_does_not_know_the_window(tmp_path, speckle):
    source = image(tmp_path / "a.tif", speckled(60, 60)[None], unit="power", speckle=speckle)
    plain = Reader(image(tmp_path / "a.tif", speckled(60, 60)[None], unit="power"))
    reader, whole = Reader(source), full_window(grid(60, 60))
    filtered, raw = reader.read(whole)[0][0], plain.read(whole)[0][0]
    left = (slice(5, 55), slice(5, 22))
    assert filtered[left].std() < 0.6 * raw[left].std()
    assert np.mean(10 ** (filtered[left] / 10)) == pytest.approx(np.mean(10 ** (raw[left] / 10)), rel=0.05)
    part = Window(17, 9, 20, 31)
    np.testing.assert_array_equal(reader.read(part)[0][0], filtered[17:37, 9:40])


def test_prepared_statistics_are_of_decibels_and_files_keep_their_numbers(tmp_path):
    power = speckled(64, 64)
    path = write(tmp_path / "a.tif", power[None], grid(64, 64), tiled=False)
    row = Row("here", sensor="sar", image=(str(path),))
    prepared = prepare([row], {"sar": card("power")}, load_sensor_legend(), tmp_path / "out")
    [made] = prepared.sites[0].images
    assert made.statistics.mean[0] == pytest.approx(float(np.mean(10 * np.log10(power))), abs=1e-3)
    assert made.statistics.low[0] == pytest.approx(float(power.min()))
    with rasterio.open(made.source.files[0]) as file:
        np.testing.assert_array_equal(file.read(1), power)


def load_sensor_legend():
    from mapmend.core.legend import load_legend

    return load_legend("water")


def test_a_radar_scene_without_any_echo_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, 64, 64), np.uint8), grid(64, 64))
    row = Row("here", sensor="sar", image=(str(path),))
    with pytest.raises(RasterError, match="has no valid pixel"):
        prepare([row], {"sar": card()}, load_sensor_legend(), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tif"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"unit": "DN"}, "is radar, and its unit 'DN' does not say what the numbers are"),
        ({"clip": (3, 3)}, "clip is empty"),
        ({"looks": 0}, "looks must be above 0"),
        ({"kind": "optical", "unit": "DN", "speckle": "lee"}, "clip and speckle are of radar"),
    ],
)
def test_radar_that_does_not_say_what_it_holds_is_refused_in_one_line(changes, told):
    with pytest.raises(SensorError, match=told) as fault:
        Sensor(**{"name": "sar", "bands": (Band("vv"),), "kind": "radar", "unit": "dB", **changes})
    assert "\n" not in str(fault.value)
    with pytest.raises(SensorError):
        load_sensor({"kind": "radar", "name": "sar", "bands": ["vv"]})


def test_what_a_filter_makes_of_numbers_is_part_of_their_meaning():
    assert card().differs_in(card(speckle="lee")) == "speckle"
    assert "speckle" not in card().to_dict() and card(speckle="lee").to_dict()["speckle"] == "lee"
    assert Sensor.from_dict(card(speckle="lee", clip=(1, 2)).to_dict()) == card(speckle="lee", clip=(1, 2))
