"""Maps to which a place's own label counts: Bayes by hand, whatever the blocks; and by the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from scipy import ndimage
from tests.projects import LOOP, TINY, call, small_project
from tiny_predictors import Local
from tiny_scenes import random_pixels, read, write_image, write_scene

from mapmend.core.calibration import Calibration
from mapmend.core.grid import Window
from mapmend.losses.posterior import believed
from mapmend.predict.job import predict_scene
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import TorchPredictor
from mapmend.predict.prior import LabelPrior, PriorReader
from mapmend.predict.probabilities import blended_probabilities

LEARNED = (0.2, 0.5, 0.3)
MIXTURES = ((0.7, 0.2, 0.1), (0.0, 0.1, 0.9))


@pytest.fixture
def label(legend, tmp_path):
    """Legend indices of large patches, a corner of them without a label; and the raster of their ids."""
    classes = np.kron(np.random.default_rng(3).integers(0, 3, (10, 11)), np.ones((16, 16))).astype(np.uint8)[:150, :170]
    classes[100:, 120:] = 255
    write_image(tmp_path / "label.tif", legend.id_lut[classes][None], nodata=255)
    return classes, str(tmp_path / "label.tif")


def predictor_of(legend, calibration=None):
    return TorchPredictor(
        Local(), legend, (), Lattice(64, 16), device="cpu", batch=3, weights="test", calibration=calibration
    )


def believed_by_hand(given, labelled, doubt, blur):
    """Beliefs K×H×W of what a label says, K×H×W, by means over the neighbours, and by doubt."""
    if blur:
        reach = int(np.ceil(2 * blur))
        near = np.exp(-0.5 * (np.arange(-reach, reach + 1) / blur) ** 2)

        def around(layer):
            rows = ndimage.correlate1d(layer.astype(float), near, 0, mode="constant")
            return ndimage.correlate1d(rows, near, 1, mode="constant")

        weight = around(labelled)
        mean = np.stack([around(one * labelled) for one in given]) / np.maximum(weight, 1e-6)
    else:
        mean = given * labelled
    certain = (given * labelled).max(0) > 0.995
    frequency = np.array(LEARNED)[:, None, None]
    said = np.where(certain, (1 - doubt) * mean + doubt * frequency, mean)
    return np.where(said.sum(0) > 0.5, np.maximum(said, 1e-5), frequency)


@pytest.mark.parametrize("doubt, blur", [(0.2, 0), (0.2, 5.0), (0, 0)])
def test_the_map_is_what_bayes_says(doubt, blur, legend, scene, label, tmp_path):
    classes, path = label
    prior = LabelPrior(path, None, (), LEARNED, doubt, blur)
    model = predictor_of(legend)
    made = predict_scene(model, replace(scene, prior=prior), tmp_path / "map", block=96, probabilities="forest")
    q, valid = blended_probabilities(model, scene, Window(0, 0, 150, 170))
    given = (classes == np.arange(3)[:, None, None]).astype(float)
    said = believed_by_hand(given, classes != 255, doubt, blur)
    expected = q * said / np.array(LEARNED)[:, None, None]
    expected /= expected.sum(0)
    seen = valid[0]
    close = np.sort(expected, 0)[-1] - np.sort(expected, 0)[-2] < 1e-6
    best = np.array(legend.ids)[expected.argmax(0)]
    np.testing.assert_array_equal(read(made.class_path)[seen & ~close], best[seen & ~close])
    for layer, of_hand in ((made.confidence_path, expected.max(0)), (made.probability_paths["forest"], expected[1])):
        assert np.abs(read(layer)[seen].astype(float) - 200 * of_hand[seen]).max() < 0.51
    plain = read(predict_scene(model, scene, tmp_path / "plain").class_path)
    assert (best[seen] != plain[seen]).mean() > 0.1
    far = ndimage.binary_erosion(classes == 255, iterations=15) & seen
    assert far.any() and (best[far] == plain[far]).all()


def test_mixtures_are_believed_without_a_doubt(legend, label, tmp_path):
    classes, path = label
    rows = np.where(classes == 255, 255, classes % 2).astype(np.uint8)
    write_image(tmp_path / "rows.tif", rows[None], nodata=255)
    prior = LabelPrior(path, str(tmp_path / "rows.tif"), MIXTURES, LEARNED, 0.2, 0)
    scene = write_scene(tmp_path, random_pixels(150, 170))
    weights = PriorReader(prior, scene.grid, legend).weights(Window(30, 90, 100, 80)).numpy()
    cut = np.s_[30:130, 90:170]
    said = np.maximum(np.array([*MIXTURES, LEARNED])[np.where(rows == 255, 2, rows)[cut]], 1e-5)
    np.testing.assert_allclose(weights, np.moveaxis(said / np.array(LEARNED), -1, 0), rtol=1e-6)


def test_what_a_label_says_is_what_training_believes(legend, label, tmp_path):
    classes, path = label
    prior = LabelPrior(path, None, (), LEARNED, 0.3, 6.5)
    scene = write_scene(tmp_path, random_pixels(150, 170))
    weights = PriorReader(prior, scene.grid, legend).weights(Window(0, 0, 150, 170))
    mask = torch.from_numpy(classes.astype(np.int64))[None]
    shares = torch.nn.functional.one_hot(mask.where(mask != 255, 0), 3).movedim(-1, 1).double()
    frequency = torch.tensor(LEARNED, dtype=torch.float64)
    said = believed(shares, mask != 255, frequency, 0.3, 6.5)[0]
    near = classes != 255
    expected = (said.clamp(min=1e-5) / frequency.view(3, 1, 1)).numpy()
    np.testing.assert_allclose(weights.numpy()[:, near], expected[:, near], rtol=1e-5)


@pytest.mark.parametrize("calibration", [None, Calibration("temperature", 2.2)])
def test_bytes_do_not_depend_on_the_size_of_blocks(calibration, legend, scene, label, tmp_path):
    model, prior = predictor_of(legend, calibration), LabelPrior(label[1], None, (), LEARNED, 0.2, 4.0)
    maps = [
        predict_scene(model, replace(scene, prior=prior), tmp_path / str(side), block=side, entropy=True)
        for side in (96, 512)
    ]
    for layer in ("class", "confidence", "entropy"):
        assert len({(made.folder / f"{layer}.tif").read_bytes() for made in maps}) == 1


STEPS = [{"train": {**TINY, **LOOP, "crop": 32, "steps": 30, "calibration": "none"}}, {"predict": {"window": 64}}]


def test_a_project_s_labels_count_and_the_record_says_so(tmp_path, monkeypatch, capsys):
    path = small_project(tmp_path, steps=STEPS)
    assert call(monkeypatch, capsys, "run", path, "--out", tmp_path / "out")[0] == 0
    plain = (tmp_path / "out/map/here/class.tif").read_bytes()
    small_project(tmp_path, steps=[STEPS[0], {"predict": {"window": 64, "prior": "label", "doubt": 0.0}}])
    code, _, told = call(monkeypatch, capsys, "predict", path, "--out", tmp_path / "out")
    assert code == 2 and "another job" in told
    for file in (tmp_path / "out/map/here").iterdir():
        file.unlink()
    assert call(monkeypatch, capsys, "predict", path, "--out", tmp_path / "out")[0] == 0
    with rasterio.open(tmp_path / "out/map/here/class.tif") as made, rasterio.open(tmp_path / "label.tif") as label:
        assert (made.read(1) == label.read(1)).mean() > 0.99  # beyond doubt
    assert (tmp_path / "out/map/here/class.tif").read_bytes() != plain
    assert call(monkeypatch, capsys, "report", path, "--out", tmp_path / "out")[0] == 0
    assert "own label counted beside its image" in (tmp_path / "out/report.html").read_text()
    config = json.loads((tmp_path / "out/map/here/mapmend.json").read_text())["config"]
    assert config["prior"]["doubt"] == 0 and config["prior"]["blur"] == 0 and len(config["prior"]["learned"]) == 2


@pytest.mark.parametrize(
    "change, told",
    [
        ({"certain": ["left"]}, "no part in three-state maps"),
        ({"dates": "pair"}, "two are mapped together"),
        ({"prior": "labels"}, "none"),
        ({"doubt": 1}, "doubt"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_one_line(change, told, tmp_path, monkeypatch, capsys):
    path = small_project(tmp_path, steps=[STEPS[0], {"predict": {"window": 64, "prior": "label", **change}}])
    code, _, said = call(monkeypatch, capsys, "run", path, "--out", tmp_path / "out")
    assert code == 2 and told in said.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_sites_without_a_label_and_models_that_say_too_little(tmp_path, monkeypatch, capsys):
    path = small_project(tmp_path, steps=STEPS)
    assert call(monkeypatch, capsys, "train", path, "--out", tmp_path / "out")[0] == 0
    predict = {"window": 64, "prior": "label"}
    small_project(tmp_path, steps=[{"predict": predict}], scenes=[{"site": "here", "image": "image.tif"}])
    model = tmp_path / "out/model"
    words = ("predict", path, "--model", model, "--out", tmp_path / "other")
    assert call(monkeypatch, capsys, "prepare", path, "--out", tmp_path / "other")[0] == 0
    code, _, said = call(monkeypatch, capsys, *words)
    assert code == 2 and "finds no site with a label" in said
    small_project(tmp_path, steps=[STEPS[0], {"predict": predict}])
    code, _, said = call(monkeypatch, capsys, "predict", path, "--out", tmp_path / "out", "--certain", "left")
    assert code == 2 and "has no three-state maps" in said
    card = json.loads((model / "model.json").read_text())
    del card["provenance"]["class_shares"]
    (model / "model.json").write_text(json.dumps(card))
    code, _, said = call(monkeypatch, capsys, "predict", path, "--out", tmp_path / "out")
    assert code == 2 and "how common each class was" in said
    assert not (tmp_path / "out/map").exists()
