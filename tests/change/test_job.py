import csv
import json
from dataclasses import replace
from xml.etree import ElementTree as Xml

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from rio_cogeo.cogeo import cog_validate
from scipy import ndimage

from mapmend.change import inputs as inputs_module
from mapmend.change import polygons as polygons_module
from mapmend.change.job import change_maps
from mapmend.change.record import read_change
from mapmend.change.settings import ChangeSettings
from mapmend.core.errors import DiskError
from mapmend.core.grid import PixelArea, full_window, make_grid
from mapmend.core.legend import Legend, LegendClass

IDS = np.array([7, 2, 5])


def naive_change(layers, threshold=0.5, smallest=1):
    """(before, after, from_to, updated) in ids and codes, and the number of patches dropped: pixel by pixel."""
    shape = layers["before"].shape
    index = {7: 0, 2: 1, 5: 2}
    before, after = np.full(shape, 255), np.full(shape, 255)
    code = np.full(shape, -1)
    p, c1, c2 = (layers.get(name) for name in ("probability", "confidence_before", "confidence_after"))
    for at in np.ndindex(shape):
        b, a = layers["before"][at], layers["after"][at]
        if 255 in (b, a) or (p is not None and p[at] == 255):
            continue
        before[at], after[at] = b, a
        if b != a and (p is None or p[at] >= 200 * threshold):
            code[at] = index[b] * 3 + index[a]
    dropped = 0
    for one in np.unique(code[code >= 0]):
        labels, count = ndimage.label(code == one)
        for n in range(1, count + 1):
            if (labels == n).sum() < smallest:
                code[labels == n], dropped = -1, dropped + 1
    for at in zip(*np.nonzero((code < 0) & (before != after)), strict=True):
        later = c1 is not None and (c2[at] if c2[at] < 255 else 0) > (c1[at] if c1[at] < 255 else 0)
        before[at] = after[at] = after[at] if later else before[at]
    from_to = np.full(shape, 255)
    for at in zip(*np.nonzero(before < 255), strict=True):
        from_to[at] = index[before[at]] * 3 + index[after[at]]
    updated = np.where(code >= 0, after, layers.get("old", layers["before"]))
    return before, after, from_to, updated, dropped, code


def patches_of(code):
    return [
        (int(one), labels == n)
        for one in np.unique(code[code >= 0])
        for labels, count in [ndimage.label(code == one)]
        for n in range(1, count + 1)
    ]


def layer_of(folder):
    return geopandas.read_file(folder / "changes.gpkg", layer="changes")


@pytest.fixture
def narrow_strips(monkeypatch):
    """Strips of seven rows, batches of 40 polygons: every seam is met."""
    monkeypatch.setattr(inputs_module, "_STRIP_PIXELS", 7 * 70)
    monkeypatch.setattr(polygons_module, "_BATCH", 40)


