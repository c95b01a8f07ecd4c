import hashlib
import multiprocessing
import resource
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rio_cogeo.cogeo import cog_validate

from mapmend.core.errors import DiskError, GridError, RasterError
from mapmend.core.grid import Window, full_window, make_grid
from mapmend.core.legend import Legend, LegendClass
from mapmend.raster.opening import raster_info
from mapmend.raster.style import Column
from mapmend.raster.writing import TiledWriter, check_disk, write_cog, write_qml

GRID = make_grid((700, 900), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
LEGEND = Legend("two", (LegendClass(1, "water <&> ice", "#0000ff"), LegendClass(4, "built", "#ff0000")))
CLASSES = np.random.default_rng(0).choice(np.array([1, 4, 255], np.uint8), (700, 900))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def windows(step, grid=GRID):
    whole = full_window(grid)
    cells = (
        Window(row, col, step, step) for row in range(0, whole.height, step) for col in range(0, whole.width, step)
    )
    return [cell.intersect(whole) for cell in cells]


def category_names_by_gdal(path, tmp_path):
    """What GDAL reads as a band's categories: it writes them into a VRT copy."""
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, tmp_path / "copy.vrt", driver="VRT")
    return [category.text for category in Xml.parse(tmp_path / "copy.vrt").iter("Category")]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("compress", ["zstd", "deflate", "none"])
def test_windows_written_in_any_order_come_back(dtype, compress, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 250, (3, 700, 900)).astype(dtype)
    path = tmp_path / "a.tif"
    names, tags = ("blue", "nir", "nir"), {"MADE_BY": "a test <&>"}
    with TiledWriter(path, GRID, 3, dtype, 7, compress, names, tags) as writer:
        for window in windows(256)[::-1]:
            writer.write(window, pixels[:, *window.slices])
        assert not path.exists(), "nothing is there before it is whole"
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), pixels)
        assert file.block_shapes[0] == (512, 512) and file.nodata == 7 and file.tags()["MADE_BY"] == "a test <&>"
        assert file.crs.to_epsg() == 32633 and file.transform == GRID.transform and file.descriptions == names
        assert (file.compression.value.lower() if file.compression else "none") == compress
    assert names_in(tmp_path) == ["a.tif"]


def test_four_bands_have_no_alpha(tmp_path):
    with TiledWriter(tmp_path / "a.tif", GRID, 4, "uint8") as writer:
        writer.write(full_window(GRID), np.zeros((4, 700, 900), np.uint8))
    assert "alpha" not in raster_info(tmp_path / "a.tif").colorinterp and not raster_info(tmp_path / "a.tif").masked


def test_a_class_raster_has_colours_and_names(tmp_path):
    path = tmp_path / "a.tif"
    with TiledWriter(path, GRID, 1, "uint8", 255, legend=LEGEND) as writer:
        writer.write(full_window(GRID), CLASSES)
    with rasterio.open(path) as file:
        assert file.colormap(1)[1] == (0, 0, 255, 255) and file.colormap(1)[4] == (255, 0, 0, 255)
        np.testing.assert_array_equal(file.read(1), CLASSES)
    assert category_names_by_gdal(path, tmp_path) == [None, "water <&> ice", None, None, "built"]


def test_what_is_never_written_is_nodata(tmp_path):
    with TiledWriter(tmp_path / "a.tif", GRID, 1, "uint8", 255) as writer:
        writer.write(Window(600, 100, 50, 60), np.ones((50, 60), np.uint8))
    with rasterio.open(tmp_path / "a.tif") as file:
        values = file.read(1)
    assert (values[600:650, 100:160] == 1).all() and (values == 255).sum() == 700 * 900 - 3000


