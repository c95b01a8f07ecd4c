"""Rows of several trainings: an optical teacher labels places, from whose radar a student learns."""

import json

import pytest
import yaml
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LEGEND, LOOP, TINY, call

from mapmend.core.errors import ProjectError
from mapmend.nn.model_folder import read_card
from mapmend.project import load_project
from mapmend.row import DEFAULT, read_row
from mapmend.run import run

QUICK = {**TINY, **LOOP, "validation_share": 0, "calibration": "none"}
STEPS = [
    {"train": {"name": "teacher", **QUICK, "sensors": ["optical"]}},
    {"pseudo": {"name": "guesses", "from": "teacher", "allow_empty": True}},
    {"train": {**QUICK, "sensors": ["radar"], "labels": "guesses"}},
    {"predict": {"window": 64, "overlap": 16, "split": "test"}},
]


def project(folder, steps=STEPS, **changes):
    """Three places: one labelled and optical, one with radar too and no label, one to be mapped from radar."""
    folder.mkdir(exist_ok=True)
    ids = halves(96, 128)
    scenes = []
    for number, name in enumerate(("source", "target", "test")):
        split = "test" if name == "test" else "train"
        ground = grid(96, 128, east=1000 * number)
        write(folder / f"{name}_o.tif", image_of(ids, seed=number), ground)
        if name != "test":
            scenes.append({"site": name, "sensor": "optical", "image": f"{name}_o.tif", "split": split})
        if name != "source":
            write(folder / f"{name}_r.tif", image_of(ids, seed=9 + number)[:1], ground)
            scenes.append({"site": name, "sensor": "radar", "image": f"{name}_r.tif", "split": split})
    write(folder / "label.tif", ids, grid(96, 128), nodata=255)
    scenes[0]["label"] = "label.tif"
    plain = {
        "name": "row",
        "legend": LEGEND,
        "sensors": {"optical": "rgb", "radar": {"card": "png", "bands": ["vv"]}},
        "scenes": scenes,
        "steps": steps,
        **changes,
    }
    (folder / "project.yaml").write_text(yaml.safe_dump(plain))
    return folder / "project.yaml"


def test_teacher_labels_and_student_in_one_row(tmp_path):
    opened = load_project(project(tmp_path / "p"))
    result = run(opened, tmp_path / "out", device="cpu")
    teacher, student = (read_card(tmp_path / "out" / path) for path in ("steps/teacher/model", "model"))
    assert list(teacher.sensors) == ["optical"] and list(student.sensors) == ["radar"]
    assert result.model == tmp_path / "out/model"
    assert sorted(path.name for path in (tmp_path / "out/pseudo/guesses").iterdir() if path.is_dir()) == ["target"]
    assert [one["name"] for one in student.provenance["labels"]] == ["label.tif"]
    assert len(teacher.provenance["class_shares"]) == 2 and sum(teacher.provenance["class_shares"]) == pytest.approx(1)
    assert (tmp_path / "out/map/test/class.tif").is_file() and not (tmp_path / "out/map/target").exists()
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("model.safetensors")}
    run(opened, tmp_path / "out", device="cpu")
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("model.safetensors")}
    seconds = json.loads((tmp_path / "out/run.json").read_text())["seconds"]
    assert {"train teacher", "pseudo guesses", "train"} <= set(seconds)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"train": {}}, {"train": {}}], "has no name, and a later step goes on from it"),
        ([{"train": {"name": "a"}}, {"pseudo": {"name": "b", "from": "c"}}, {"train": {}}], "goes on from 'c'"),
        ([{"pseudo": {"name": "b"}}, {"train": {"labels": "b"}}], "has no model to make labels with"),
        ([{"train": {"labels": "b"}}], "learns from the labels of 'b', which no `pseudo` before it makes"),
        ([{"train": {"name": "a"}}, {"pseudo": {"name": "a"}}, {"train": {}}], "name 'a' is given twice"),
        ([{"train": {"name": "../a"}}, {"train": {}}], "cannot name a folder"),
        ([{"train": {"name": "a", "sensors": ["sonar"]}}, {"train": {}}], "sensor 'sonar' is unknown"),
        ([{"train": {"name": "a"}}, {"predict": {}}, {"predict": {}}], "step 'predict' is given twice"),
    ],
)
def test_rows_that_make_no_sense_are_refused_before_anything_is_done(tmp_path, steps, told, monkeypatch, capsys):
    path = project(tmp_path / "p", steps)
    code, _, err = call(monkeypatch, capsys, "run", path, "--out", tmp_path / "out")
    assert code == 2 and told in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_file_without_steps_does_all_but_labels(tmp_path):
    row = read_row([], tmp_path, lambda *_: None)
    assert tuple(row.last) == DEFAULT and not row.earlier and "pseudo" not in row.last


def test_a_single_training_may_have_a_name_and_labels_after_it(tmp_path):
    row = read_row([{"train": {"name": "a"}}, {"pseudo": {}}, "predict"], tmp_path, lambda *_: None)
    assert list(row.last) == ["train", "pseudo", "predict"] and not row.earlier
    with pytest.raises(ProjectError, match="out of order"):
        read_row(["predict", "train"], tmp_path, lambda *_: None)
