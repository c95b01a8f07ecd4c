"""A coarse label at its own pixel size: which of its pixels a fine pixel lies in, and what its product says there."""

import numpy as np
import pytest
import yaml
from affine import Affine
from tests.data.scenery import UTM, grid, image_of, write

from mapmend.core.grid import Window, make_grid
from mapmend.core.legend import load_legend
from mapmend.core.manifest import Row
from mapmend.core.sensor import load_sensor
from mapmend.data.label_pixels import LabelPixels, own_grid
from mapmend.data.prepare import prepare
from mapmend.data.samples import SiteReader, TrainingSet
from mapmend.data.sites import load_prepared
from mapmend.data.splits import split_sites

MIXTURE = {
    "name": "mixed",
    "source": "nlcd",
    "mapping": {"water": [11], "tree": [41], "low vegetation": [81], "built": [24]},
    "mixture": {41: [0.0, 0.9, 0.1, 0.0], 24: [0.0, 0.05, 0.15, 0.8]},
}
CODES = np.array([11, 41, 81, 24], np.uint8)


def same_partition(one, other):
    """Whether two numberings of pixels tell the same groups."""
    pairs = set(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def test_pixels_of_an_aligned_label():
    site, label = grid(120, 120, 1.0), grid(12, 12, 10.0)
    rows, cols = np.indices((40, 50))
    for row, col in ((0, 0), (7, 33), (-5, -5)):
        found = LabelPixels(site, label, None).read(Window(row, col, 40, 50))
        expected = (rows + row) // 10 * 1000 + (cols + col) // 10
        assert same_partition(found, expected)
        assert found.min() >= 0


def test_pixels_of_a_label_that_lies_elsewhere_and_does_not_fit_a_whole_number_of_times():
    site = grid(100, 100, 0.6)
    corner = Affine(7.0, 0, 500_000 - 3, 0, -7.0, 5_300_000 + 2)
    label = make_grid((12, 12), corner, UTM)
    found = LabelPixels(site, label, None).read(Window(20, 10, 60, 60))
    rows, cols = np.indices((60, 60)) + np.array([20, 10])[:, None, None]
    expected = ((rows + 0.5) * 0.6 + 2) // 7 * 1000 + ((cols + 0.5) * 0.6 + 3) // 7
    assert same_partition(found, expected)


def test_pixels_of_a_label_in_another_projection_are_those_that_the_warp_reads():
    """Each coarse pixel has a code of its own; read onto the fine grid by nearest neighbour they tell the cells."""
    from pyproj import Transformer

    site = grid(200, 200, 1.0)
    x, y = Transformer.from_crs(UTM, "EPSG:3035", always_xy=True).transform(500_100, 5_299_900)
    label = make_grid((40, 40), Affine(30.0, 0, x - 600, 0, -30.0, y + 600), "EPSG:3035")
    found = LabelPixels(site, label, None).read(Window(0, 0, 200, 200))
    to_label = Transformer.from_crs(UTM, "EPSG:3035", always_xy=True)
    rows, cols = np.indices((200, 200)) + 0.5
    east, north = to_label.transform(500_000 + cols, 5_300_000 - rows)
    expected = np.floor((east - (x - 600)) / 30) * 1000 + np.floor(((y + 600) - north) / 30)
    agree = [np.bincount(np.unique(expected[found == n], return_inverse=True)[1]).max() for n in np.unique(found)]
    assert sum(agree) / expected.size > 0.999


def test_squares_where_only_the_size_is_known_and_nothing_where_it_is_not():
    site = make_grid((90, 90), Affine.scale(2.0, -2.0), None)
    found = LabelPixels(site, None, 30.0).read(Window(5, 0, 40, 40))
    rows, cols = np.indices((40, 40))
    assert same_partition(found, (rows + 5) // 15 * 1000 + cols // 15)
    assert (LabelPixels(site, None, None).read(Window(0, 0, 8, 8)) == -1).all()


def test_whose_pixels_a_files_pixels_are():
    fine, coarse = grid(90, 90, 1.0), grid(3, 3, 30.0)
    assert own_grid(coarse, fine, None) is coarse
    assert own_grid(coarse, fine, 30.0) is coarse
    assert own_grid(fine, fine, None) is None
    assert own_grid(fine, fine, 30.0) is None  # resampled since
    assert own_grid(grid(6, 6, 15.0), fine, 30.0) is None
    assert own_grid(make_grid((3, 3), Affine.identity(), None), make_grid((90, 90), Affine.identity(), None), None)


@pytest.fixture
def prepared(tmp_path):
    rng = np.random.default_rng(0)
    codes = CODES[rng.integers(4, size=(16, 16))]
    site, coarse = grid(160, 160, 1.0), grid(16, 16, 10.0)
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(MIXTURE, sort_keys=False))
    image = write(tmp_path / "image.tif", image_of(codes.repeat(10, 0).repeat(10, 1) // 20), site)
    label = write(tmp_path / "label.tif", codes, coarse)
    row = Row("here", sensor="optical", image=(image,), label=label, label_legend="mixed.yaml", trust="coarse")
    legend = load_legend("chesapeake4")
    made = prepare([row], {"optical": load_sensor("rgb")}, legend, tmp_path / "out", base=tmp_path)
    return made, load_prepared(tmp_path / "out" / "prepared.json"), codes


def test_what_is_prepared_is_what_is_read_again(prepared):
    made, read, _ = prepared
    assert read.sites[0].label_shares == made.sites[0].label_shares
    assert read.sites[0].label_grid == made.sites[0].label_grid == grid(16, 16, 10.0)
    assert read.sites[0].label_rows == made.sites[0].label_rows


def test_shares_are_those_of_the_code_that_lies_there(prepared):
    _, read, codes = prepared
    shares = SiteReader(read.sites[0], read.legend).shares(Window(30, 50, 40, 40)) / 200
    told = {11: [1, 0, 0, 0], 41: [0, 0.9, 0.1, 0], 81: [0, 0, 1, 0], 24: [0, 0.05, 0.15, 0.8]}
    for row in range(40):
        for col in range(0, 40, 7):
            expected = told[int(codes[(30 + row) // 10, (50 + col) // 10])]
            assert shares[:, row, col] == pytest.approx(expected, abs=0.0026)
    outside = SiteReader(read.sites[0], read.legend).shares(Window(150, 150, 20, 20))
    assert not outside[:, 10:].any() and outside[:, :10, :10].any()


def test_frequencies_are_those_of_the_mixtures(prepared):
    _, read, codes = prepared
    told = {11: [1, 0, 0, 0], 41: [0, 0.9, 0.1, 0], 81: [0, 0, 1, 0], 24: [0, 0.05, 0.15, 0.8]}
    expected = np.mean([told[int(code)] for code in codes.ravel()], axis=0)
    parts = split_sites(read.labelled, block=64, share=0.0, seed=0)
    assert TrainingSet(parts, read.legend, 64, 0).frequencies() == pytest.approx(expected, abs=0.003)


def test_samples_turn_cells_and_shares_with_the_label(prepared):
    _, read, _ = prepared
    parts = split_sites(read.labelled, block=64, share=0.0, seed=0)
    plain = TrainingSet(parts, read.legend, 64, 0)
    telling = TrainingSet(parts, read.legend, 64, 0, label_pixels=True)
    for key in [(0, 0, i) for i in range(6)]:
        sample, without = telling[key], plain[key]
        assert set(sample) - set(without) == {"cell", "shares"}
        assert all((sample[name] == without[name]).all() for name in without)
        mask, cell, shares = sample["mask"][0], sample["cell"][0], sample["shares"][0]
        assert cell.shape == mask.shape and shares.shape == (4, 64, 64)
        labelled = mask != 255
        assert (shares.argmax(0)[labelled] == mask[labelled]).all()
        for number in cell.unique():
            assert len(mask[(cell == number) & labelled].unique()) <= 1
        sizes = [int((cell == number).sum()) for number in cell.unique()]
        assert max(sizes) == 100 and len(sizes) <= 64


def test_a_label_without_a_table_has_no_shares_and_still_has_pixels(tmp_path):
    site = grid(96, 96, 1.0)
    ids = np.random.default_rng(1).integers(1, 5, size=(12, 12)).astype(np.uint8)
    image = write(tmp_path / "image.tif", image_of(ids.repeat(8, 0).repeat(8, 1)), site)
    label = write(tmp_path / "label.tif", ids, grid(12, 12, 8.0))
    legend = load_legend("chesapeake4")
    row = Row("here", sensor="optical", image=(image,), label=label)
    made = prepare([row], {"optical": load_sensor("rgb")}, legend, tmp_path / "out")
    sample = TrainingSet(split_sites(made.labelled, block=32, share=0.0, seed=0), legend, 32, 0, label_pixels=True)
    assert "shares" not in sample[0, 0, 0] and "cell" in sample[0, 0, 0]