def test_a_grid_without_crs_stays_one(tmp_path):
    for name, transform in (("a.tif", Affine.identity()), ("b.tif", Affine(2, 0, 5, 0, -2, 9))):
        grid = make_grid((20, 30), transform, None)
        with TiledWriter(tmp_path / name, grid, 1, "uint8") as writer:
            writer.write(full_window(grid), np.ones((20, 30), np.uint8))
        with rasterio.open(tmp_path / name) as file:
            assert file.crs is None and file.transform == transform


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_an_interrupted_file_leaves_the_old_one(fault, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"old")
    with pytest.raises(fault), TiledWriter(path, GRID, 1, "uint8", legend=LEGEND) as writer:
        writer.write(Window(0, 0, 10, 10), np.ones((10, 10), np.uint8))
        raise fault
    assert path.read_bytes() == b"old" and names_in(tmp_path) == ["a.tif"]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    killed = (
        "import os, sys, numpy as np\n"
        "from affine import Affine\n"
        "from mapmend.core.grid import Window, make_grid\n"
        "from mapmend.raster.writing import TiledWriter\n"
        "grid = make_grid((64, 64), Affine.identity(), None)\n"
        "writer = TiledWriter(sys.argv[1], grid, 1, 'uint8').__enter__()\n"
        "writer.write(Window(0, 0, 64, 64), np.ones((64, 64), np.uint8))\n"
        "os._exit(9)\n"
    )
    path = tmp_path / "a.tif"
    assert subprocess.run([sys.executable, "-c", killed, str(path)], check=False).returncode == 9
    assert not path.exists() and len(names_in(tmp_path)) == 1
    with TiledWriter(path, GRID, 1, "uint8") as writer:
        writer.write(full_window(GRID), CLASSES)
    assert names_in(tmp_path) == ["a.tif"]


def test_pixels_must_fit_their_window(tmp_path):
    with TiledWriter(tmp_path / "a.tif", GRID, 2, "uint8") as writer:
        with pytest.raises(GridError, match="lies outside the grid"):
            writer.write(Window(690, 0, 20, 20), np.ones((2, 20, 20), np.uint8))
        with pytest.raises(GridError, match="do not fill"):
            writer.write(Window(0, 0, 20, 20), np.ones((20, 20), np.uint8))


def blocks_of(pixels, folder, step, nodata, legend=None):
    sources = []
    for window in windows(step):
        path = folder / f"{window.row}_{window.col}.tif"
        grid = make_grid(
            (window.height, window.width), GRID.transform @ Affine.translation(window.col, window.row), "EPSG:32633"
        )
        with TiledWriter(path, grid, len(pixels), pixels.dtype, nodata, legend=legend) as writer:
            writer.write(full_window(grid), pixels[:, *window.slices])
        sources.append((path, window))
    return sources


def assert_valid_cog(path):
    valid, errors, warnings = cog_validate(path, strict=True)
    assert valid and not errors and not warnings


def test_a_class_cog(tmp_path):
    (tmp_path / "blocks").mkdir()
    sources = blocks_of(CLASSES[None], tmp_path / "blocks", 300, 255, LEGEND)
    out = tmp_path / "out"
    out.mkdir()
    path = out / "class.tif"
    write_cog(sources, GRID, path, kind="class", legend=LEGEND, dtype="uint8", nodata=255, tags={"SEED": "1 <&>"})
    assert names_in(out) == ["class.tif", "class.tif.aux.xml"]
    assert_valid_cog(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), CLASSES)
        assert file.nodata == 255 and file.tags()["SEED"] == "1 <&>" and file.descriptions == ("class",)
        assert file.colormap(1)[4] == (255, 0, 0, 255) and file.colorinterp[0].name == "palette"
        assert file.crs.to_epsg() == 32633 and file.transform == GRID.transform
        assert file.profile["compress"].lower() == "zstd" and file.block_shapes[0] == (512, 512)
        assert file.overviews(1) == [2]
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {1, 4, 255}, "an overview by mode invents no class"
    assert category_names_by_gdal(path, tmp_path) == [None, "water <&> ice", None, None, "built"]


class FromTo:
    """The from-to codes of two classes; what changed has the colour of what it became."""

    classes = (
        LegendClass(0, "water (unchanged)", "#b2b2ff"),
        LegendClass(1, "water → built <&>", "#ff0000"),
        LegendClass(2, "built <&> → water", "#0000ff"),
        LegendClass(3, "built <&> (unchanged)", "#ffb2b2"),
    )

    def colormap(self):
        return {entry.id: (*entry.rgb, 255) for entry in self.classes}


