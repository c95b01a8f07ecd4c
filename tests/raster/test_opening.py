import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from mapmend.core.errors import RasterError
from mapmend.raster import opening
from mapmend.raster.opening import NotGeoreferenced, handle, open_raster, raster_info

NOISE = np.random.default_rng(0).integers(0, 255, (3, 40, 60)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "driver", "crs"),
    [
        ("a.tif", "GTiff", "EPSG:32633"),
        ("a.img", "ENVI", "EPSG:32633"),
        ("a.png", "PNG", None),
        ("a.jpg", "JPEG", None),
        ("a.jp2", "JP2OpenJPEG", "EPSG:32633"),
        ("a.bmp", "BMP", None),
    ],
)
@pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")
def test_the_six_formats_open(name, driver, crs, write_raster):
    path = write_raster(name, NOISE, driver=driver, crs=crs)
    with open_raster(path) as file:
        assert (file.driver, file.count, file.shape) == (driver, 3, (40, 60))


def test_the_content_counts_not_the_ending(write_raster, tmp_path):
    path = write_raster("a.tif", NOISE)
    Path(path).rename(tmp_path / "a.png")
    with open_raster(tmp_path / "a.png") as file:
        assert file.driver == "GTiff"


def test_a_vrt_is_refused_whatever_it_is_called(write_raster, tmp_path):
    path = write_raster("a.tif", NOISE)
    with rasterio.open(path) as file:
        rasterio.shutil.copy(file, tmp_path / "a.vrt", driver="VRT")
    (tmp_path / "b.tif").write_bytes(b"\n <!-- " + b"x" * 500 + b" -->\n" + (tmp_path / "a.vrt").read_bytes())
    for name in ("a.vrt", "b.tif"):
        with pytest.raises(RasterError, match="VRT, which may read any other file"):
            open_raster(tmp_path / name)
    with open_raster(tmp_path / "a.vrt", allow_vrt=True) as file:
        np.testing.assert_array_equal(file.read(), NOISE)


@pytest.mark.parametrize(
    "path",
    [
        "/vsicurl/http://example.org/a.tif",
        "/VSIcurl/http://example.org/a.tif",
        "/vsizip//vsicurl/http://example.org/a.zip/a.tif",
        "/vsimem/a.tif",
        "/vsistdin/",
        "/vsisubfile/0_100,/etc/passwd",
        "http://example.org/a.tif",
        "HTTPS://example.org/a.tif",
        "s3://bucket/a.tif",
        "zip+https://example.org/a.zip!a.tif",
        "file:///etc/passwd",
        "vrt:///etc/passwd?bands=1",
    ],
)
def test_remote_and_virtual_paths_are_refused(path):
    for call in (open_raster, handle, raster_info):
        with pytest.raises(RasterError, match="is a remote or virtual path; give a local file"):
            call(path)


@pytest.mark.parametrize(
    "path",
    [
        "MEM:::DATAPOINTER=1,PIXELS=1,LINES=1",
        "GTIFF_DIR:1:/etc/passwd",
        "GTIFF_RAW:a.tif",
        'NETCDF:"a.nc":x',
        "SENTINEL2_L2A:/a/MTD.xml:10m:EPSG_32633",
        "JPEG_SUBFILE:0,10,a.jpg",
        "<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>",
        '{"type": "gdal_streamed_alg"}',
        "<GDAL_WMS/>" * 1000,
    ],
)
def test_connection_texts_are_refused(path):
    with pytest.raises(RasterError, match="is a GDAL connection text, not a file"):
        open_raster(path)


def test_a_file_named_like_a_connection_text_is_only_a_file(write_raster, tmp_path, monkeypatch):
    write_raster("a.tif", NOISE)
    (tmp_path / "a.tif").rename(tmp_path / "GTIFF_DIR:1:b.tif")
    monkeypatch.chdir(tmp_path)
    with open_raster("GTIFF_DIR:1:b.tif") as file:
        np.testing.assert_array_equal(file.read(), NOISE)


