import numpy as np
import pytest
import rasterio
from tests.data.scenery import grid, halves, image_of, write

from mapmend.core.errors import GridError, LabelError, LegendError, ManifestError, RasterError, SensorError
from mapmend.core.grid import same_grid
from mapmend.core.legend import load_legend
from mapmend.core.manifest import Row
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import class_areas, prepare
from mapmend.data.sites import channel_statistics, load_prepared

LEGEND = load_legend(
    {"name": "two", "classes": [{"id": 1, "name": "a", "color": "#aa0000"}, {"id": 2, "name": "b", "color": "#00aa00"}]}
)
SENSORS = {"optical": load_sensor("rgb"), "fine": load_sensor({"card": "png", "bands": ["grey"]})}


def _read(path):
    with rasterio.open(path) as file:
        return file.read(), file.profile


def test_layers_of_other_crs_and_resolution_land_on_the_finest_image(tmp_path):
    ids = halves(120, 160)
    fine = write(tmp_path / "fine.tif", image_of(ids, bands=1), grid(120, 160))
    coarse = write(tmp_path / "coarse.tif", image_of(ids, bands=3)[:, ::2, ::4], grid(60, 40, (4, 2)))
    with rasterio.open(tmp_path / "label_ll.tif", "w", **_in_degrees(tmp_path / "l.tif", ids[::10, ::10])) as out:
        out.write(_LABEL[0])
    rows = [
        Row("s", "", "optical", (coarse,)),
        Row("s", "", "fine", (fine,), label=str(tmp_path / "label_ll.tif"), trust="coarse"),
    ]
    prepared = prepare(rows, SENSORS, LEGEND, tmp_path / "out")
    [site] = prepared.sites
    assert same_grid(site.grid, grid(120, 160))
    assert [image.modality for image in site.images] == ["optical", "fine"]
    label = _read(site.label)[0][0]
    assert label.shape == (120, 160)
    inner = (label != 255) & (np.abs(np.arange(160) - 80) > 12)
    assert (label[inner] == ids[inner]).all()
    assert inner.mean() > 0.7
    assert 9 < site.label_gsd < 15  # degrees: wider one way than the other
    assert load_prepared(tmp_path / "out" / "prepared.json") == prepared


_LABEL = []


def _in_degrees(path, ids):
    """A profile of `ids` warped to degrees; the pixels are kept in _LABEL."""
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    on = grid(*ids.shape, pixel=10)
    bounds = rasterio.transform.array_bounds(*ids.shape, on.transform)
    transform, width, height = calculate_default_transform(
        "EPSG:32632", "EPSG:4326", ids.shape[1], ids.shape[0], *bounds
    )
    out = np.full((1, height, width), 255, np.uint8)
    reproject(
        ids,
        out,
        src_transform=on.transform,
        src_crs="EPSG:32632",
        dst_transform=transform,
        dst_crs="EPSG:4326",
        resampling=Resampling.nearest,
        dst_nodata=255,
    )
    _LABEL[:] = [out]
    return {
        "driver": "GTiff",
        "crs": "EPSG:4326",
        "transform": transform,
        "height": height,
        "width": width,
        "count": 1,
        "dtype": "uint8",
        "nodata": 255,
    }


def test_tiled_and_aligned_files_are_used_in_place_and_others_are_made_once(tmp_path):
    ids = halves(600, 700)
    tiled = write(tmp_path / "tiled.tif", image_of(ids), grid(600, 700), tiled=True, blockxsize=256, blockysize=256)
    strips = write(tmp_path / "strips.tif", image_of(ids, bands=1), grid(600, 700))
    label = write(tmp_path / "label.tif", ids, grid(600, 700))
    rows = [Row("s", "", "optical", (tiled,), label=label), Row("s", "", "fine", (strips,))]
    [site] = prepare(rows, SENSORS, LEGEND, tmp_path / "out").sites
    assert site.images[0].source.files == (tiled,)
    made = tmp_path / "out" / "s" / "undated_fine.tif"
    assert site.images[1].source.files == (str(made),)
    data, profile = _read(made)
    assert profile["tiled"] and profile["compress"] == "zstd"
    assert (data == image_of(ids, bands=1)).all()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "s").iterdir()}
    assert prepare(rows, SENSORS, LEGEND, tmp_path / "out").sites == (site,)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "s").iterdir()} == before
    write(tmp_path / "strips.tif", image_of(ids, 1, bands=1), grid(600, 700))
    prepare(rows, SENSORS, LEGEND, tmp_path / "out")
    assert (_read(made)[0] == image_of(ids, 1, bands=1)).all()


def test_statistics_are_those_of_the_valid_pixels(tmp_path):
    ids = halves(70, 90)
    pixels = image_of(ids).astype(np.uint8)
    pixels[:, :20] = 0
    rows = [Row("s", "", "optical", (write(tmp_path / "i.tif", pixels, grid(70, 90), nodata=0),))]
    [site] = prepare(rows, SENSORS, LEGEND, tmp_path / "out").sites
    statistics = site.images[0].statistics
    assert statistics.mean == pytest.approx(pixels[:, 20:].mean((1, 2)))
    assert statistics.std == pytest.approx(pixels[:, 20:].std((1, 2)))
    assert statistics.valid_share == pytest.approx(50 / 70)
    valid, _ = _read(site.images[0].source.valid)
    assert (valid[0, :20] == 0).all() and (valid[0, 20:] == 1).all()
    mean, std = channel_statistics([site, site])
    assert mean == pytest.approx(statistics.mean) and std == pytest.approx(statistics.std)


