import numpy as np
import pytest
from affine import Affine
from scipy.stats import chisquare
from tests.sampling.small_maps import class_map, classes

from mapmend.sampling import counting, threads
from mapmend.sampling.counting import UnitArea, count
from mapmend.sampling.drawing import draw, systematic
from mapmend.sampling.frame import Frame
from mapmend.sampling.inputs import MapReader
from mapmend.sampling.job import draw_sample, probabilities
from mapmend.sampling.population import population_of
from mapmend.sampling.settings import SampleSettings
from mapmend.sampling.strata import by_class, single


def framed(source, make=by_class, **area):
    reader = MapReader(source)
    area = UnitArea(reader.grid, **area)
    tally = count(reader, area)
    return Frame(reader, area, make(population_of(tally, source, reader.known)), tally)


def test_units_are_different_valid_and_of_their_stratum(tmp_path):
    array = classes((1030, 600))
    made = framed(class_map(tmp_path, array))
    units = draw(made, (200, 50, 0, 31), seed=3)
    assert np.bincount(units.strata).tolist() == [200, 50, 0, 31]
    assert (array[units.rows, units.cols] == units.codes).all()
    assert (np.array([1, 2, 5, 9])[units.strata] == units.codes).all()
    assert len({*zip(units.rows.tolist(), units.cols.tolist(), strict=True)}) == 281


def test_every_pixel_of_a_stratum_has_the_same_chance(tmp_path):
    array = classes((26, 31))
    made = framed(class_map(tmp_path, array))
    hits = np.zeros(array.shape)
    for seed in range(300):
        units = draw(made, (10, 2, 10, 0), seed)
        hits[units.rows, units.cols] += 1
    for code in (1, 2, 5):
        assert chisquare(hits[array == code]).pvalue > 1e-3
    assert not hits[~np.isin(array, (1, 2, 5))].any()


def test_a_whole_stratum_can_be_drawn(tmp_path):
    array = classes((26, 31))
    made = framed(class_map(tmp_path, array))
    units = draw(made, made.pixels.tolist(), seed=0)
    assert len({*zip(units.rows.tolist(), units.cols.tolist(), strict=True)}) == made.pixels.sum() == len(units)


def test_a_larger_sample_holds_the_smaller(tmp_path):
    made = framed(class_map(tmp_path))
    small, large = (draw(made, samples, seed=5) for samples in ((5, 3, 0, 1), (50, 9, 4, 8)))
    places = [{*zip(one.rows.tolist(), one.cols.tolist(), strict=True)} for one in (small, large)]
    assert places[0] < places[1]


def test_in_degrees_the_chance_is_in_proportion_to_the_area(tmp_path):
    array = np.ones((160, 20), np.uint8)
    made = framed(class_map(tmp_path, array, transform=Affine(0.5, 0, 0, 0, -0.5, 80), crs="EPSG:4326"), single)
    assert made.area.weighted
    hits = np.zeros(160)
    for seed in range(150):
        units = draw(made, (30,), seed)
        hits += np.bincount(units.rows, minlength=160)
    latitude = np.radians(80 - np.arange(160) / 2 - 0.25)
    eccentricity = 0.00669438  # of WGS 84, squared; the area of a narrow zone follows from its closed form
    zone = np.cos(latitude) / (1 - eccentricity * np.sin(latitude) ** 2) ** 2
    expected = (zone / zone.sum()).reshape(16, 10).sum(axis=1) * hits.sum()
    assert chisquare(hits.reshape(16, 10).sum(axis=1), expected).pvalue > 1e-3
    chances = probabilities(made, units, (30,))
    np.testing.assert_allclose(chances, 30 * (zone / zone.sum() / 20)[units.rows], rtol=2e-3)


def test_in_degrees_a_further_round_goes_on_where_the_first_stopped(tmp_path):
    array = classes((160, 40))
    made = framed(class_map(tmp_path, array, transform=Affine(0.5, 0, 0, 0, -0.5, 80), crs="EPSG:4326"))

    def places(units):
        return {*zip(units.rows.tolist(), units.cols.tolist(), strict=True)}

    first = places(draw(made, (20, 3, 5, 0), seed=1))
    second = places(draw(made, (30, 0, 40, 9), seed=1, drawn=first))
    assert not first & second
    assert first | second == places(draw(made, (50, 3, 45, 9), seed=1))


def test_a_systematic_sample_is_a_square_grid_with_a_random_start(tmp_path):
    array = np.ones((300, 500), np.uint8)
    source = class_map(tmp_path, array)
    made, reader = framed(source, single), MapReader(source)
    hits, sizes = np.zeros((300, 500)), []
    for seed in range(120):
        units = systematic(made, reader.grid, 150, seed)
        sizes.append(len(units))
        hits[units.rows, units.cols] += 1
    apart = np.sqrt(300 * 500 / 150)
    assert set(np.diff(np.unique(units.rows))) <= {int(apart), int(apart) + 1}
    assert set(np.diff(np.unique(units.cols))) <= {int(apart), int(apart) + 1}
    assert abs(np.mean(sizes) - 150) < 3
    by_part = hits.reshape(10, 30, 10, 50).sum(axis=(1, 3))
    assert np.abs(by_part / by_part.mean() - 1).max() < 0.3


def test_in_degrees_a_systematic_sample_is_as_dense_everywhere(tmp_path):
    array = np.ones((400, 400), np.uint8)
    source = class_map(tmp_path, array, transform=Affine(0.2, 0, 0, 0, -0.2, 80), crs="EPSG:4326")
    made, reader = framed(source, single), MapReader(source)
    rows = np.concatenate([systematic(made, reader.grid, 800, seed).rows for seed in range(20)])
    north = 80 - 0.2 * 200
    share = (np.sin(np.radians(80)) - np.sin(np.radians(north))) / np.sin(np.radians(80))
    assert np.mean(rows < 200) == pytest.approx(share, abs=0.01)


STORED = {
    "strips": {},
    "tall strips": {"blockysize": 700},
    "small tiles": {"tiled": True, "blockxsize": 64, "blockysize": 32},
    "large tiles": {"tiled": True, "blockxsize": 1024, "blockysize": 1024, "compress": "deflate"},
}


@pytest.mark.parametrize("degrees", [False, True])
def test_points_do_not_depend_on_how_the_map_is_stored_or_on_threads(tmp_path, monkeypatch, degrees):
    where = {"transform": Affine(0.01, 0, 10, 0, -0.01, 50), "crs": "EPSG:4326"} if degrees else {}
    found = set()
    for number, stored in enumerate(STORED.values()):
        monkeypatch.setattr(threads, "usable", lambda number=number: 1 + number % 3)
        monkeypatch.setattr(counting, "_MOST_READ", (2**18, 2**20)[number // 2])
        source = class_map(tmp_path, classes((1100, 1300)), f"{number}.tif", **stored, **where)
        draw_sample(source, tmp_path / str(number), SampleSettings(total=60, seed=9), progress=False)
        found.add((tmp_path / str(number) / "sample.csv").read_bytes())
    assert len(found) == 1
    draw_sample(source, tmp_path / "other", SampleSettings(total=60, seed=10), progress=False)
    assert (tmp_path / "other" / "sample.csv").read_bytes() not in found
