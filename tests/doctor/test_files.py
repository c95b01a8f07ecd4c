import numpy as np
import pytest
import rasterio
from tests.data.scenery import grid, halves, write

from mapmend.core.legend import load_crosswalk, load_legend
from mapmend.core.sensor import load_sensor
from mapmend.doctor import storage, validity
from mapmend.doctor.files import look_at_file
from mapmend.doctor.labels import raster_codes, unheld, vector_codes
from mapmend.doctor.sampling import sample, spread
from mapmend.doctor.units import likely_unit, out_of_range
from mapmend.raster.opening import raster_info

LEGEND = load_legend(
    {"name": "two", "classes": [{"id": 1, "name": "a", "color": "#aa0000"}, {"id": 2, "name": "b", "color": "#00aa00"}]}
)


def noise(*shape, low=1, high=250, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def checks(findings):
    return [finding.check for finding in findings]


def test_strips_are_told_with_what_a_window_costs(tmp_path):
    """A window of 256² in strips of 8 rows × 2100 columns touches 33 strips at worst: 264 × 2100 × 3 bytes."""
    flat = write(tmp_path / "strips.tif", noise(3, 300, 2100), grid(300, 2100), blockysize=8)
    tiled = write(
        tmp_path / "tiles.tif", noise(3, 300, 2100), grid(300, 2100), tiled=True, blockxsize=256, blockysize=256
    )
    [finding] = storage.layout(raster_info(flat))
    assert (
        finding.level == "note"
        and f"{264 * 2100 * 3 / 1e6:.1f} MB, 8 times" in finding.what
        and "prepare" in finding.fix
    )
    assert storage.layout(raster_info(tiled)) == []
    assert storage.layout(raster_info(write(tmp_path / "small.tif", noise(3, 300, 300), grid(300, 300)))) == []


def test_overviews_are_missed_on_large_rasters_alone(tmp_path):
    long = write(tmp_path / "long.tif", noise(1, 16, 5000), grid(16, 5000))
    assert checks(storage.overviews(raster_info(long))) == ["overviews"]
    with rasterio.open(long, "r+") as file:
        file.build_overviews([2, 4])
    assert storage.overviews(raster_info(long)) == []


def test_georeference_is_judged(tmp_path):
    def of(name, on):
        return storage.georeference(raster_info(write(tmp_path / name, noise(1, 40, 40), on)))

    assert of("fine.tif", grid(40, 40)) == []
    [no_crs] = of("nocrs.tif", grid(40, 40, crs=None))
    assert no_crs.level == "warning" and "-a_srs" in no_crs.fix
    assert checks(of("wide.tif", grid(40, 40, (2.0, 1.0)))) == ["anisotropic"]
    from affine import Affine

    from mapmend.core.grid import make_grid

    degrees = of("degrees.tif", make_grid((40, 40), Affine(1e-4, 0, 9, 0, -1e-4, 48), "EPSG:4326"))
    assert checks(degrees) == [
        "degrees",
        "anisotropic",
    ]  # a degree of longitude at 48° is two thirds of one of latitude
    assert "stretched by 1.49" in degrees[1].what


@pytest.mark.parametrize(("value", "dtype"), [(0, np.uint8), (255, np.uint8), (0, np.uint16), (-9999, np.float32)])
def test_an_undeclared_fill_from_a_corner_is_found_and_a_declared_one_is_not(tmp_path, value, dtype):
    pixels = noise(3, 200, 200, dtype=dtype)
    pixels[:, :60, :60] = value
    info = raster_info(write(tmp_path / "fill.tif", pixels, grid(200, 200)))
    [finding] = validity.collar(info, sample(info))
    assert finding.check == "missing nodata" and f"-a_nodata {value}" in finding.fix and "9.0%" in finding.what
    assert validity.collar(info, sample(info), expected=value) == []
    info = raster_info(write(tmp_path / "told.tif", pixels, grid(200, 200), nodata=value))
    assert validity.collar(info, sample(info)) == []


def test_dark_pixels_inside_an_image_are_no_fill(tmp_path):
    pixels = noise(3, 200, 200)
    pixels[:, 80:120, 80:120] = 0
    info = raster_info(write(tmp_path / "lake.tif", pixels, grid(200, 200)))
    assert validity.collar(info, sample(info)) == []


def test_a_nodata_value_that_8_bits_measure_is_told(tmp_path):
    info = raster_info(write(tmp_path / "one.tif", noise(1, 64, 64, low=0), grid(64, 64), nodata=0))
    assert checks(validity.legal_nodata(info, sample(info))) == ["8-bit nodata"]
    info = raster_info(write(tmp_path / "never.tif", noise(3, 64, 64, low=1), grid(64, 64), nodata=0))
    assert validity.legal_nodata(info, sample(info)) == []


def test_alpha_is_told_from_a_fourth_measurement(tmp_path):
    pixels = noise(4, 64, 64)
    four = raster_info(write(tmp_path / "nir.tif", pixels, grid(64, 64), photometric="minisblack"))
    assert validity.alpha(four, sample(four)) == []
    pixels[3] = 255
    pixels[3, :9] = 0
    alike = raster_info(write(tmp_path / "alpha.tif", pixels, grid(64, 64), photometric="minisblack", ALPHA="NO"))
    [finding] = validity.alpha(alike, sample(alike))
    assert finding.level == "warning" and "band 4" in finding.what and "card of 3 bands" in finding.fix
    marked = raster_info(write(tmp_path / "marked.tif", pixels, grid(64, 64), photometric="rgb", ALPHA="YES"))
    assert [finding.level for finding in validity.alpha(marked, sample(marked))] == ["note"]


def test_constant_bands_and_empty_files_are_found(tmp_path):
    pixels = noise(3, 64, 64)
    pixels[1] = 7
    info = raster_info(write(tmp_path / "flat.tif", pixels, grid(64, 64)))
    [finding] = validity.nothing_there(info, sample(info))
    assert finding.level == "warning" and "band 2" in finding.what
    info = raster_info(write(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), grid(64, 64), nodata=0))
    assert [finding.level for finding in validity.nothing_there(info, sample(info))] == ["error"]


