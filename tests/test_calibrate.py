"""Calibration as a step of training: what it is fitted to, what the model's card keeps of it, and what it costs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from tests.projects import LOOP, TINY, small_project

from mapmend import calibrate as module
from mapmend.core.calibration import KINDS
from mapmend.core.errors import LegendError, ModelError, ProjectError
from mapmend.core.grid import Window
from mapmend.data.sites import load_prepared
from mapmend.data.splits import SitePart
from mapmend.nn.model_folder import model_hash, read_card
from mapmend.predict.assembled import Tricks
from mapmend.predict.job import predict_scene
from mapmend.predict.predictor import load_predictor
from mapmend.predict.scene import Scene
from mapmend.project import load_project
from mapmend.reporting import report_project
from mapmend.steps import PredictOptions, estimate_step, predict_step, prepare_step, train_step, wanted_certain


def trained(folder, **settings):
    path = small_project(folder, steps=[{"train": {**TINY, **LOOP, **settings}}, {"predict": {"window": 64}}, "report"])
    project = load_project(path)
    prepare_step(project, folder / "out")
    return project, train_step(project, folder / "out")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    return folder / "out", *trained(folder)


def test_the_card_keeps_a_temperature_and_what_it_rests_on(done):
    card = read_card(done[2])
    assert card.calibration.kind == "temperature"
    told = card.metrics["calibration"]
    assert told["kind"] == "temperature" and told["against"] == "held-out labels"
    assert told["blocks"] == told["folds"] == 2  # a fifth of twelve blocks of 64 pixels
    assert told["trust"] == {"noisy": told["pixels"]} and told["pixels"] == 2 * 64 * 64
    assert set(told["figures"]) == {"none", *KINDS}
    for name, figures in told["figures"].items():
        assert 0 <= figures["ece"] <= 1 and 0 <= figures["brier"] <= 2 and figures["nll"] >= 0, name
    for bins in told["bins"].values():
        assert len(bins) == 15 and sum(row[0] for row in bins) == told["pixels"]


def test_the_figures_before_are_those_of_the_map_against_the_label(done, tmp_path):
    """The map without calibration, made by the job, read on the held-out blocks: another route to the same figure."""
    out, _, model = done
    site = load_prepared(out / "prepared/prepared.json").sites[0]
    predictor = load_predictor(model, device="cpu")
    predictor.calibration = None
    scene = Scene(site.name, site.sources, site.grid, site.date)
    shown = predict_scene(predictor, scene, tmp_path / "map", progress=False, probabilities="all")
    layers = [rasterio.open(path).read(1) / 200 for path in shown.probability_paths.values()]
    with rasterio.open(site.label) as file:
        label = file.read(1)
    log = json.loads((out / "training/log.jsonl").read_text().splitlines()[0])
    squares = [np.s_[row : row + height, col : col + width] for row, col, height, width in log["parts"][0]["validates"]]
    p = np.concatenate([np.stack(layers)[:, *square].reshape(2, -1) for square in squares], axis=1)
    true = np.concatenate([label[square].ravel() for square in squares]) - 1
    brier = np.mean((p[0] - (true == 0)) ** 2 + (p[1] - (true == 1)) ** 2)
    expected = read_card(model).metrics["calibration"]["figures"]["none"]["brier"]
    assert brier == pytest.approx(expected, abs=0.005)  # probabilities of the map are rounded to half a per cent


def test_a_calibration_that_helps_nowhere_else_is_not_used(done):
    out, project, model = done
    record = out / "training/calibration.json"
    told = record.read_text()
    plain = json.loads(told)
    plain["figures"]["temperature"]["nll"] = plain["figures"]["none"]["nll"]
    record.write_text(json.dumps(plain))
    try:
        train_step(project, out)
        card = read_card(model)
        assert card.calibration is None and card.metrics["calibration"]["kind"] == "none"
        assert "no better than none" in card.metrics["calibration"]["note"]
    finally:
        record.write_text(told)
        train_step(project, out)
    assert read_card(model).calibration.kind == "temperature"


def test_what_is_done_is_not_done_again_and_another_kind_needs_no_new_map(done, monkeypatch):
    out, project, model = done
    before = model_hash(model)
    monkeypatch.setattr(module, "blended_probabilities", lambda *_: pytest.fail("was mapped again"))
    assert model_hash(train_step(project, out)) == before
    steps = {**project.steps, "train": {**project.steps["train"], "calibration": "isotonic"}}
    train_step(replace(project, steps=steps), out)
    assert read_card(model).calibration.kind == "isotonic" and model_hash(model) != before
    (out / "training" / module.RECORD).write_text("{}")
    monkeypatch.undo()
    assert model_hash(train_step(project, out)) == before


def test_no_calibration_where_it_is_not_wanted(done):
    out, project, model = done
    steps = {**project.steps, "train": {**project.steps["train"], "calibration": "none"}}
    train_step(replace(project, steps=steps), out)
    card = read_card(model)
    assert card.calibration is None and "calibration" not in card.metrics
    assert "calibration" not in json.loads((model / "model.json").read_text())
    train_step(project, out)


def test_the_reference_is_not_looked_at(tmp_path):
    path = small_project(tmp_path, steps=[{"train": {**TINY, **LOOP}}])
    project = load_project(path)
    prepare_step(project, tmp_path / "out")
    site = load_prepared(tmp_path / "out/prepared/prepared.json").sites[0]
    Path(site.reference).unlink()
    assert read_card(train_step(project, tmp_path / "out")).calibration is not None


def test_thresholds_of_a_model_alone_are_not_used_with_views_or_several_models(done):
    model = done[2]
    for models, tricks in (((model,), Tricks(views=4)), ((model, model), Tricks())):
        with pytest.raises(ModelError, match="thresholds are of its own probabilities"):
            wanted_certain(models, tricks, ("left",), 0.05)


def test_views_of_a_project_and_several_models_reach_its_map(done, tmp_path):
    out, project, model = done
    shutil.copytree(out / "prepared", tmp_path / "prepared")
    project = replace(project, steps={**project.steps, "predict": {"window": 64, "views": 4}})
    [folder] = predict_step(project, tmp_path, PredictOptions(device="cpu", models=(model, model))).values()
    told = json.loads((folder / "mapmend.json").read_text())["config"]
    assert told["combined"] == "views" and told["members"][0]["combined"] == "mean"


def test_without_held_out_blocks_there_is_a_note_and_no_calibration(tmp_path, capsys):
    project, model = trained(tmp_path, validation_share=0)
    card = read_card(model)
    assert card.calibration is None
    assert card.metrics["calibration"] == {"kind": None, "note": "no block is held out from training"}
    predict_step(project, tmp_path / "out", PredictOptions(device="cpu", probabilities=("left",)))
    assert (tmp_path / "out/map/here/probability_left.tif").is_file()
    page = report_project(project, tmp_path / "out", {}).report.read_text()
    assert "confidence is not calibrated: no block is held out from training." in page


def test_squares_are_few_and_evenly_chosen_and_belong_to_blocks(done):
    site = load_prepared(done[0] / "prepared/prepared.json").sites[0]
    blocks = (Window(0, 0, 128, 128), Window(128, 0, 64, 100))
    squares = module._squares([SitePart(site, True, blocks)], 64, 16)
    assert [one.block for one in squares] == [0, 0, 0, 0, 1, 1]
    assert squares[-1].window == Window(128, 64, 64, 36)
    whole = SitePart(site, False, (Window(0, 0, 192, 256),))
    assert len({one.block for one in module._squares([whole], 64, 16)}) == 12  # one block: its squares are the folds
    assert len(module._squares([whole], 64, 5)) == 5


def test_an_unknown_kind_or_class_stops_before_any_work(tmp_path):
    with pytest.raises(ProjectError, match="calibration"):
        load_project(small_project(tmp_path, steps=[{"train": {"calibration": "platt"}}]))
    for asked in (["rigth"], "rigth"):
        with pytest.raises(LegendError, match="probabilities: has no class 'rigth'; did you mean 'right'"):
            load_project(small_project(tmp_path, steps=[{"predict": {"probabilities": asked}}]))
    for asked in ("all", ["all"], ["left", "2"], []):
        load_project(small_project(tmp_path, steps=[{"predict": {"probabilities": asked}}]))


def test_the_project_s_probabilities_are_mapped_and_counted(done):
    out, project, model = done
    plain = estimate_step(project, out, PredictOptions(device="cpu"))
    text = yaml.safe_load(project.path.read_text())
    text["steps"][1]["predict"]["probabilities"] = "all"
    project.path.write_text(yaml.safe_dump(text))
    asking = load_project(project.path)
    assert estimate_step(asking, out, PredictOptions(device="cpu")).disk == 2 * plain.disk
    folder = predict_step(asking, out, PredictOptions(device="cpu"))["here"]
    assert {"probability_left.tif", "probability_right.tif"} <= {path.name for path in folder.iterdir()}
    html = report_project(asking, out, {}).report.read_text()
    assert 'id="confidence"' in html and "held out from training" in html and "trust: noisy" in html