def attribute_table_by_gdal(path, tmp_path):
    """What GDAL reads as a band's attribute table: (name, type, usage) of its columns, and its rows."""
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, tmp_path / "copy.vrt", driver="VRT")
    table = Xml.parse(tmp_path / "copy.vrt").find(".//GDALRasterAttributeTable")
    columns = [tuple(field.findtext(key) for key in ("Name", "Type", "Usage")) for field in table.iter("FieldDefn")]
    return columns, [[cell.text for cell in row] for row in table.iter("Row")]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_from_to_cog(dtype, tmp_path):
    (tmp_path / "blocks").mkdir()
    nodata = np.iinfo(dtype).max
    codes = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, nodata], dtype), (700, 900))
    path = tmp_path / "from_to.tif"
    attributes = [
        Column("Value", [1, 3], "value"),
        Column("Class name", ["water → built <&>", "built <&> (unchanged)"], "name"),
        Column("From", ["water", "built <&>"]),
        Column("Red", [255, 255], "red"),
        Column("Pixels", [5 * 10**9, 7], "count"),
        Column("Area (ha)", [0.25, 1e7]),
    ]
    write_cog(
        blocks_of(codes[None], tmp_path / "blocks", 300, nodata),
        GRID,
        path,
        kind="from_to",
        legend=FromTo(),
        dtype=dtype,
        nodata=nodata,
        attributes=attributes,
    )
    assert_valid_cog(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), codes)
        assert file.dtypes == (dtype,) and file.nodata == nodata and file.descriptions == ("from_to",)
        assert file.colormap(1)[1] == (255, 0, 0, 255) and file.colormap(1)[0] == (178, 178, 255, 255)
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= {0, 1, 2, 3, nodata}, "an overview by mode invents no code"
    assert category_names_by_gdal(path, tmp_path) == [entry.name for entry in FromTo.classes]
    columns, rows = attribute_table_by_gdal(path, tmp_path)
    assert columns == [  # types: 0 whole, 1 real, 2 text; a count of 5 billion does not fit into 32 bits
        ("Value", "0", "5"),
        ("Class name", "2", "2"),
        ("From", "2", "0"),
        ("Red", "0", "6"),
        ("Pixels", "1", "1"),
        ("Area (ha)", "1", "0"),
    ]
    assert [row[:4] for row in rows] == [
        ["1", "water → built <&>", "water", "255"],
        ["3", "built <&> (unchanged)", "built <&>", "255"],
    ]
    assert [[float(cell) for cell in row[4:]] for row in rows] == [[5e9, 0.25], [7, 1e7]]


def test_a_confidence_cog(tmp_path):
    (tmp_path / "blocks").mkdir()
    stored = np.random.default_rng(0).integers(0, 201, (1, 700, 900)).astype(np.uint8)
    stored[:, :100] = 255
    path = tmp_path / "confidence.tif"
    write_cog(
        blocks_of(stored, tmp_path / "blocks", 512, 255), GRID, path, kind="confidence", dtype="uint8", nodata=255
    )
    assert_valid_cog(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), stored)
        assert file.scales == (0.005,) and file.descriptions == ("confidence",)
    with rasterio.open(path, overview_level=0) as file:
        half = file.read(1)
    assert (half[:50] == 255).all() and half[50:].max() <= 200, "missing pixels do not enter an average"
    expected = stored[0, 100:].reshape(300, 2, 450, 2).mean(axis=(1, 3))
    assert np.abs(half[50:] - expected).max() <= 1


def test_an_image_cog_with_holes(tmp_path):
    (tmp_path / "blocks").mkdir()
    pixels = np.random.default_rng(0).integers(1, 60000, (4, 700, 900)).astype(np.uint16)
    sources = blocks_of(pixels, tmp_path / "blocks", 350, 0)[:-1]
    path = tmp_path / "image.tif"
    names = ("red", "green", "blue", "nir")
    write_cog(sources, GRID, path, kind="image", dtype="uint16", nodata=0, compress="deflate", band_names=names)
    assert_valid_cog(path)
    last = windows(350)[-1]
    expected = pixels.copy()
    expected[:, *last.slices] = 0
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), expected)
        assert file.descriptions == names and file.profile["compress"].lower() == "deflate"
    assert not raster_info(path).masked and "alpha" not in raster_info(path).colorinterp


def test_the_bytes_do_not_depend_on_the_blocks(tmp_path):
    sums = set()
    for step in (200, 333, 900):
        folder = tmp_path / str(step)
        folder.mkdir()
        sources = blocks_of(CLASSES[None], folder, step, 255)
        write_cog(sources[::-1], GRID, folder / "class.tif", kind="class", legend=LEGEND, dtype="uint8", nodata=255)
        sums.add(hashlib.sha256((folder / "class.tif").read_bytes()).hexdigest())
    assert len(sums) == 1


