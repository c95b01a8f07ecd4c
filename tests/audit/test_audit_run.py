"""An audit as a verb: of a project, of a given model, stopped and gone on with, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from tests.data.scenery import grid, write
from tests.projects import LOOP, TINY, call, small_project

from mapmend.audit import folds as module
from mapmend.audit.job import audit_project
from mapmend.audit.settings import AuditSettings
from mapmend.core.grid import full_window
from mapmend.data.folds import fold_sites
from mapmend.data.samples import TrainingSet
from mapmend.data.sites import load_prepared
from mapmend.nn.model_folder import read_card
from mapmend.predict.assembled import Tricks
from mapmend.project import load_project
from mapmend.steps import prepare_step, train_step

STEPS = [{"train": {**TINY, **LOOP, "crop": 32, "steps": 4, "calibration": "none"}}, {"predict": {"window": 64}}]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The folder of an audited project."""
    folder = tmp_path_factory.mktemp("audited")
    audit_project(load_project(small_project(folder, steps=STEPS)), folder / "out", AuditSettings(folds=2))
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Calls the command line: exit code, and what it says in the end; a fault is one line."""

    def called(*arguments):
        code, _, told = call(monkeypatch, capsys, *arguments)
        faults = [line for line in told.splitlines() if line.startswith("mapmend:")]
        assert len(faults) == (code == 2)
        return code, told.strip().splitlines()[-1]

    return called


def test_the_folder_holds_all_files_and_the_json_says_what_was_found(audited):
    result = json.loads((audited / "out/audit/audit.json").read_text())
    assert result["folds"] == 2 and result["labelled"] == 192 * 256 and result["sites"] == ["here"]
    names = {path.name for path in (audited / "out/audit").iterdir()}
    assert names >= {
        "audit.gpkg",
        "audit.csv",
        "audit.html",
        "audit.json",
        "proposed.tif",
        "suspicion.tif",
        "mended.tif",
    }
    with rasterio.open(audited / "out/audit/suspicion.tif") as file:
        assert file.shape == (192, 256) and (file.read(1) <= 180).all()


def test_held_out_models_look_as_the_project_maps(audited, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "assembled_predictor", lambda models, tricks, **_: seen.append((models, tricks)))
    steps = [STEPS[0], {"predict": {"views": 4, "suppress": ["left"]}}]
    (audited / "views").mkdir()
    module._predict(load_project(small_project(audited / "views", steps=steps)), Path("fold"), [], "cpu")
    assert seen == [([Path("fold")], Tricks(4, ("left",)))]


def test_what_is_done_is_not_done_again(audited, run, monkeypatch):
    before = (audited / "out/audit/audit.csv").read_bytes()
    monkeypatch.setattr(module, "train_unseen", lambda *_, **__: pytest.fail("trained again"))
    code, told = run("audit", audited / "project.yaml", "--out", audited / "out", "--folds", 2)
    assert code == 0, told
    assert (audited / "out/audit/audit.csv").read_bytes() == before


def test_no_pixel_is_judged_by_a_model_that_saw_its_label(audited):
    prepared = load_prepared(audited / "out/prepared/prepared.json")
    every = np.zeros((192, 256), int)
    for parts in fold_sites(prepared.labelled, folds=3, block=32, seed=1):
        [part] = parts
        own = np.zeros(every.shape, bool)
        for block in part.blocks:
            own[block.slices] = True
        every += own
        training = TrainingSet(parts, prepared.legend, 32, seed=0)
        assert 0 < training.counts.sum() < (~own).sum()
        labels = training._readers[0].label(full_window(part.site.grid))
        seen = labels[~part.excluded(full_window(part.site.grid))]
        assert seen.size == training.counts.sum()  # what is counted is all that is seen, and none of it is judged
        assert part.excluded(full_window(part.site.grid))[own].all()
    assert (every == 1).all()


def test_a_label_that_the_model_learned_from_is_refused_and_another_one_is_judged(audited, run, tmp_path):
    project = load_project(audited / "project.yaml")
    prepare_step(project, audited / "out")
    model = train_step(project, audited / "out")
    [seen] = read_card(model).provenance["labels"]
    assert seen["name"] == "label.tif"
    given = ["audit", "--model", model, "--image", audited / "image.tif", "--out", tmp_path / "out"]
    code, told = run(*given, "--label", audited / "label.tif")
    assert code == 2 and "was trained on this label" in told
    assert not (tmp_path / "out").exists()
    code, told = run(*given, "--label", audited / "truth.tif", "--json", tmp_path / "r.json")
    assert code == 0, told
    assert json.loads((tmp_path / "r.json").read_text())["folds"] == 0
    card = json.loads((model / "model.json").read_text())
    card["provenance"]["labels"] = None
    (model / "model.json").write_text(json.dumps(card))
    code, told = run(*given, "--label", audited / "truth.tif")
    assert code == 2 and "does not say which labels" in told


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--folds", 1], "folds"),
        (["--site", "ther"], "no labelled site 'ther'"),
        (["--model", "m"], "give one of them"),
        (["--reviewed", "none.gpkg"], "no such file"),
    ],
)
def test_refused_before_anything_is_written(arguments, told, run, tmp_path):
    path = small_project(tmp_path, steps=STEPS)
    code, said = run("audit", path, "--out", tmp_path / "out", *arguments)
    assert code == 2 and told in said
    assert not (tmp_path / "out" / "audit").exists()


def test_a_label_beside_the_image_and_one_of_one_class_are_refused(run, tmp_path):
    path = small_project(tmp_path, steps=STEPS)
    write(tmp_path / "label.tif", np.ones((192, 256), np.uint8), grid(192, 256), nodata=255)
    code, said = run("audit", path, "--out", tmp_path / "one", "--folds", 2)
    assert code == 2 and "one class only" in said
    write(tmp_path / "label.tif", np.ones((192, 256), np.uint8), grid(192, 256, east=9000), nodata=255)
    code, said = run("audit", path, "--out", tmp_path / "two", "--folds", 2)
    assert code == 2 and "does not overlap" in said
    for name in ("one", "two"):
        assert not Path(tmp_path / name / "audit" / "audit.gpkg").exists()