def test_a_label_finer_than_the_image_is_reduced_by_mode(tmp_path):
    fine = np.ones((90, 90), np.uint8)
    fine[::3, ::3] = 2  # one pixel in nine: nearest would pick it or miss it, mode never does
    image = write(tmp_path / "i.tif", image_of(halves(30, 30)), grid(30, 30, 3.0))
    rows = [Row("s", "", "optical", (image,), label=write(tmp_path / "l.tif", fine, grid(90, 90)))]
    [site] = prepare(rows, SENSORS, LEGEND, tmp_path / "out").sites
    assert (_read(site.label)[0] == 1).all()
    assert site.label_counts == (900, 0)


def test_areas_are_true_hectares(tmp_path):
    path = write(tmp_path / "c.tif", halves(100, 200), grid(100, 200, 10.0), nodata=255)
    areas, unit = class_areas(path, grid(100, 200, 10.0), LEGEND)
    assert unit == "ha"
    assert areas == pytest.approx((100, 100), rel=1e-3)  # UTM's scale at its central meridian is .9996


def _rows(tmp_path, **changes):
    values = {
        "image": (write(tmp_path / "i.tif", image_of(halves(64, 64)), grid(64, 64)),),
        "label": write(tmp_path / "l.tif", halves(64, 64), grid(64, 64)),
        "sensor": "optical",
    }
    return [Row("s", **{**values, **changes})]


def test_what_cannot_be_prepared_is_one_line(tmp_path):
    far = make_far(tmp_path)
    (tmp_path / "text.tif").write_text("not a raster")
    strange = write(tmp_path / "strange.tif", halves(64, 64) + 40, grid(64, 64))
    empty = write(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), grid(64, 64), nodata=0)
    two_bands = write(tmp_path / "two.tif", image_of(halves(64, 64), bands=2), grid(64, 64))
    no_crs = write(tmp_path / "nocrs.tif", halves(50, 64), grid(50, 64, crs=None))
    for changes, error, words in [
        ({"label": far}, GridError, "far.tif"),
        ({"image": (str(tmp_path / "text.tif"),)}, RasterError, "text.tif"),
        ({"label": strange}, LegendError, "41"),
        ({"image": (empty,)}, RasterError, "no valid pixel"),
        ({"image": (two_bands,)}, SensorError, "2 bands"),
        ({"sensor": "optica"}, ManifestError, "optica"),
        ({"label": no_crs}, GridError, "CRS"),
        ({"image": ()}, ManifestError, "without an image"),
    ]:
        with pytest.raises(error) as caught:
            prepare(_rows(tmp_path, **changes), SENSORS, LEGEND, tmp_path / "out")
        assert words in str(caught.value) and "\n" not in str(caught.value)
        assert not (tmp_path / "out" / "prepared.json").exists()


def make_far(tmp_path):
    from affine import Affine

    from mapmend.core.grid import make_grid

    return write(
        tmp_path / "far.tif", halves(64, 64), make_grid((64, 64), Affine(1, 0, 900_000, 0, -1, 1_000_000), "EPSG:32632")
    )


def test_a_label_that_says_nothing_is_refused(tmp_path):
    nothing = write(tmp_path / "n.tif", np.full((64, 64), 255, np.uint8), grid(64, 64), nodata=255)
    with pytest.raises(LabelError, match="no class to any pixel"):
        prepare(_rows(tmp_path, label=nothing), SENSORS, LEGEND, tmp_path / "out")


def test_a_reference_needs_its_image(tmp_path):
    with pytest.raises(ManifestError, match="'t' has a reference but no image"):
        prepare(_rows(tmp_path), SENSORS, LEGEND, tmp_path / "out", references=[Row("t", label="x.tif")])


def test_a_refused_image_leaves_no_file_behind(tmp_path):
    empty = write(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), grid(64, 64), nodata=0)
    with pytest.raises(RasterError, match="no valid pixel"):
        prepare(_rows(tmp_path, image=(empty,)), SENSORS, LEGEND, tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_radar_image_in_linear_units_is_refused_and_a_few_glints_are_not(tmp_path):
    radar = {"radar": load_sensor({"card": "sentinel1", "bands": ["vv"]})}
    rng = np.random.default_rng(0)
    decibels = rng.normal(-12, 3, (1, 64, 64)).astype(np.float32)
    decibels[0, 0, :2] = 500  # glints
    good = write(tmp_path / "db.tif", decibels, grid(64, 64))
    assert prepare([Row("s", sensor="radar", image=(good,))], radar, LEGEND, tmp_path / "out").sites
    linear = write(tmp_path / "linear.tif", 1000 * 10 ** (decibels.clip(-30, 0) / 10), grid(64, 64))
    with pytest.raises(SensorError, match=r"linear\.tif"):
        prepare([Row("t", sensor="radar", image=(linear,))], radar, LEGEND, tmp_path / "out")