def test_a_cog_without_georeference(tmp_path, recwarn):
    grid = make_grid((20, 30), Affine.identity(), None)
    with TiledWriter(tmp_path / "block.tif", grid, 1, "uint8", 255) as writer:
        writer.write(full_window(grid), CLASSES[:20, :30])
    source = [(tmp_path / "block.tif", full_window(grid))]
    write_cog(source, grid, tmp_path / "class.tif", kind="class", legend=LEGEND, dtype="uint8", nodata=255)
    assert not recwarn.list, "the tool's own files need no warning"
    with rasterio.open(tmp_path / "class.tif") as file:
        assert file.crs is None and file.transform.is_identity


def test_blocks_that_do_not_fit(tmp_path):
    (tmp_path / "blocks").mkdir()
    sources = blocks_of(CLASSES[None], tmp_path / "blocks", 350, 255)
    path = tmp_path / "class.tif"
    for wrong in (
        [(sources[0][0], Window(0, 0, 10, 10))],
        [(sources[0][0], Window(500, 0, 350, 350))],
        [],
    ):
        with pytest.raises(GridError):
            write_cog(wrong, GRID, path, kind="class", dtype="uint8", nodata=255)
    with pytest.raises(RasterError, match="does not exist"):
        write_cog([(tmp_path / "none.tif", sources[0][1])], GRID, path, kind="class", dtype="uint8", nodata=255)
    assert names_in(tmp_path) == ["blocks"]


def write_with_limit(what, folder, limit, answer):
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500)).astype(np.uint8)
    grid = make_grid((1500, 1500), GRID.transform, "EPSG:32633")
    block = folder / "block.tif"
    if what == "cog":
        with TiledWriter(block, grid, 1, "uint8") as writer:
            writer.write(full_window(grid), noise)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # writes beyond fail as they do on a full disk
    try:
        if what == "tiled":
            with TiledWriter(folder / "a.tif", grid, 1, "uint8") as writer:
                writer.write(full_window(grid), noise)
        elif what == "cog":
            source = [(block, full_window(grid))]
            write_cog(source, grid, folder / "a.tif", kind="class", dtype="uint8", nodata=0)
        else:
            write_qml(folder / "a.tif", LEGEND)
        answer.send("written")
    except DiskError as error:
        answer.send(str(error))


@pytest.mark.parametrize(
    ("what", "limit"), [("tiled", 0), ("tiled", 300), ("tiled", 10**6), ("cog", 0), ("cog", 10**6), ("style", 10)]
)
def test_a_full_disk_is_one_line_and_leaves_nothing(what, limit, tmp_path):
    context = multiprocessing.get_context("fork")  # the limit holds in the child only
    mine, theirs = context.Pipe()
    child = context.Process(target=write_with_limit, args=(what, tmp_path, limit, theirs))
    child.start()
    assert mine.poll(60)
    assert mine.recv() == f"{tmp_path / 'a.tif'}: cannot be written: the disk is full; free some space and run it again"
    child.join(60)
    assert names_in(tmp_path) == (["block.tif"] if what == "cog" else [])


def test_a_folder_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(RasterError, match="cannot be written"),
        TiledWriter(tmp_path / "no" / "a.tif", GRID, 1, "uint8"),
    ):
        pass


def test_check_disk(tmp_path):
    check_disk(tmp_path / "not yet" / "there.tif", 1000)
    with pytest.raises(DiskError, match=r"needs about 1000000\.0 GB and .* are free; free some space"):
        check_disk(tmp_path / "a.tif", 10**15)


def test_the_qgis_style(tmp_path):
    write_qml(tmp_path / "a.qml", LEGEND)
    entries = [entry.attrib for entry in Xml.parse(tmp_path / "a.qml").iter("paletteEntry")]
    assert [(entry["value"], entry["color"], entry["label"]) for entry in entries] == [
        ("1", "#0000ff", "water <&> ice"),
        ("4", "#ff0000", "built"),
    ]
    assert Path(tmp_path / "a.qml").read_text().startswith("<qgis")
