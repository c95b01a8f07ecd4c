"""Probabilities: of a window in memory, and of named classes beside a map."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from scipy.stats import entropy
from tiny_predictors import Constant, Local, predictor
from tiny_scenes import random_pixels, read, write_scene

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import DiskError, JobError, LegendError
from mapmend.core.grid import Window
from mapmend.predict.estimate import disk_bytes
from mapmend.predict.executors import local
from mapmend.predict.job import estimate_scene, predict_scene
from mapmend.predict.layers import Layers, choose_layers
from mapmend.predict.probabilities import blended_probabilities
from mapmend.predict.run_block import run_block


@pytest.mark.parametrize(
    "window", [Window(0, 0, 150, 170), Window(37, 55, 60, 71), Window(149, 3, 1, 100), Window(20, 110, 30, 60)], ids=str
)
def test_a_window_s_probabilities_are_the_map_s(window, model, scene, legend, tmp_path):
    result = predict_scene(model, scene, tmp_path / "map")
    ids, confidence = (read(path)[window.slices] for path in (result.class_path, result.confidence_path))
    shares, valid = blended_probabilities(model, scene, window)
    assert shares.shape == (3, window.height, window.width) and shares.dtype == np.float32
    np.testing.assert_array_equal(valid[0], ids != 255)
    np.testing.assert_array_equal(np.array(legend.ids)[shares.argmax(0)][valid[0]], ids[valid[0]])
    np.testing.assert_array_equal(np.rint(200 * shares.max(0))[valid[0]], confidence[valid[0]])
    np.testing.assert_allclose(shares[:, valid[0]].sum(0), 1, atol=1e-5)


def test_named_classes_get_rasters_of_their_probability(model, scene, tmp_path):
    result = predict_scene(model, scene, tmp_path / "map", block=96, probabilities=["field", "water"])
    assert {name: path.name for name, path in result.probability_paths.items()} == {
        "water": "probability_water.tif",
        "field": "probability_field.tif",
    }
    shares, valid = blended_probabilities(model, scene, Window(0, 0, 150, 170))
    for index, path in ((0, result.probability_paths["water"]), (2, result.probability_paths["field"])):
        assert cog_validate(path)[0]
        expected = np.where(valid[0], np.rint(200 * shares[index]), 255)
        np.testing.assert_array_equal(read(path), expected)
        with rasterio.open(path) as file:
            assert file.dtypes == ("uint8",) and file.nodata == 255 and file.scales == (0.005,)
    record = json.loads((tmp_path / "map" / "mapmend.json").read_text())
    assert {"probability_water.tif", "probability_field.tif"} <= set(record["files"])
    assert record["config"]["probabilities"] == ["water", "field"]


def test_what_is_not_asked_for_changes_nothing(model, scene, tmp_path):
    plain = predict_scene(model, scene, tmp_path / "plain")
    more = predict_scene(model, scene, tmp_path / "more", probabilities="all")
    assert plain.probability_paths == {} and len(more.probability_paths) == 3
    for layer in ("class_path", "confidence_path"):
        assert getattr(plain, layer).read_bytes() == getattr(more, layer).read_bytes()
    assert "probabilities" not in json.loads((tmp_path / "plain" / "job.json").read_text())
    with pytest.raises(JobError, match="another job.*probabilities"):
        predict_scene(model, scene, tmp_path / "plain", probabilities="forest")


def test_a_job_with_probabilities_goes_on_where_it_stopped(model, scene, tmp_path, monkeypatch):
    calm = predict_scene(model, scene, tmp_path / "calm", block=96, probabilities="all")
    done = []

    def fail_at_third(predictor, scene, block, folder, **more):
        if len(done) == 2:
            raise DiskError("is full")
        done.append(block.id)
        return run_block(predictor, scene, block, folder, **more)

    monkeypatch.setattr(local, "run_block", fail_at_third)
    with pytest.raises(DiskError):
        predict_scene(model, scene, tmp_path / "map", block=96, probabilities="all")
    monkeypatch.undo()
    (tmp_path / "map" / "blocks" / f"{done[0]}.probability_water.tif").unlink()
    model.shapes.clear()
    again = predict_scene(model, scene, tmp_path / "map", block=96, probabilities="all")
    assert model.shapes
    for name, path in calm.probability_paths.items():
        assert path.read_bytes() == again.probability_paths[name].read_bytes()
    model.shapes.clear()
    finished = predict_scene(model, scene, tmp_path / "map", probabilities="all")
    assert finished == replace(again, seconds=finished.seconds) and not model.shapes


def test_an_estimate_counts_the_probabilities_too(model, scene):
    plain, more = estimate_scene(model, scene), estimate_scene(model, scene, probabilities="all")
    assert more.disk == pytest.approx(plain.disk * 5 / 2, rel=0.01)
    assert disk_bytes([], Layers()) == 0


def test_an_unknown_class_is_one_line_with_the_nearest_name_and_leaves_nothing(model, scene, tmp_path):
    with pytest.raises(LegendError, match="did you mean 'forest'") as fault:
        predict_scene(model, scene, tmp_path / "map", probabilities=["forrest"])
    assert "\n" not in str(fault.value) and not (tmp_path / "map").exists()


def test_files_are_named_after_classes_as_far_as_a_file_can_be():
    names = ("open water", "trees/shrubs", "trees?shrubs", "Straße")
    legend = Legend("odd", tuple(LegendClass(5 + n, name, "#000000") for n, name in enumerate(names)))
    assert choose_layers(legend, 1, "all").stems == (
        "probability_open_water",
        "probability_trees_shrubs_6",
        "probability_trees_shrubs_7",
        "probability_Straße",
    )
    assert choose_layers(legend, 2, ["8", "open_water", "Open Water"]).names == ("open water", "Straße")


def test_probabilities_of_a_pair_are_the_later_date_s(legend, tmp_path):
    first = write_scene(tmp_path, random_pixels(80, 90), name="old")
    second = write_scene(tmp_path, random_pixels(80, 90, seed=1), name="new")
    model = predictor(Local(), legend)
    both = predict_scene(model, replace(second, before=first.sources), tmp_path / "both", probabilities=["water"])
    later = predict_scene(model, second, tmp_path / "later", probabilities=["water"])
    np.testing.assert_array_equal(read(both.probability_paths["water"]), read(later.probability_paths["water"]))


def test_entropy_is_that_of_the_probabilities_and_does_not_depend_on_blocks(legend, scene, tmp_path):
    model = predictor(Local(), legend)
    maps = [
        predict_scene(model, scene, tmp_path / f"b{side}", block=side, probabilities="all", entropy=True)
        for side in (48, 512)
    ]
    assert maps[0].entropy_path.read_bytes() == maps[1].entropy_path.read_bytes()
    with rasterio.open(maps[0].entropy_path) as file:
        found, scale = file.read(1).astype(float), file.scales[0]
        assert float(file.tags(1)["STATISTICS_MEAN"]) == pytest.approx(found[found != 255].mean())
    shares = np.stack([read(path) for path in maps[0].probability_paths.values()]) / 200
    known = read(maps[0].class_path) != 255
    expected = entropy(shares[:, known], base=3)
    np.testing.assert_array_equal(found == 255, ~known)
    off = np.abs(found[known] * scale - expected)  # these probabilities are rounded to half a per cent
    assert off.max() < 0.05 and np.median(off) < 0.005
    assert len(np.unique(found)) > 20
    plain = predict_scene(model, scene, tmp_path / "plain")
    assert plain.entropy_path is None and plain.class_path.read_bytes() == maps[0].class_path.read_bytes()


def test_entropy_is_0_where_one_is_sure_and_1_where_nobody_knows(legend, tmp_path):
    scene = write_scene(tmp_path, random_pixels(64, 64))
    for logits, stored in (([0.0, 0.0, 0.0], 200), ([0.0, 99.0, 0.0], 0)):
        model = predictor(Constant(logits), legend)
        result = predict_scene(model, scene, tmp_path / f"e{stored}", entropy=True)
        assert (read(result.entropy_path) == stored).all()