@pytest.mark.parametrize("roles", ["all", "no probability", "classes only"])
@pytest.mark.parametrize("smallest", [None, 6])
def test_rasters_pixel_for_pixel(roles, smallest, noise, write_pair, legend, read, tmp_path, narrow_strips):
    layers = noise(1)
    gone = {"all": (), "no probability": ("probability",)}.get(
        roles, ("probability", "confidence_before", "confidence_after", "old")
    )
    layers = {role: array for role, array in layers.items() if role not in gone}
    out = tmp_path / "out"
    result = change_maps(write_pair(layers), legend, out, ChangeSettings(mmu_pixels=smallest, threshold=0.4))
    before, after, from_to, updated, dropped, code = naive_change(layers, 0.4, smallest or 1)
    for name, expected in (("before", before), ("after", after), ("from_to", from_to), ("updated", updated)):
        np.testing.assert_array_equal(read(out, name), expected, err_msg=name)
    assert result.dropped_patches == dropped and result.patches == len(patches_of(code)) > 10
    assert result.mmu == ("6 px" if smallest else "") and result.threshold == 0.4
    for n in range(9):
        assert result.from_to.pixels[n // 3][n % 3] == (from_to == n).sum()


def test_the_tables_margins_are_the_two_maps(noise, write_pair, legend, read, tmp_path):
    out = tmp_path / "out"
    table = change_maps(write_pair(noise(2)), legend, out, ChangeSettings(mmu_ha=0.05)).from_to
    grid = make_grid((60, 70), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
    area = PixelArea(grid).of(full_window(grid))
    assert table.unit == "ha" and table.names == ("water", "forest", "built <&>")
    for name, margin in (("before", table.before), ("after", table.after)):
        np.testing.assert_allclose(margin, [area[read(out, name) == code].sum() for code in IDS], rtol=1e-9)
    moved = read(out, "before") != read(out, "after")
    assert table.changed == pytest.approx(area[moved].sum())
    listed = table.transitions()
    assert sum(pixels for *_, pixels in listed) == moved.sum() and len(listed) == 6
    assert [one[2] for one in listed] == sorted((one[2] for one in listed), reverse=True)
    with (out / "from_to.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["from \\ to (ha)", *table.names, "total"]
    assert [row[0] for row in rows[1:]] == [*table.names, "total"]
    numbers = np.array([[float(n) for n in row[1:]] for row in rows[1:]])
    np.testing.assert_allclose(numbers[:-1, :-1], table.areas, atol=1e-6)
    known = read(out, "before") != 255
    for margin, name in ((numbers[:-1, -1], "before"), (numbers[-1, :-1], "after")):
        np.testing.assert_allclose(margin, [area[read(out, name) == code].sum() for code in IDS], atol=1e-6)
    assert numbers[-1, -1] == pytest.approx(area[known].sum())


def test_polygons_are_the_patches(noise, write_pair, legend, tmp_path, narrow_strips):
    layers, out = noise(3), tmp_path / "out"
    result = change_maps(write_pair(layers), legend, out, ChangeSettings(mmu_pixels=3))
    code = naive_change(layers, 0.5, 3)[-1]
    expected = sorted(
        (int(IDS[one // 3]), int(IDS[one % 3]), int(where.sum()), round(layers["probability"][where].mean() / 200, 9))
        for one, where in patches_of(code)
    )
    names = dict(zip(legend.ids, legend.names, strict=True))
    grid = make_grid((60, 70), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
    area = PixelArea(grid).of(full_window(grid))
    for frame in (layer_of(out), geopandas.read_parquet(out / "changes.parquet")):
        found = zip(frame.from_id, frame.to_id, frame.pixels, frame.confidence.round(9), strict=True)
        assert sorted(found) == expected and result.patches == len(frame)
        assert frame.geometry.is_valid.all() and (frame.geom_type == "Polygon").all()
        np.testing.assert_allclose(frame.area, frame.pixels * 100)
        assert list(frame["from"]) == [names[code] for code in frame.from_id]
        assert list(frame["to"]) == [names[code] for code in frame.to_id]
        assert set(frame.date_from) == {"2018-06-01"} and set(frame.date_to) == {"2024-06-01"}
        assert sorted(frame.id) == list(range(1, len(frame) + 1)) and frame.crs.to_epsg() == 32633
        shapes = zip(frame.geometry, np.arange(len(frame)), strict=True)
        burnt = rasterize(shapes, (60, 70), fill=-1, transform=grid.transform, dtype="int32")
        np.testing.assert_array_equal(burnt >= 0, code >= 0)
        for number in range(len(frame)):
            place, names_of = np.where(burnt == number), (frame["from"][number], frame["to"][number])
            assert set(code[place]) == {legend.index_of(names_of[0]) * 3 + legend.index_of(names_of[1])}
            assert frame.area_ha[number] == pytest.approx(area[place].sum())


@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 20),
    width=st.integers(1, 16),
    rows=st.integers(1, 9),
    smallest=st.integers(1, 5),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_strips_end(seed, height, width, rows, smallest, tmp_path_factory, write_pair, legend, read):
    rng = np.random.default_rng(seed)
    layers = {role: rng.choice(np.array([7, 2], np.uint8), (height, width)) for role in ("before", "after")}
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inputs_module, "_STRIP_PIXELS", rows * width)
        patch.setattr(polygons_module, "_BATCH", 20)
        result = change_maps(write_pair(layers), legend, out, ChangeSettings(mmu_pixels=smallest))
    before, after, from_to, _, dropped, code = naive_change(layers, 0.5, smallest)
    np.testing.assert_array_equal(read(out, "from_to"), from_to)
    found = geopandas.read_parquet(out / "changes.parquet")
    assert len(found) == result.patches == len(patches_of(code)) and result.dropped_patches == dropped
    assert found.geometry.is_valid.all() and sorted(found.area / 100) == sorted(w.sum() for _, w in patches_of(code))


def test_a_ring_that_touches_itself_at_a_corner(write_pair, legend, tmp_path):
    after = np.array([[2, 2, 2, 7], [2, 7, 2, 7], [2, 2, 7, 7], [7, 7, 7, 7]], np.uint8)
    for name, rows in (("one", 4), ("two", 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inputs_module, "_STRIP_PIXELS", rows * 4)
            change_maps(write_pair({"before": np.full((4, 4), 7, np.uint8), "after": after}), legend, tmp_path / name)
        [polygon] = layer_of(tmp_path / name).geometry
        assert polygon.is_valid and polygon.area == 700 and polygon.geom_type == "Polygon"


def test_the_updated_map_keeps_what_did_not_change(write_pair, legend, read, tmp_path):
    layers = {
        "before": np.array([[7, 7, 7, 255, 7]], np.uint8),
        "after": np.array([[7, 2, 2, 2, 255]], np.uint8),
        "probability": np.array([[0, 200, 0, 200, 200]], np.uint8),
        "old": np.array([[5, 255, 255, 5, 2]], np.uint8),
    }
    change_maps(write_pair(layers), legend, tmp_path / "out")
    assert read(tmp_path / "out", "updated").tolist() == [[5, 2, 255, 5, 2]]


def test_without_an_old_map_the_earlier_map_is_updated(write_pair, legend, read, tmp_path):
    layers = {"before": np.array([[7, 7, 255, 7]], np.uint8), "after": np.array([[7, 2, 2, 255]], np.uint8)}
    change_maps(write_pair(layers), legend, tmp_path / "out")
    assert read(tmp_path / "out", "updated").tolist() == [[7, 2, 255, 7]]


def test_areas_in_degrees_are_true_ones(write_pair, legend, tmp_path):
    """A square of 0.001° at 60° north is half as wide as at the equator, where it is 111.32 by 110.574 metres."""
    before, after = np.full((20, 20), 7, np.uint8), np.full((20, 20), 7, np.uint8)
    after[5:10, 5:10] = 2
    frames = []
    for north in (0.01, 60.01):
        change_maps(
            write_pair(
                {"before": before, "after": after}, crs="EPSG:4326", transform=Affine(0.001, 0, 10, 0, -0.001, north)
            ),
            legend,
            tmp_path / str(north),
        )
        frames.append(layer_of(tmp_path / str(north)))
    equator, north = (frame.area_ha[0] for frame in frames)
    assert equator == pytest.approx(25 * 111.32 * 110.574 / 1e4, rel=1e-3)
    assert north / equator == pytest.approx(0.5, rel=0.02)


@pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")
def test_a_grid_without_crs_counts_pixels(write_pair, legend, tmp_path):
    layers = {"before": np.full((5, 6), 7, np.uint8), "after": np.full((5, 6), 7, np.uint8)}
    layers["after"][1:3, 2:5] = 2
    pair = write_pair(layers, crs=None, transform=Affine.identity())
    result = change_maps(pair, legend, tmp_path / "out", ChangeSettings(mmu_pixels=6))
    assert result.from_to.unit == "px" and result.from_to.areas[0][1] == 6 == result.from_to.changed
    for frame in (
        layer_of(tmp_path / "out"),
        geopandas.read_parquet(tmp_path / "out" / "changes.parquet"),
    ):
        assert "area_ha" not in frame and frame.pixels.tolist() == [6] and frame.total_bounds.tolist() == [2, 1, 5, 3]
        assert np.isnan(frame.confidence.astype(float)).all()


def test_a_patch_passes_if_it_reaches_the_unit(write_pair, legend, tmp_path):
    layers = {"before": np.full((9, 9), 7, np.uint8), "after": np.full((9, 9), 7, np.uint8)}
    layers["after"][0, :3] = layers["after"][4, :4] = 2
    grid = make_grid((9, 9), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
    four = float(PixelArea(grid).of(full_window(grid))[4, :4].sum())
    for mmu, kept in ((four, 1), (four * 1.0001, 0), (four / 2, 2)):
        result = change_maps(write_pair(layers), legend, tmp_path / "out", ChangeSettings(mmu_ha=mmu))
        assert (result.patches, result.dropped_patches) == (kept, 2 - kept)
        lost = {2: 0, 1: four * 3 / 4, 0: four * 7 / 4}[kept]
        assert result.dropped_area == pytest.approx(lost) and result.mmu == f"{mmu:g} ha"
        assert result.from_to.changed == pytest.approx(four * 7 / 4 - lost)


def test_nothing_changed(write_pair, legend, tmp_path):
    same = np.full((5, 6), 7, np.uint8)
    result = change_maps(write_pair({"before": same, "after": same}), legend, tmp_path / "out")
    assert result.patches == 0 == result.from_to.changed and result.from_to.transitions() == []
    assert len(layer_of(tmp_path / "out")) == 0
    frame = geopandas.read_parquet(tmp_path / "out" / "changes.parquet")
    assert len(frame) == 0 and frame.crs.to_epsg() == 32633


def test_the_folder(noise, write_pair, legend, tmp_path):
    out = tmp_path / "change" / "here"
    pair = write_pair(noise(4))
    result = change_maps(pair, legend, out, ChangeSettings(mmu_pixels=2))
    rasters = ("from_to", "before", "after", "updated")
    beside = [f"{name}{ending}" for name in rasters for ending in (".tif", ".tif.aux.xml", ".qml")]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*beside, "changes.gpkg", "changes.parquet", "from_to.csv", "mapmend.json"]
    )
    for name in rasters:
        assert cog_validate(out / f"{name}.tif", strict=True)[0]
    with rasterio.open(out / "from_to.tif") as file:
        rasterio.shutil.copy(file, tmp_path / "copy.vrt", driver="VRT")
        codes, counts = np.unique(file.read(1)[file.read(1) != file.nodata], return_counts=True)
    rows = [[cell.text for cell in row] for row in Xml.parse(tmp_path / "copy.vrt").iter("Row")]
    assert [(int(row[0]), int(row[7])) for row in rows] == list(zip(codes, counts, strict=True))
    assert rows[1][1:7] == ["water → forest", "water", "forest", "0", "128", "0"], "GDAL reads the attribute table"
    assert read_change(out) == result
    record = json.loads((out / "mapmend.json").read_text())
    assert record["config"]["settings"]["mmu_pixels"] == 2 and "from_to.tif" in record["files"]
    assert {tuple(layer) for layer in pyogrio.list_layers(out / "changes.gpkg")} >= {("changes", "Polygon")}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_the_same_job_is_done_once_and_another_anew(noise, write_pair, legend, tmp_path):
    out, pair = tmp_path / "out", write_pair(noise(5))
    first = change_maps(pair, legend, out)
    written = times(out)
    assert change_maps(pair, legend, out) == first and times(out) == written
    second = change_maps(pair, legend, out, ChangeSettings(mmu_pixels=5))
    assert second.patches < first.patches and read_change(out) == second
    written = times(out)
    other = write_pair(noise(6))
    third = change_maps(other, legend, out, ChangeSettings(mmu_pixels=5))
    assert third != second and times(out)["before.tif"] != written["before.tif"], "an input was replaced"
    (out / "changes.gpkg").unlink()
    assert read_change(out) is None
    again = change_maps(other, legend, out, ChangeSettings(mmu_pixels=5))
    assert replace(again, seconds=third.seconds) == third and (out / "changes.gpkg").is_file()


def test_what_is_interrupted_does_not_look_complete(noise, write_pair, legend, tmp_path, monkeypatch):
    out, pair = tmp_path / "out", write_pair(noise(5))
    change_maps(pair, legend, out)

    def full(*arguments, **named):
        raise DiskError("cannot be written: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("mapmend.change.rasters.write_cog", full)
        with pytest.raises(DiskError):
            change_maps(pair, legend, out, ChangeSettings(threshold=0.9))
        with pytest.raises(DiskError):
            change_maps(pair, legend, tmp_path / "new")
    assert read_change(out) is None and not (out / ".work").exists()
    assert read_change(tmp_path / "new") is None
    assert change_maps(pair, legend, out, ChangeSettings(threshold=0.9)) == read_change(out)


def test_all_of_it_in_a_large_legend(write_pair, read, tmp_path):
    many = Legend("many", tuple(LegendClass(code, f"class {code}", f"#{code:02x}0000") for code in range(20)))
    rng = np.random.default_rng(0)
    layers = {role: rng.integers(0, 20, (30, 40)).astype(np.uint8) for role in ("before", "after")}
    layers["after"][0, 0] = 255
    result = change_maps(write_pair(layers), many, tmp_path / "out")
    codes = read(tmp_path / "out", "from_to")
    expected = layers["before"].astype(int) * 20 + layers["after"]
    expected[0, 0] = 65535
    assert codes.dtype == np.uint16 and sum(map(sum, result.from_to.pixels)) == 1199
    np.testing.assert_array_equal(codes, expected)
    with rasterio.open(tmp_path / "out" / "from_to.tif") as file:
        assert file.colormap(1)[25] == (5, 0, 0, 255) and file.nodata == 65535


def test_geometry_is_rotated_with_its_grid(write_pair, legend, tmp_path):
    turned = Affine.translation(500000, 4000000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    before, after = np.full((5, 5), 7, np.uint8), np.full((5, 5), 7, np.uint8)
    after[1, 2] = 2
    change_maps(write_pair({"before": before, "after": after}, transform=turned), legend, tmp_path / "out")
    [polygon] = layer_of(tmp_path / "out").geometry
    corners = [turned @ place for place in ((2, 1), (3, 1), (3, 2), (2, 2))]
    assert polygon.symmetric_difference(shapely.Polygon(corners)).area < 1e-3
