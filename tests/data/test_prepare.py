import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from tests.data.scenery import grid, halves, image_of, write

from mapmend.core.errors import GridError, LabelError, LegendError, ManifestError, RasterError, SensorError
from mapmend.core.grid import same_grid
from mapmend.core.legend import load_legend
from mapmend.core.manifest import Row
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import class_areas, prepare
from mapmend.data.sites import channel_statistics, load_prepared

pytestmark = [
    pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced"),
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]

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


def test_footprints_without_a_class_mark_one_class(tmp_path):
    on = grid(64, 64)
    left, top = on.transform @ (0, 0)
    houses = [shapely.box(left + c, top - r - 4, left + c + 6, top - r) for r, c in [(2, 3), (20, 30), (40, 50)]]
    footprints = geopandas.GeoDataFrame({"osm_id": [1, 2, 3]}, geometry=houses, crs="EPSG:32632").to_crs("EPSG:4326")
    footprints.to_file(tmp_path / "f.geojson")
    row = {"label": str(tmp_path / "f.geojson"), "label_class": "b"}
    [partial] = prepare(_rows(tmp_path, **row), SENSORS, LEGEND, tmp_path / "partial").sites
    expected = np.full((64, 64), 255)
    for r, c in [(2, 3), (20, 30), (40, 50)]:
        expected[r : r + 4, c : c + 6] = 2
    assert (_read(partial.label)[0][0] == expected).all()
    [full] = prepare(_rows(tmp_path, **row, label_rest="a"), SENSORS, LEGEND, tmp_path / "full").sites
    assert (_read(full.label)[0][0] == np.where(expected == 2, 2, 1)).all()
    assert full.label_counts == (64 * 64 - 72, 72)


def test_a_mask_for_each_class_labels_what_exactly_one_marks(tmp_path):
    first, second = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    first[:20], second[15:30] = 255, 1
    image = write(tmp_path / "coarse.tif", image_of(halves(64, 64)), grid(64, 64, 30.0))
    masks = []
    for name, pixels in (("a", first), ("b", second)):
        masks.append(f"{name}={tmp_path / name}.bmp")
        with rasterio.open(
            f"{tmp_path / name}.bmp", "w", driver="BMP", count=1, height=64, width=64, dtype="uint8"
        ) as f:
            f.write(pixels, 1)
    with pytest.warns(UserWarning, match=r"a\.bmp: 320 pixels are marked by two masks \(a\.bmp and b\.bmp\)"):
        [site] = prepare(
            _rows(tmp_path, image=(image,), label=";".join(masks)), SENSORS, LEGEND, tmp_path / "out"
        ).sites
    label = _read(site.label)[0][0]
    assert (label[:15] == 1).all() and (label[20:30] == 2).all()
    assert (label[15:20] == 255).all() and (label[30:] == 255).all()
    assert site.label_gsd == pytest.approx(30, rel=1e-3)  # it has no CRS, and covers the image


def test_a_class_that_the_legend_lacks_is_one_line(tmp_path):
    with pytest.raises(LegendError, match="no class 'c'"):
        prepare(_rows(tmp_path, label_class="c"), SENSORS, LEGEND, tmp_path / "out")


def test_invalid_polygons_are_mended_and_counted_once_a_file(tmp_path):
    left, top = grid(64, 64).transform @ (0, 0)
    bow = shapely.Polygon([(left, top), (left + 30, top - 30), (left + 30, top), (left, top - 30)])
    good = shapely.box(left + 40, top - 60, left + 60, top - 40)
    frame = geopandas.GeoDataFrame({"class": ["a", "b", "a"]}, geometry=[bow, good, bow], crs="EPSG:32632")
    frame.to_file(tmp_path / "p.gpkg")
    rows = _rows(tmp_path, label=str(tmp_path / "p.gpkg"))
    rows.append(Row("other", "", "optical", rows[0].image, label=rows[0].label))
    for _ in range(2):  # what was prepared before is spoken of too
        with pytest.warns(UserWarning) as caught:
            prepare(rows, SENSORS, LEGEND, tmp_path / "out")
        texts = [str(one.message) for one in caught if "mended" in str(one.message)]
        assert texts == [f"{tmp_path / 'p.gpkg'}: 2 features with invalid geometry were mended"]
    names = ["a", "pond", "lake", "pond", "pond", "pond"]
    geopandas.GeoDataFrame({"class": names}, geometry=[good] * 6, crs="EPSG:32632").to_file(tmp_path / "p.gpkg")
    with pytest.raises(LegendError, match=r"p\.gpkg: classes 'pond' \(4 features\), 'lake' \(1 feature\) not in 'two'"):
        prepare(
            _rows(tmp_path, label=str(tmp_path / "p.gpkg"), label_field="class"), SENSORS, LEGEND, tmp_path / "out2"
        )
    with pytest.raises(LabelError, match=r"p\.gpkg: has no bands, and `label_band` names one"):
        prepare(_rows(tmp_path, label=str(tmp_path / "p.gpkg"), label_band=2), SENSORS, LEGEND, tmp_path / "out3")


