import numpy as np
import pytest
from tiny_scenes import random_pixels, sensor, write_image

from mapmend.core.errors import SensorError
from mapmend.core.grid import Window
from mapmend.predict.scene import SceneReader, scene_of_files


def test_files_become_one_image_per_card_in_order(tmp_path):
    optical, radar = random_pixels(40, 50), random_pixels(40, 50, bands=1, seed=2).astype(np.int16)
    files = [str(write_image(tmp_path / name, pixels)) for name, pixels in (("o.tif", optical), ("r.tif", radar))]
    scene = scene_of_files(files, [sensor(3, "optical"), sensor(1, "radar")])
    assert scene.name == "o" and tuple(scene.grid.shape) == (40, 50)
    pixels, valid = SceneReader(scene).read(Window(0, 0, 40, 50))
    np.testing.assert_array_equal(pixels, np.concatenate([optical, radar]))
    assert pixels.dtype == np.int16 and valid.shape == (2, 40, 50)


def test_several_files_of_one_card_are_its_bands(tmp_path):
    pixels = random_pixels(40, 50, bands=2)
    files = [str(write_image(tmp_path / f"b{band}.tif", pixels[band : band + 1])) for band in (1, 0)]
    scene = scene_of_files(files, [sensor(2)])
    np.testing.assert_array_equal(SceneReader(scene).read(Window(0, 0, 40, 50))[0], pixels)


def test_another_number_of_files_than_cards_is_refused(tmp_path):
    file = str(write_image(tmp_path / "a.tif", random_pixels(40, 50)))
    with pytest.raises(SensorError, match=r"1 image files, the model wants 2 \(optical, radar\)"):
        scene_of_files([file], [sensor(3, "optical"), sensor(1, "radar")])
