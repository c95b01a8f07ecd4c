"""The three-state map as a file."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from mapmend.core.errors import RasterError
from mapmend.core.three_state import ThreeState
from mapmend.raster import three_state
from mapmend.raster.three_state import write_three_state

THRESHOLDS = ThreeState(150, 40, 0.05, 0.1, 0.05, "bootstrap", 60, 9000, 0.25, 0.03, None)


def probability(path, values, dtype="uint8"):
    values = np.asarray(values, dtype)
    bands = values[None] if values.ndim == 2 else values
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": 255}
    with rasterio.open(path, "w", "GTiff", bands.shape[2], bands.shape[1], len(bands), dtype=dtype, **place) as file:
        file.write(bands)
    return path


def test_every_pixel_has_its_state_and_the_shares_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(three_state, "_SIDE", 32)
    steps = np.random.default_rng(0).integers(0, 201, (70, 90), dtype=np.uint8)
    steps[:5] = 255
    steps[5, :4] = 39, 40, 149, 150
    shares = write_three_state(probability(tmp_path / "p.tif", steps), tmp_path / "c.tif", THRESHOLDS, "forest")
    expected = np.where(steps == 255, 255, np.where(steps >= 150, 1, np.where(steps < 40, 0, 2)))
    with rasterio.open(tmp_path / "c.tif") as file:
        assert np.array_equal(file.read(1), expected) and file.nodata == 255
        assert file.tags()["three_state_upper"] == "150" and file.tags()["three_state_omission"] == "0.1"
        assert file.tags()["three_state_false_omission"] == "none"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.colormap(1)[1] == (0x1F, 0x7A, 0x4D, 255)
    assert "<Category>not forest</Category>" in (tmp_path / "c.tif.aux.xml").read_text()
    assert (shares.pixels, shares.called) == (65 * 90, (expected == 1).sum() / (65 * 90))
    assert shares.called + shares.denied + shares.abstains == pytest.approx(1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c.tif", "c.tif.aux.xml", "p.tif"]


def test_without_a_promise_nothing_is_called(tmp_path):
    nothing = ThreeState(None, None, 0.05, 0.05, 0.05, "bootstrap", 9, 900, 1.0, None, None)
    shares = write_three_state(probability(tmp_path / "p.tif", [[0, 200, 255]]), tmp_path / "c.tif", nothing, "forest")
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.read(1).tolist() == [[2, 2, 255]]
    assert (shares.called, shares.denied, shares.abstains) == (0, 0, 1)


def test_a_map_without_data_has_no_shares(tmp_path):
    file = probability(tmp_path / "p.tif", [[255, 255]])
    shares = write_three_state(file, tmp_path / "c.tif", THRESHOLDS, "forest")
    assert (shares.pixels, shares.called, shares.abstains) == (0, None, None)


@pytest.mark.parametrize(
    "values, dtype, said",
    [
        ([[1, 201]], "uint8", "holds 201, which is no probability"),
        ([[1, 2]], "uint16", "1 bands of uint16"),
        (np.zeros((2, 1, 2)), "uint8", "has 2 bands"),
    ],
)
def test_what_is_no_probability_is_refused_and_nothing_is_left(tmp_path, values, dtype, said):
    with pytest.raises(RasterError, match=said):
        write_three_state(probability(tmp_path / "p.tif", values, dtype), tmp_path / "c.tif", THRESHOLDS, "forest")
    assert [file.name for file in tmp_path.iterdir()] == ["p.tif"]