def test_missing_folder_pipe_and_nul(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    for path, reason in (
        (tmp_path / "none.tif", "does not exist; check the path"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.tif", "is not an ordinary file"),
        ("/dev/zero", "is not an ordinary file"),
        ("a\0b.tif", "cannot be reached"),
        (tmp_path / ("x" * 5000), "cannot be reached"),
        ("", "is a folder"),
    ):
        with pytest.raises(RasterError, match=reason):
            open_raster(path)


def test_a_large_sparse_file_passes(tmp_path):
    profile = {"driver": "GTiff", "width": 10**6, "height": 3 * 10**5, "count": 1, "dtype": "uint8", "bigtiff": "yes"}
    with rasterio.open(
        tmp_path / "a.tif", "w", crs="EPSG:32633", tiled=True, blockxsize=1024, blockysize=1024, compress="zstd",
        sparse_ok=True, transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile
    ) as file:  # fmt: skip
        file.write(np.full((1, 1024, 1024), 7, np.uint8), window=((2048, 3072), (1024, 2048)))
    with open_raster(tmp_path / "a.tif") as file:
        block = file.read(1, window=((2000, 3000), (1000, 2000)))
    assert block[0, 0] == 0 and block[-1, -1] == 7


def test_raster_info(write_raster):
    path = write_raster(
        "a.tif", NOISE.astype(np.int16), names=("blue", "", "nir"), nodata=-9, compress="zstd", tiled=True,
        blockxsize=32, blockysize=16,
    )  # fmt: skip
    info = raster_info(path)
    assert (info.count, info.dtype, info.nodata) == (3, "int16", (-9, -9, -9))
    assert (info.tiled, info.block, info.compression, info.masked) == (True, (16, 32), "zstd", False)
    assert info.band_names == ("blue", "", "nir") and info.colorinterp[0] == "gray"
    assert tuple(info.grid.shape) == (40, 60) and info.grid.crs.to_epsg() == 32633
    assert info.grid.transform[:6] == (10, 0, 500000, 0, -10, 4000000)


def test_one_warning_for_each_file_without_georeference(write_raster):
    paths = [write_raster(name, NOISE, driver=driver, crs=None, transform=None) for name, driver in
             (("a.png", "PNG"), ("b.jpg", "JPEG"), ("c.tif", "GTiff"))]  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in paths * 3:
            info = raster_info(path)
            assert info.grid.crs is None and info.grid.transform.is_identity
            handle(path).read()
    assert [warning.category for warning in caught] == [NotGeoreferenced] * 3
    assert all(path in str(warning.message) for path, warning in zip(paths, caught, strict=True))


def test_a_degenerate_transform_is_refused(write_raster):
    path = write_raster("a.tif", NOISE, transform=rasterio.Affine(10, 10, 0, 10, 10, 0))
    with pytest.raises(RasterError, match="maps its pixels onto a line"):
        raster_info(path)


def test_handles_are_kept_per_thread_and_bounded(write_raster, monkeypatch):
    monkeypatch.setattr(opening, "_MOST_HANDLES", 3)
    paths = [write_raster(f"{i}.tif", NOISE + np.uint8(i)) for i in range(5)]
    first = handle(paths[0])
    assert handle(paths[0]) is first
    others = []
    thread = threading.Thread(target=lambda: others.append(handle(paths[0])))
    thread.start()
    thread.join()
    assert others[0] is not first
    for path in paths[1:]:
        handle(path)
    assert first.closed and not handle(paths[4]).closed
    np.testing.assert_array_equal(handle(paths[0]).read(), NOISE)


def test_a_replaced_file_is_opened_anew(write_raster):
    path = write_raster("a.tif", NOISE)
    handle(path).read()
    other = write_raster("b.tif", 255 - NOISE)
    Path(other).replace(path)
    np.testing.assert_array_equal(handle(path).read(), 255 - NOISE)
