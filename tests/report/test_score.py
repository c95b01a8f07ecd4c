"""Class rasters against a reference: which pixels count."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from tests.data.scenery import UTM, grid, halves, image_of, write

from mapmend.core.legend import Legend, LegendClass
from mapmend.core.sensor import load_sensor
from mapmend.data.sites import BandStatistics, PreparedImage, PreparedSite
from mapmend.raster.reading import ImageSource
from mapmend.report.score import score_change, score_site

LEGEND = Legend("two", (LegendClass(1, "left", "#aa5500"), LegendClass(2, "right", "#0055aa")))
HEIGHT, WIDTH = 60, 80


def site(folder, name, invalid):
    pixels = image_of(halves(HEIGHT, WIDTH))
    pixels[(slice(None), *invalid)] = 0
    path = write(folder / f"{name}.tif", pixels, grid(HEIGHT, WIDTH), nodata=0)
    card = load_sensor("rgb")
    nothing = BandStatistics(1, mean=(0.0,) * 3, std=(1.0,) * 3, low=(0.0,) * 3, high=(1.0,) * 3, valid_share=1.0)
    image = PreparedImage("optical", ImageSource((path,), card.band_names, card), nothing)
    truth = write(folder / f"{name}_truth.tif", halves(HEIGHT, WIDTH), grid(HEIGHT, WIDTH), nodata=255)
    return PreparedSite("here", name, grid(HEIGHT, WIDTH), (image,), reference=truth)


@pytest.fixture
def pair(tmp_path):
    """Two dates, the first without an image in its upper ten rows, the second in its last ten columns."""
    before = site(tmp_path, "2010", np.s_[:10, :])
    after = site(tmp_path, "2020", np.s_[:, -10:])
    for name in ("before", "after"):
        write(tmp_path / f"{name}.tif", halves(HEIGHT, WIDTH), grid(HEIGHT, WIDTH), nodata=255)
    return before, after


def area_of_interest(folder, rows):
    """A vector file with the upper rows of the grid."""
    left, top = 500_000, 5_300_000
    box = shapely.box(left, top - rows, left + WIDTH, top)
    gpd.GeoDataFrame(geometry=[box], crs=UTM).to_file(folder / "aoi.gpkg")
    return folder / "aoi.gpkg"


def test_only_pixels_of_valid_images_count_and_of_both_dates_where_the_maps_end_at_both(pair, tmp_path):
    before, after = pair
    _, alone = score_site(after, tmp_path / "after.tif", LEGEND)
    _, both = score_site(after, tmp_path / "after.tif", LEGEND, before)
    assert alone.pixels == HEIGHT * (WIDTH - 10) and both.pixels == (HEIGHT - 10) * (WIDTH - 10)


def test_outside_of_the_area_of_interest_nothing_is_scored(pair, tmp_path):
    before, after = pair
    aoi = area_of_interest(tmp_path, 30)
    _, counted = score_site(after, tmp_path / "after.tif", LEGEND, aoi=aoi)
    assert counted.pixels == 30 * (WIDTH - 10) and counted.missing.sum() == 0
    change = score_change(before, after, tmp_path, LEGEND, aoi)
    assert change.confusion.pixels == 20 * (WIDTH - 10)