@pytest.mark.parametrize(
    ("card", "values", "unit"),
    [
        ("sentinel2", np.linspace(0.01, 0.6, 999, dtype=np.float32), "reflectance of 0 to 1"),
        ("sentinel1", np.linspace(0.001, 0.9, 999, dtype=np.float32), "linear backscatter"),
        ("naip", np.linspace(200, 3000, 999).astype(np.uint16), "reflectance times 10 000"),
        ("naip", np.linspace(-25, -3, 999, dtype=np.float32), "decibels"),
    ],
)
def test_values_of_another_unit_are_named_with_their_likely_unit(card, values, unit):
    sensor = load_sensor(card)
    assert likely_unit(values, sensor.kind) == unit
    [finding] = out_of_range(values[None].repeat(len(sensor.bands), 0), sensor, "x.tif")
    assert finding.level == "error" and unit in finding.what and finding.fix
    assert f"{values.min():.4g} to {values.max():.4g}" in finding.what


def test_values_within_the_card_are_fine_and_a_few_strays_a_note():
    sensor = load_sensor("sentinel1")
    values = np.linspace(-25, -3, 1000, dtype=np.float32)[None].repeat(2, 0)
    assert out_of_range(values, sensor, "x.tif") == []
    values[0, :5] = 1e6
    [finding] = out_of_range(values, sensor, "x.tif")
    assert finding.level == "note" and "0.5%" in finding.what


def test_codes_outside_the_legend_are_listed_with_their_counts(tmp_path):
    ids = halves(60, 60)
    ids[:2, :5], ids[5, :3] = 9, 77
    codes = raster_codes(write(tmp_path / "l.tif", ids, grid(60, 60)), load_crosswalk(None, LEGEND))
    [finding] = codes.findings
    assert finding.level == "error" and "9 (10 px), 77 (3 px)" in finding.what and "label_legend" in finding.fix
    assert codes.counts == {0: 1800 - 13, 1: 1800}
    assert (
        raster_codes(write(tmp_path / "ok.tif", halves(60, 60), grid(60, 60)), load_crosswalk(None, LEGEND)).findings
        == ()
    )


def test_labels_that_say_little_are_told(tmp_path):
    def of(ids):
        return raster_codes(write(tmp_path / "l.tif", ids, grid(200, 200), nodata=255), load_crosswalk(None, LEGEND))

    empty = np.full((200, 200), 255, np.uint8)
    assert [finding.level for finding in of(empty).findings] == ["error"]
    sparse = empty.copy()
    sparse[:3, :3], sparse[9, 9] = 1, 2
    assert checks(of(sparse).findings) == ["sparse label"]
    assert checks(of(np.ones_like(empty)).findings) == ["constant label"]
    assert checks(unheld({0: 5}, LEGEND, "x")) == ["one class"] and unheld({0: 5, 1: 1}, LEGEND, "x") == []
    three = load_legend(
        {"name": "t", "classes": [{"id": i, "name": n, "color": f"#0000{i:02}"} for i, n in enumerate("abc", 1)]}
    )
    assert "c" in unheld({0: 5, 1: 1}, three, "x")[0].what


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_polygons_are_judged(tmp_path):
    import geopandas
    import shapely

    bow = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    frame = geopandas.GeoDataFrame({"kind": ["a", "b", "marsh"], "geometry": [bow, *[shapely.box(0, 0, 5, 5)] * 2]})
    frame.to_file(tmp_path / "l.gpkg")
    codes = vector_codes(str(tmp_path / "l.gpkg"), load_crosswalk(None, LEGEND), "kind")
    found = {finding.check: finding for finding in codes.findings}
    assert set(found) == {"no CRS", "geometry", "label codes"} and codes.counts == {0: 1, 1: 1}
    assert found["geometry"].what.startswith("1 of 3") and "'marsh' (1)" in found["label codes"].what


def test_a_broken_file_is_a_finding(tmp_path):
    path = tmp_path / "cut.tif"
    whole = write(tmp_path / "whole.tif", noise(3, 200, 200), grid(200, 200))
    path.write_bytes((tmp_path / "whole.tif").read_bytes()[:5000])
    found, info = look_at_file(path, None, None)
    assert info is None and [finding.level for finding in found] == ["error"] and "truncated" in found[0].what
    assert look_at_file(tmp_path / whole, load_sensor("rgb"), None)[0] == []


def test_a_sample_covers_a_small_grid_and_stays_small_on_a_large_one():
    small = np.zeros((200, 150), int)
    for window in spread(grid(200, 150)):
        small[window.slices] += 1
    assert (small == 1).all()
    large = list(spread(grid(40_000, 50_000)))
    assert len(large) == 16 and all(w.row_end <= 40_000 and w.col_end <= 50_000 for w in large)
