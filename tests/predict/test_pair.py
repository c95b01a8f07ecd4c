from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from scipy.optimize import linprog
from tiny_predictors import Counting, Local, predictor
from tiny_scenes import random_pixels, read, write_scene

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import ModelError, SensorError
from mapmend.predict.job import predict_scene
from mapmend.predict.pair import PairPredictor


def _pair(folder, before, after, legend=None):
    first, second = write_scene(folder, before, name="old"), write_scene(folder, after, name="new")
    return replace(second, before=first.sources, date="2020", date_before="2010")


@pytest.fixture
def pair(tmp_path):
    before, after = random_pixels(150, 170), random_pixels(150, 170, seed=1)
    before[:, 20:50, 100:] = 0
    after[:, 90:, :30] = 0
    return _pair(tmp_path, before, after)


def _smallest_change(p, q):
    """The least mass off the diagonal of any joint distribution with these margins, by linear programming."""
    classes = len(p)
    cost = 1 - np.eye(classes).ravel()
    margins = [np.kron(np.eye(classes), np.ones(classes)), np.kron(np.ones(classes), np.eye(classes))]
    return linprog(cost, A_eq=np.concatenate(margins), b_eq=np.concatenate([p, q])).fun


def test_the_change_probability_is_the_smallest_that_fits_both_posteriors(legend):
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(3), 20), rng.dirichlet(np.ones(3), 20)
    means = torch.from_numpy(np.concatenate([p, q], axis=1).T).view(6, 4, 5)
    found = PairPredictor(predictor(Local(), legend)).change_probability(means)
    expected = [_smallest_change(one, other) for one, other in zip(p, q, strict=True)]
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-9)


def test_certain_posteriors_decide_and_shared_doubt_is_no_change(legend):
    change = PairPredictor(predictor(Local(), legend)).change_probability

    def of(p, q):
        return float(change(torch.tensor([*p, *q]).view(6, 1, 1)))

    assert of((1.0, 0, 0), (0, 1.0, 0)) == 1 and of((0, 1.0, 0), (0, 1.0, 0)) == 0
    assert of((0.52, 0.48, 0), (0.48, 0.52, 0)) == pytest.approx(0.04)  # the hard maps differ here


def test_each_date_gets_the_map_that_it_would_get_alone(pair, legend, tmp_path):
    model = predictor(Local(), legend)
    both = predict_scene(model, pair, tmp_path / "both")
    later = predict_scene(model, replace(pair, before=()), tmp_path / "later")
    earlier = predict_scene(model, replace(pair, sources=pair.before, before=()), tmp_path / "earlier")
    for layer in ("class", "confidence"):
        np.testing.assert_array_equal(read(both.folder / f"{layer}.tif"), read(later.folder / f"{layer}.tif"))
        np.testing.assert_array_equal(read(both.folder / f"{layer}_before.tif"), read(earlier.folder / f"{layer}.tif"))


def test_change_has_no_data_where_either_date_has_none_and_the_scale_of_a_confidence(pair, legend, tmp_path):
    result = predict_scene(predictor(Local(), legend), pair, tmp_path / "map")
    classes, before, change = (
        read(path) for path in (result.class_path, result.folder / "class_before.tif", result.change_path)
    )
    np.testing.assert_array_equal(change == 255, (classes == 255) | (before == 255))
    assert (classes[90:, :30] == 255).all() and (before[90:, :30] != 255).all()
    assert change[change != 255].max() <= 200 and len(np.unique(change)) > 10
    with rasterio.open(result.change_path) as file:
        assert file.scales == (0.005,) and file.descriptions == ("change",)


def test_blocks_do_not_show_and_a_finished_pair_returns_at_once(pair, legend, tmp_path):
    model = Counting(predictor(Local(), legend))
    small, large = (predict_scene(model, pair, tmp_path / str(side), block=side) for side in (96, 512))
    for layer in ("class", "class_before", "confidence", "confidence_before", "change"):
        assert (small.folder / f"{layer}.tif").read_bytes() == (large.folder / f"{layer}.tif").read_bytes()
    model.shapes.clear()
    assert predict_scene(model, pair, tmp_path / "96", block=96).change_path == small.change_path
    assert model.shapes == []


def test_an_earlier_date_of_other_images_is_refused(pair, legend, tmp_path):
    other = write_scene(tmp_path, random_pixels(150, 170), random_pixels(150, 170, bands=1), name="odd")
    cards = [source.sensor for source in pair.sources]
    with pytest.raises(SensorError, match="2 images, the model wants 1"):
        predict_scene(predictor(Local(), legend, sensors=cards), replace(pair, before=other.sources), tmp_path / "map")


def test_a_legend_of_one_class_has_no_change():
    with pytest.raises(ModelError, match="one class"):
        PairPredictor(predictor(Local(), Legend("one", (LegendClass(1, "land", "#00aa00"),))))
