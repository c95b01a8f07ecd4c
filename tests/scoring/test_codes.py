"""Counting codes as they stand in the files gives what a look at every pixel gives."""

import threading
import tracemalloc

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from mapmend.core.errors import LegendError, RasterError
from mapmend.scoring import codes, gathering
from mapmend.scoring.images import ScoredImage, ScoreInputs
from mapmend.scoring.job import score


def tif(path, values, *, dtype="uint8", nodata=None, mask=None, alpha=None, **layout):
    values = np.asarray(values, dtype)
    height, width = values.shape
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": nodata}
    count = 1 if alpha is None else 2
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", "GTiff", width, height, count, dtype=dtype, **place, **layout) as file,
    ):
        file.write(values, 1)
        if alpha is not None:
            file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
            file.write(np.asarray(alpha, dtype), 2)
        if mask is not None:
            file.write_mask(np.asarray(mask))
    return path


def expected(true, made, known_true, known_made, classes):
    """A loop over the pixels."""
    counts, missing = np.zeros((classes, classes), int), np.zeros(classes, int)
    for r, p, has_r, has_p in zip(*(a.ravel() for a in (true, made, known_true, known_made)), strict=True):
        if has_r and has_p:
            counts[r, p] += 1
        elif has_r:
            missing[r] += 1
    return counts, missing


def matrix_of(made, true, classes, **settings):
    """The matrix behind `score`."""
    caught = []
    close = gathering.DateCounts.close_image
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            gathering.DateCounts,
            "close_image",
            lambda self, name, matrix, edges: caught.append(matrix) or close(self, name, matrix, edges),
        )
        score(ScoreInputs(made, true), classes, ring=0, **settings)
    return caught[0]


def two_maps(shape, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, shape)
    return true, np.where(rng.random(shape) < 0.7, true, rng.integers(0, classes, shape))


TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (17, 1), (33, 50), (64, 64)])
@pytest.mark.parametrize("layouts", [({}, {}), (TILED, TILED), (TILED, {}), ({}, TILED)])
def test_every_pair_is_counted_once_whatever_the_size_and_the_layout(tmp_path, monkeypatch, shape, layouts):
    monkeypatch.setattr(codes, "_SIDE", 16)
    true, made = two_maps(shape)
    true[0, :3] = 255
    files = tif(tmp_path / "p.tif", made, **layouts[0]), tif(tmp_path / "r.tif", true, **layouts[1])
    matrix = matrix_of(*files, 4)
    counts, missing = expected(true, made, true != 255, made != 255, 4)
    assert np.array_equal(matrix.counts, counts) and np.array_equal(matrix.missing, missing)


@pytest.mark.parametrize("nodata", [(None, None), (3, 0), (255, 200), (None, 9)])
def test_each_files_own_nodata_counts_and_a_class_code_may_be_nodata(tmp_path, nodata):
    true, made = two_maps((20, 30))
    made[:4] = 255 if nodata[0] is None else nodata[0]
    files = tif(tmp_path / "p.tif", made, nodata=nodata[0]), tif(tmp_path / "r.tif", true, nodata=nodata[1])
    matrix = matrix_of(*files, 4)
    known_true, known_made = true != nodata[1], (made != nodata[0]) & (made != 255)
    counts, missing = expected(true, made, known_true, known_made, 4)
    assert np.array_equal(matrix.counts, counts) and np.array_equal(matrix.missing, missing)


@pytest.mark.parametrize("kind", ["mask", "alpha", "uint16", "int16", "float32"])
def test_rasters_that_codes_alone_do_not_describe_count_the_same(tmp_path, kind):
    true, made = two_maps((20, 30))
    hidden = np.zeros(true.shape, bool)
    hidden[5:9, 3:20] = True
    extra = {"mask": {"mask": ~hidden}, "alpha": {"alpha": np.where(hidden, 0, 255)}}.get(kind, {"dtype": kind})
    if "dtype" in extra:
        hidden[:] = False
        hidden[2] = made[2] = True
        made[2], extra["nodata"] = 9, 9
    matrix = matrix_of(tif(tmp_path / "p.tif", made, **extra), tif(tmp_path / "r.tif", true), 4)
    counts, missing = expected(true, made, ~np.zeros_like(hidden), ~hidden, 4)
    assert np.array_equal(matrix.counts, counts) and np.array_equal(matrix.missing, missing)


def test_ignored_codes_have_no_class(tmp_path):
    true, made = two_maps((20, 30))
    true[3], made[4] = 77, 78
    matrix = matrix_of(tif(tmp_path / "p.tif", made), tif(tmp_path / "r.tif", true), 4, ignore=(77, 78))
    counts, missing = expected(true, made, true != 77, made != 78, 4)
    assert np.array_equal(matrix.counts, counts) and np.array_equal(matrix.missing, missing)


@pytest.mark.parametrize("strange", ["reference", "prediction"])
def test_a_strange_code_is_told_with_its_pixels_even_where_nothing_is_compared(tmp_path, strange):
    true, made = two_maps((20, 30))
    true[3] = 255
    (true if strange == "reference" else made)[3, :5] = 42
    made_file, true_file = tif(tmp_path / "p.tif", made), tif(tmp_path / "r.tif", true)
    with pytest.raises(LegendError, match=r"code 42 \(5 px\) not in 'codes 0 to 3'") as fault:
        score(ScoreInputs(made_file, true_file), 4, ring=0)
    assert fault.value.where == str(true_file if strange == "reference" else made_file)
    with pytest.raises(LegendError) as with_boundaries:
        score(ScoreInputs(made_file, true_file), 4)
    assert str(with_boundaries.value) == str(fault.value)


def test_a_file_that_breaks_off_is_one_error_and_the_threads_end(tmp_path, monkeypatch):
    monkeypatch.setattr(codes, "_SIDE", 16)
    true, made = two_maps((160, 160))
    files = tif(tmp_path / "p.tif", made, **TILED), tif(tmp_path / "r.tif", true, **TILED)
    read, asked = ScoredImage.read_plain, []

    def breaking(self, role, window):
        asked.append(window)
        if len(asked) > 10:
            raise RasterError("cannot be read", where="r.tif")
        return read(self, role, window)

    monkeypatch.setattr(ScoredImage, "read_plain", breaking)
    with pytest.raises(RasterError, match="cannot be read"):
        score(ScoreInputs(*files), 4, ring=0)
    assert len(asked) < 20 and not [one for one in threading.enumerate() if one.name.startswith("counter")]


def test_memory_does_not_grow_with_the_rasters(tmp_path, monkeypatch):
    large = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    monkeypatch.setattr(codes, "_SIDE", 256)

    def peak(side):
        files = [tif(tmp_path / f"{name}{side}.tif", np.zeros((side, side)), **large) for name in "pr"]
        tracemalloc.start()
        matrix_of(*files, 2)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(256)
    # how far two threads' windows coincide is chance; a whole raster in memory would be 16 MiB
    assert peak(4096) < peak(512) + 4 * 2**20