def test_points_of_another_crs_are_a_pixel_each_the_last_on_top(tmp_path):
    on = grid(64, 64, 10.0)
    places = [(5.5, 7.5), (60.2, 1.9), (33.0, 33.0), (33.4, 33.4)]
    points = [shapely.Point(on.transform @ place) for place in places]
    frame = geopandas.GeoDataFrame({"kind": ["a", "b", "a", "b"]}, geometry=points, crs="EPSG:32632")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "p.shp")
    image = write(tmp_path / "coarse.tif", image_of(halves(64, 64)), on)
    rows = _rows(tmp_path, image=(image,), label=str(tmp_path / "p.shp"))
    [site] = prepare(rows, SENSORS, LEGEND, tmp_path / "out").sites
    label = _read(site.label)[0][0]
    assert {(int(r), int(c)): int(label[r, c]) for r, c in np.argwhere(label != 255)} == {
        (7, 5): 1,
        (1, 60): 2,
        (33, 33): 2,
    }


def test_two_dates_that_do_not_overlap_are_one_line_with_both_extents(tmp_path):
    rows = [
        Row("s", "t1", "optical", _rows(tmp_path)[0].image),
        Row("s", "t2", "fine", (make_far(tmp_path),)),
    ]
    with pytest.raises(GridError) as caught:
        prepare(rows, SENSORS, LEGEND, tmp_path / "out")
    text = str(caught.value)
    assert "does not overlap" in text and "far.tif" in text and "i.tif" in text and "\n" not in text
    assert "lon 9.0000 to 9.0009, lat 47.8" in text  # 500 km east in zone 32 is its meridian, 9 degrees
    assert text.count("lon ") == text.count("lat ") == 2
    with pytest.raises(GridError, match=r"far\.tif: does not overlap .*i\.tif: lon .* against lon "):
        prepare(_rows(tmp_path, label=make_far(tmp_path)), SENSORS, LEGEND, tmp_path / "out")
    away = geopandas.GeoDataFrame({"c": ["a"]}, geometry=[shapely.box(10, 50, 11, 51)], crs="EPSG:4326")
    away.to_file(tmp_path / "away.geojson")
    with pytest.raises(
        GridError,
        match=r"away\.geojson: does not overlap .*i\.tif: lon 10.0000 to 11.0000, lat 50.0000 to 51.0000 against",
    ):
        prepare(_rows(tmp_path, label=str(tmp_path / "away.geojson")), SENSORS, LEGEND, tmp_path / "out")


def test_a_projected_grid_is_preferred_to_one_in_degrees_about_as_fine(tmp_path):
    from affine import Affine

    from mapmend.core.grid import make_grid

    metres = write(tmp_path / "m.tif", image_of(halves(64, 64)), grid(64, 64, 1.0))
    for step, projected in ((0.9, True), (0.2, False)):
        degrees = make_grid((64, 64), Affine(step * 1.336e-5, 0, 9.0, 0, -step * 9e-6, 47.853), "EPSG:4326")
        other = write(tmp_path / "d.tif", image_of(halves(64, 64)), degrees)
        rows = [Row("s", "t1", "optical", (metres,)), Row("s", "t2", "optical", (other,))]
        first, second = prepare(rows, SENSORS, LEGEND, tmp_path / f"out{step}").sites
        assert first.grid == second.grid
        assert first.grid.crs.projected == projected


