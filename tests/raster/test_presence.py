"""Labels told by presence: masks that are not 0, features without a class."""

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine

from mapmend.core.errors import GridError
from mapmend.core.grid import Window, full_window, make_grid
from mapmend.raster.presence import PresenceReader

pytestmark = pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")

GRID = make_grid((60, 80), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
WHOLE = full_window(GRID)


def blob(seed):
    marks = np.zeros((60, 80), np.uint8)
    rng = np.random.default_rng(seed)
    for row, col in rng.integers(0, 60, (12, 2)):
        marks[row : row + 6, col : col + 9] = rng.integers(1, 256)
    return marks


def test_every_pixel_follows_the_rule(write_raster):
    """Asked pixel by pixel: one mark gives a class, two or an unknown one none, no mark the rest."""
    arrays = [blob(seed) for seed in range(3)]
    arrays[2][50:, :10] = 7
    paths = [write_raster(f"{n}.tif", array, nodata=7 if n == 2 else None) for n, array in enumerate(arrays)]
    reader = PresenceReader([(4, paths[0]), (5, paths[1]), (6, paths[2])], 9, GRID)
    ids = reader.read(WHOLE)
    conflicts = 0
    for row in range(60):
        for col in range(80):
            values = [int(array[row, col]) for array in arrays]
            unknown = values[2] == 7
            marked = [id_ for id_, value in zip((4, 5, 6), values, strict=True) if value and not (id_ == 6 and unknown)]
            expected = marked[0] if len(marked) == 1 else 255 if marked or unknown else 9
            conflicts += len(marked) > 1
            assert ids[row, col] == expected
    assert conflicts > 0 and reader.conflicts == conflicts
    part = Window(20, 30, 25, 25)
    assert (PresenceReader([(4, paths[0]), (5, paths[1]), (6, paths[2])], 9, GRID).read(part) == ids[part.slices]).all()


def test_nothing_is_known_outside_the_grid(write_raster):
    reader = PresenceReader([(1, write_raster("m.tif", blob(0)))], 0, GRID)
    ids = reader.read(Window(-5, -5, 10, 10))
    assert (ids[:5] == 255).all() and (ids[:, :5] == 255).all() and (ids[5:, 5:] != 255).all()


def test_a_lossy_mask_marks_from_half_on(write_raster):
    marks = np.where(blob(1) > 0, 255, 0).astype(np.uint8)
    path = write_raster("m.jpg", marks, crs=None, transform=None, driver="JPEG", quality=60)
    ids = PresenceReader([(1, path)], 0, GRID).read(WHOLE)
    assert (ids == (marks > 0)).mean() > 0.99
    with_noise = PresenceReader([(1, write_raster("n.tif", np.full((60, 80), 3, np.uint8)))], 0, GRID)
    assert (with_noise.read(WHOLE) == 1).all()


def test_a_colour_image_and_a_mask_of_reals(write_raster):
    rgb = np.zeros((3, 60, 80), np.uint8)
    rgb[1, 10:20] = 200
    assert (PresenceReader([(1, write_raster("c.tif", rgb))], 0, GRID).read(WHOLE)[:, 0] == (rgb[1, :, 0] > 0)).all()
    reals = np.zeros((60, 80), np.float32)
    reals[5], reals[6] = 0.25, np.nan
    ids = PresenceReader([(1, write_raster("f.tif", reals))], 0, GRID).read(WHOLE)
    assert (ids[5] == 1).all() and (ids[6] == 255).all() and (ids[7] == 0).all()


def test_a_finer_mask_goes_by_the_majority(write_raster):
    fine = np.zeros((180, 240), np.uint8)
    fine[::3, ::3] = 1  # one of nine
    fine[:90:, 1::3] = fine[:90, 2::3] = 1  # six more of nine
    path = write_raster("fine.tif", fine, transform=Affine(10 / 3, 0, 500000, 0, -10 / 3, 4000000))
    ids = PresenceReader([(1, path)], 0, GRID, mode=True).read(WHOLE)
    assert (ids[:30] == 1).all() and (ids[30:] == 0).all()


def test_features_and_masks_together(write_raster, tmp_path):
    left, top = GRID.transform @ (10, 5)
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(left, top - 100, left + 200, top)], crs="EPSG:32633")
    frame.to_crs("EPSG:3857").to_file(tmp_path / "f.gpkg")
    marks = np.zeros((60, 80), np.uint8)
    marks[14:20] = 1
    reader = PresenceReader([(1, str(tmp_path / "f.gpkg")), (2, write_raster("m.tif", marks))], 255, GRID)
    ids = reader.read(WHOLE)
    expected = np.full((60, 80), 255)
    expected[14:20] = 2
    expected[5:15, 10:30] = 1
    expected[14, 10:30] = 255
    assert (ids == expected).all()
    assert (reader.conflicts, reader.mended) == (20, 0)


def test_a_mask_of_another_size_needs_a_crs(write_raster):
    path = write_raster("m.tif", np.ones((50, 80), np.uint8), crs=None, transform=None)
    with pytest.raises(GridError, match=r"m\.tif: is 80 × 50 pixels on a grid of 80 × 60"):
        PresenceReader([(1, path)], 0, GRID)
