import pickle

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine

from mapmend.core.errors import GridError, LegendError, VectorError
from mapmend.core.grid import Window, full_window, make_grid
from mapmend.core.legend import Crosswalk, Legend, LegendClass, load_crosswalk
from mapmend.raster import vector
from mapmend.raster.reading import LabelReader
from mapmend.raster.vector import load_aoi, vector_info

LEGEND = Legend(
    "three",
    (LegendClass(1, "water", "#0000ff"), LegendClass(2, "tree", "#008000"), LegendClass(5, "built", "#ff0000")),
)
OWN = load_crosswalk(None, LEGEND)
GRID = make_grid((300, 400), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
PLAIN = make_grid((300, 400), Affine.identity(), None)
FORMATS = ["a.gpkg", "a.shp", "a.geojson"]
WHOLE = full_window(GRID)


def shapes(count=40, seed=0):
    """Overlapping triangles with classes, in the pixel coordinates (column, row) of the grid."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, (400, 300), (count, 1, 2)) + rng.uniform(-40, 40, (count, 3, 2))
    return [shapely.Polygon(points) for points in corners], rng.choice(np.array([1, 2, 5]), count)


def on_ground(polygons):
    return shapely.transform(np.array(polygons), lambda xy: np.column_stack(GRID.transform @ tuple(xy.T)))


@pytest.fixture
def write_vector(tmp_path):
    def write(name, polygons, crs="EPSG:32633", to=None, **fields):
        frame = geopandas.GeoDataFrame(fields, geometry=list(polygons), crs=crs)
        frame = frame.to_crs(to) if to else frame
        frame.to_file(tmp_path / name)
        return str(tmp_path / name)

    return write


def painted(polygons, codes):
    """A pixel has the class of the last polygon that holds its centre: asked point by point."""
    rows, cols = np.indices((300, 400)) + 0.5
    expected = np.full((300, 400), 255)
    for polygon, code in zip(polygons, codes, strict=True):
        expected[shapely.contains_xy(polygon, cols, rows)] = code
    return expected


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["codes", "names", "texts"])
def test_polygons_by_code_and_by_name(name, kind, write_vector):
    polygons, codes = shapes()
    names = {1: "Water", 2: "TREE", 5: "built"}
    values = {"codes": codes, "names": [names[code] for code in codes], "texts": [str(code) for code in codes]}[kind]
    to = "EPSG:32633" if name != "a.geojson" else "EPSG:4326"
    path = write_vector(name, on_ground(polygons), to=to, kind=values)
    ids = LabelReader(path, GRID, OWN, field="kind").read(WHOLE)
    expected = painted(polygons, codes)
    # GeoJSON holds seven decimals of a degree, a centimetre: pixel centres nearer to an edge may change sides
    assert (ids != expected).sum() <= (0 if to == "EPSG:32633" else 3)


def test_the_codes_go_through_the_crosswalk(write_vector):
    crosswalk = Crosswalk("product", LEGEND, {11: 1, 41: 2, 90: 255})
    squares = on_ground([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10), shapely.box(20, 0, 30, 10)])
    ids = LabelReader(write_vector("a.gpkg", squares, code=[11, 41, 90]), GRID, crosswalk, field="code").read(WHOLE)
    assert [ids[5, 5], ids[5, 15], ids[5, 25]] == [1, 2, 255]
    reader = LabelReader(write_vector("b.gpkg", squares, code=[11, 41, 17]), GRID, crosswalk, field="code")
    with pytest.raises(LegendError, match=r"b\.gpkg: class '17' \(1 feature\) not in 'product'"):
        reader.read(WHOLE)


def test_reprojection_of_long_edges(write_vector):
    """A box drawn in degrees has curved edges in UTM: its inside is what the degrees say."""
    box = shapely.box(15.01, 35.99, 15.03, 36.13)
    wide = shapely.box(10.0, 35.99, 20.0, 36.13)
    path = write_vector("a.gpkg", [wide, box], crs="EPSG:4326", code=[1, 2])
    ids = LabelReader(path, GRID, OWN, field="code").read(WHOLE)
    from pyproj import Transformer

    rows, cols = np.indices((300, 400)) + 0.5
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(*(GRID.transform @ (cols, rows)))
    expected = np.where(shapely.contains_xy(box, lon, lat), 2, np.where(shapely.contains_xy(wide, lon, lat), 1, 255))
    assert (ids != expected).sum() <= 2 and {1, 2} <= set(np.unique(ids))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_windows_are_cut_from_the_whole(name, small, write_vector, monkeypatch):
    monkeypatch.setattr(vector, "_WHOLE_BYTES", 2**26 if small else 0)
    polygons, codes = shapes()
    path = write_vector(name, on_ground(polygons), to="EPSG:4326", code=codes)
    reader = LabelReader(path, GRID, OWN, field="code")
    whole = reader.read(WHOLE)
    assert (whole != 255).mean() > 0.1
    pieces = np.block(
        [[reader.read(Window(row, col, 75, 80)) for col in range(0, 400, 80)] for row in range(0, 300, 75)]
    )
    np.testing.assert_array_equal(pieces, whole)
    outside = reader.read(Window(-20, 380, 60, 60))
    np.testing.assert_array_equal(outside[20:, :20], whole[:40, 380:])
    assert (outside[:20] == 255).all() and (outside[:, 20:] == 255).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read(WHOLE), whole)


@pytest.mark.parametrize("small", [True, False])
def test_invalid_geometry_is_mended_and_counted(small, write_vector, monkeypatch):
    monkeypatch.setattr(vector, "_WHOLE_BYTES", 2**26 if small else 0)
    bow_tie = shapely.Polygon([(0, 0), (40, 40), (40, 0), (0, 40)])
    polygons = [bow_tie, shapely.box(100, 100, 120, 120), None, shapely.Polygon()]
    path = write_vector("a.gpkg", on_ground(polygons), code=[1, 2, 5, 5])
    reader = LabelReader(path, GRID, OWN, field="code")
    for _ in range(2):
        ids = reader.read(WHOLE)
    assert reader.mended == 1
    assert ids[20, 2] == 1 and ids[20, 38] == 1 and ids[2, 20] == 255 and ids[110, 110] == 2
    assert (ids == 1).sum() == pytest.approx(800, abs=45), "two triangles of half the square"


def test_the_field_is_found_where_only_one_fits(write_vector):
    polygons, codes = shapes(10)
    notes = [f"visited {i}" for i in range(10)]
    path = write_vector("a.gpkg", on_ground(polygons), note=notes, cover=codes)
    np.testing.assert_array_equal(LabelReader(path, GRID, OWN).read(WHOLE), painted(polygons, codes))
    for name, fields, reason in (
        ("b.gpkg", {"note": notes}, r"no field \(of note\) seems to hold the classes; name the field"),
        ("c.gpkg", {"old": codes, "new": codes}, "fields old, new could all hold the classes"),
    ):
        with pytest.raises(VectorError, match=reason):
            LabelReader(write_vector(name, on_ground(polygons), **fields), GRID, OWN)
    with pytest.raises(VectorError, match="has no field 'covr'; its fields: note, cover"):
        LabelReader(path, GRID, OWN, field="covr")


def test_features_without_a_class_are_unlabelled(write_vector):
    squares = on_ground([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)])
    ids = LabelReader(write_vector("a.gpkg", squares, kind=["water", None]), GRID, OWN, field="kind").read(WHOLE)
    assert ids[5, 5] == 1 and ids[5, 15] == 255


def test_points_label_their_pixel(write_vector):
    points = on_ground([shapely.Point(3.5, 7.5), shapely.Point(50.2, 60.9)])
    ids = LabelReader(write_vector("a.gpkg", points, code=[1, 5]), GRID, OWN, field="code").read(WHOLE)
    assert ids[7, 3] == 1 and ids[60, 50] == 5 and (ids != 255).sum() == 2


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_missing_crs(write_vector):
    polygons, codes = shapes(3)
    bare = write_vector("bare.shp", on_ground(polygons), crs=None, code=codes)
    with pytest.raises(GridError, match=r"bare\.shp: has no CRS; assign the missing CRS"):
        LabelReader(bare, GRID, OWN, field="code")
    placed = write_vector("placed.gpkg", on_ground(polygons), code=codes)
    with pytest.raises(GridError, match="and the image has none"):
        LabelReader(placed, PLAIN, OWN, field="code")
    pixels = write_vector("pixels.shp", polygons, crs=None, code=codes)
    np.testing.assert_array_equal(LabelReader(pixels, PLAIN, OWN, field="code").read(WHOLE), painted(polygons, codes))


def test_no_overlap_is_one_line(write_vector):
    path = write_vector("far.gpkg", [shapely.box(600000, 0, 600100, 100)], code=[1])
    with pytest.raises(GridError, match=r"far\.gpkg: does not overlap the image"):
        LabelReader(path, GRID, OWN, field="code")


@pytest.mark.filterwarnings("ignore:GPKG")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpkg", b"SQLite format 3\0" + bytes(52) + b"GPKG" + bytes(4000)),
        ("b.gpkg", b"SQLite format 3\0" + bytes(4000)),
        ("c.shp", b"\0\0\x27\x0a" + bytes(96)),
        ("d.geojson", b'{"type": "FeatureCollection", "features": [{'),
        ("e.geojson", b'{"type": "Topology", "objects": {}}'),
        ("f.geojson", b"[1, 2, 3]"),
        ("g.gpkg", b'<OGRVRTDataSource><OGRVRTLayer name="x"/></OGRVRTDataSource>'),
        ("h.kml", b'<?xml version="1.0"?><kml/>'),
        ("i.gpkg", b""),
    ],
)
def test_files_that_are_no_vectors(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path / name, "/vsicurl/http://example.org/a.gpkg", "PG:dbname=x", tmp_path / "none.gpkg"):
        with pytest.raises(VectorError) as caught:
            vector_info(path)
        assert caught.value.fix and "\n" not in str(caught.value)


def test_vector_info(write_vector):
    polygons, codes = shapes(7)
    info = vector_info(write_vector("fields.gpkg", on_ground(polygons), code=codes, note=["x"] * 7))
    assert (info.driver, info.layer, info.fields, info.count) == ("GPKG", "fields", ("code", "note"), 7)
    assert info.geometry == "Polygon" and info.crs == "EPSG:32633"


def test_an_area_of_interest(write_vector):
    areas = [shapely.Polygon([(20.2, 30.3), (150, 35), (90, 120.5)]), shapely.box(100, 100, 159.7, 139.7)]
    aoi = load_aoi(write_vector("aoi.gpkg", on_ground(areas), to="EPSG:4326"), GRID)
    assert aoi.bounds == Window(30, 20, 110, 140)
    expected = painted(areas, [1, 1]) == 1
    mask = aoi.mask(WHOLE)
    assert mask.dtype == bool and (mask != expected).sum() <= 2
    np.testing.assert_array_equal(aoi.mask(Window(-10, 50, 200, 90))[10:], mask[:190, 50:140])
    assert not aoi.mask(Window(200, 200, 50, 50)).any()


def test_areas_that_cannot_be_used(write_vector):
    with pytest.raises(GridError, match="lies outside the image"):
        load_aoi(write_vector("far.gpkg", on_ground([shapely.box(900, 900, 950, 950)])), GRID)
    with pytest.raises(VectorError, match="holds no polygons"):
        load_aoi(write_vector("points.gpkg", on_ground([shapely.Point(5, 5)])), GRID)