def test_an_undated_image_beside_a_dated_one_is_refused(tmp_path):
    image = _rows(tmp_path)[0].image
    with pytest.raises(ManifestError, match="site 's' has an image of 2014 and one without a date"):
        prepare([Row("s", "", "optical", image), Row("s", "2014", "fine", image)], SENSORS, LEGEND, tmp_path / "out")


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_alpha_says_what_is_valid_and_is_never_taken_for_a_band(tmp_path, suffix):
    pixels = np.concatenate([image_of(halves(64, 64)), np.full((1, 64, 64), 255, np.uint8)]).astype(np.uint8)
    pixels[3, :16] = 0
    path = tmp_path / f"rgba.{suffix}"
    driver = {"tif": {"driver": "GTiff", "photometric": "RGB", "alpha": "YES"}, "png": {"driver": "PNG"}}[suffix]
    with rasterio.open(path, "w", **driver, count=4, height=64, width=64, dtype="uint8") as file:
        file.write(pixels)
    [site] = prepare([Row("s", "", "optical", (str(path),))], SENSORS, LEGEND, tmp_path / "out").sites
    assert site.images[0].statistics.valid_share == 0.75
    naip = {"naip": load_sensor("naip")}
    with pytest.raises(SensorError, match=r"rgba\..*: an alpha band \(0 and 255 alone\) would be taken for 'nir'"):
        prepare([Row("s", "", "naip", (str(path),))], naip, LEGEND, tmp_path / "no")
    assert not list((tmp_path / "no").rglob("*.tif"))
    pixels[3] = np.random.default_rng(0).integers(20, 200, (64, 64))  # near infrared, which GDAL marks as alpha
    with rasterio.open(path, "w", **driver, count=4, height=64, width=64, dtype="uint8") as file:
        file.write(pixels)
    [site] = prepare([Row("s", "", "naip", (str(path),))], naip, LEGEND, tmp_path / "out").sites
    assert site.images[0].statistics.mean[3] == pytest.approx(pixels[3].mean())


@pytest.mark.parametrize(("card", "bands"), [("sentinel2_l1c", 13), ("landsat_tm", 6)])
def test_images_of_many_bands_keep_their_order(tmp_path, card, bands):
    pixels = np.random.default_rng(0).integers(100, 9000, (bands, 40, 40)).astype(np.uint16)
    path = write(tmp_path / "many.tif", pixels, grid(40, 40, 30.0))
    [site] = prepare([Row("s", "", "x", (path,))], {"x": load_sensor(card)}, LEGEND, tmp_path / "out").sites
    assert site.images[0].statistics.mean == pytest.approx(pixels.mean((1, 2)))
    write(tmp_path / "many.tif", pixels[:-1], grid(40, 40, 30.0))
    with pytest.raises(SensorError, match=f"has {bands - 1} bands"):
        prepare([Row("s", "", "x", (path,))], {"x": load_sensor(card)}, LEGEND, tmp_path / "out")


def test_bands_in_files_of_other_types_and_nodata(tmp_path):
    rng = np.random.default_rng(0)
    numbers = rng.integers(1, 256, (6, 40, 40))
    numbers[2, :, :4], numbers[5, :6] = -99999, -32768
    files = []
    for index, pixels in enumerate(numbers):
        dtype, nodata = (np.int16, -32768) if index == 5 else (np.float32, -99999)
        on = grid(40, 40, 28.5)
        files.append(write(tmp_path / f"etm_{index + 1}0.tif", pixels.astype(dtype), on, nodata=nodata))
    rows = [Row("s", "", "x", tuple(files))]
    [site] = prepare(rows, {"x": load_sensor("landsat_dn")}, LEGEND, tmp_path / "out").sites
    assert site.images[0].statistics.valid_share == pytest.approx(34 * 36 / 1600)
    assert site.images[0].statistics.mean == pytest.approx(numbers[:, 6:, 4:].mean((1, 2)))


def test_an_envi_file_without_a_suffix(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 255, (6, 40, 40)).astype(np.uint8)
    on = grid(40, 40, 30.0)
    with rasterio.open(
        tmp_path / "2000TM", "w", driver="ENVI", count=6, height=40, width=40, dtype="uint8",
        crs="EPSG:32632", transform=on.transform,
    ) as file:  # fmt: skip
        file.write(pixels)
    (tmp_path / "2000TM.hdr").rename(tmp_path / "2000TM.HDR")
    rows = [Row("s", "2000", "x", (str(tmp_path / "2000TM"),))]
    [site] = prepare(rows, {"x": load_sensor("landsat_dn")}, LEGEND, tmp_path / "out").sites
    assert same_grid(site.grid, on)
    assert site.images[0].statistics.mean == pytest.approx(pixels.mean((1, 2)))
