"""A model that has learned to do without one of its images maps from whichever exists, and says which."""

import json
import shutil

import numpy as np
import rasterio
import torch
import yaml
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LEGEND, LOOP, TINY, call

from mapmend.methods.supervised import without_some
from mapmend.nn.model_folder import read_card
from mapmend.project import load_project
from mapmend.run import run


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def project(folder, dropout):
    """A labelled place with both images, and places to be mapped with both (in part), or one of them."""
    ids, scenes = halves(96, 128), []
    for number, (name, there) in enumerate({"train": "or", "both": "or", "optical": "o", "radar": "r"}.items()):
        ground = grid(96, 128, east=1000 * number)
        for kind, sensor in (("o", "optical"), ("r", "radar")):
            if kind not in there:
                continue
            pixels = image_of(ids, seed=number)[: 3 if kind == "o" else 1].copy()
            if name == "both":
                pixels[:, :32, :50] = 0 if kind == "o" else pixels[:, :32, :50]
                pixels[:, 16:48, 20:60] = 0 if kind == "r" else pixels[:, 16:48, 20:60]
            write(folder / f"{name}_{kind}.tif", pixels, ground, nodata=0)
            split = "train" if name == "train" else "test"
            scenes.append({"site": name, "sensor": sensor, "image": f"{name}_{kind}.tif", "split": split})
    write(folder / "label.tif", ids, grid(96, 128), nodata=255)
    scenes[0]["label"] = "label.tif"
    train = {**TINY, **LOOP, "validation_share": 0, "calibration": "none", "modality_dropout": dropout}
    plain = {
        "name": "partial",
        "legend": LEGEND,
        "sensors": {"optical": "rgb", "radar": {"card": "png", "bands": ["vv"]}},
        "scenes": scenes,
        "steps": [{"train": train}, {"predict": {"window": 64, "overlap": 16, "split": "test"}}],
    }
    (folder / "project.yaml").write_text(yaml.safe_dump(plain))
    return folder / "project.yaml"


def test_places_are_mapped_from_whichever_image_exists(tmp_path):
    out = tmp_path / "out"
    run(load_project(project(tmp_path, 0.5)), out, device="cpu")
    assert read_card(out / "model").spec.partial
    for name, used in (("optical", 1), ("radar", 2)):
        assert set(np.unique(read(out / f"map/{name}/used.tif"))) == {used}
        assert 255 not in read(out / f"map/{name}/class.tif")
    used, ids = read(out / "map/both/used.tif"), read(out / "map/both/class.tif")
    expected = np.full((96, 128), 3, np.uint8)
    expected[:32, :50] -= 1
    expected[16:48, 20:60] -= 2
    expected[expected == 0] = 255
    np.testing.assert_array_equal(used, expected)
    np.testing.assert_array_equal(ids == 255, expected == 255)


def test_images_named_by_their_sensor_are_enough(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert call(monkeypatch, capsys, "train", project(tmp_path, 0.5), "--out", out, "--device", "cpu")[0] == 0

    def mapped(name, *images):
        more = ("--model", out / "model", "--out", tmp_path / name, "--window", 64, "--overlap", 16)
        return call(monkeypatch, capsys, "predict", *images, *more, "--device", "cpu")

    optical, radar = tmp_path / "both_o.tif", tmp_path / "both_r.tif"
    for name, images in {"plain": (optical, radar), "named": (f"radar={radar}", f"optical={optical}")}.items():
        assert mapped(name, *images)[0] == 0
    np.testing.assert_array_equal(read(tmp_path / "plain/class.tif"), read(tmp_path / "named/class.tif"))
    assert mapped("radar", f"radar={radar}")[0] == 0
    with rasterio.open(radar) as file:
        there = file.dataset_mask() > 0
    np.testing.assert_array_equal(read(tmp_path / "radar/used.tif"), np.where(there, 2, 255))
    np.testing.assert_array_equal(read(tmp_path / "radar/class.tif") != 255, there)
    code, told, _ = mapped("radar", f"radar={radar}", "--json", "-")
    assert code == 0 and json.loads(told)["used"].endswith("radar/used.tif")
    earlier = shutil.copy(radar, tmp_path / "earlier.tif")
    for images, words in (
        ((f"radar={radar}", optical), "some images are given as NAME=FILE, others not"),
        ((f"radar={radar}", f"radar={optical}"), "several images of sensor 'radar'"),
        ((radar,), "1 image files, the model wants 2"),
        ((f"radar={radar}", "--before", f"radar={earlier}"), "has 1 images, the model wants 2"),
    ):
        code, _, err = mapped("wrong", *images)
        assert code == 2 and words in err and not (tmp_path / "wrong").exists()


def test_places_that_the_models_sensors_have_not_seen_are_told_and_left_out(tmp_path, monkeypatch, capsys):
    path, out = project(tmp_path, 0.0), tmp_path / "out"
    plain = yaml.safe_load(path.read_text())
    plain["steps"][0]["train"]["sensors"] = ["radar"]
    path.write_text(yaml.safe_dump(plain))
    code, _, err = call(monkeypatch, capsys, "run", path, "--out", out, "--device", "cpu")
    assert code == 0 and "not mapped: optical: no image of radar" in err
    assert {one.name for one in (out / "map").iterdir() if one.is_dir()} == {"both", "radar"}


def test_other_models_want_all_images(tmp_path, monkeypatch, capsys):
    code, _, err = call(
        monkeypatch, capsys, "run", project(tmp_path, 0.0), "--out", tmp_path / "out", "--device", "cpu"
    )
    assert code == 2 and "has 1 images, the model wants 2" in err
    assert not (tmp_path / "out/map/both/used.tif").exists()


def test_a_share_of_the_images_loses_one_modality_and_never_both():
    valid = torch.ones(400, 1, 4, 4, dtype=torch.bool)
    valid[:, :, 0] = False
    made = without_some(valid, [3, 1], 0.5, torch.Generator().manual_seed(0))
    assert made.shape == (400, 4, 4, 4) and not made[:, :, 0].any()
    optical, radar = made[:, :3, 1:].flatten(1).all(1), made[:, 3, 1:].flatten(1).all(1)
    assert (optical | radar).all() and (made[:, 0] == made[:, 2]).all()
    assert 150 < int((~optical).sum() + (~radar).sum()) < 250 and 60 < int((~radar).sum()) < 140


def test_of_several_modalities_any_that_leave_one_are_taken_away():
    valid = torch.ones(600, 1, 1, 1, dtype=torch.bool)
    made = without_some(valid, [1, 1, 1], 1.0, torch.Generator().manual_seed(0))[:, :, 0, 0]
    found = {tuple(one) for one in made.tolist()}
    assert len(found) == 6 and (False, False, False) not in found and (True, True, True) not in found


def test_dropout_of_the_only_image_is_refused(tmp_path, monkeypatch, capsys):
    path = project(tmp_path, 0.5)
    plain = yaml.safe_load(path.read_text())
    plain["steps"][0]["train"]["sensors"] = ["optical"]
    path.write_text(yaml.safe_dump(plain))
    code, _, err = call(monkeypatch, capsys, "train", path, "--out", tmp_path / "out")
    assert code == 2 and "'modality_dropout' needs two sensors" in err
