"""Projects whose method learns from pairs, from images to maps, by the command line."""

import json

import numpy as np
import pytest
import rasterio
import yaml
from tests.data.scenery import grid, image_of, write
from tests.projects import LEGEND, LOOP, TINY, call

SHAPE = (112, 160)
TRAIN = {**TINY, **LOOP, "ema_decay": 0, "validation_share": 0, "photometric": 0}


def pairs(folder, number, labelled):
    """Rows of pairs: the left class gains a strip at the second date; `labelled` of them tell what changed."""
    rows = []
    for index in range(number):
        on = grid(*SHAPE, east=1000 * index)
        edges = 40 + 8 * index, 80 + 8 * index
        for date, edge in enumerate(edges, start=1):
            ids = np.where(np.arange(SHAPE[1]) < edge, 1, 2)[None].repeat(SHAPE[0], 0).astype(np.uint8)
            image = image_of(ids, seed=10 * index + date)
            image[2] = 240 - image[0]
            files = {"image": f"image_{index}_{date}.tif", "label": f"label_{index}_{date}.tif"}
            write(folder / files["image"], image, on)
            write(folder / files["label"], ids, on, nodata=255)
            rows.append({"site": f"s{index}", "date": f"t{date}", "image": files["image"]})
            if index < labelled == number:
                rows[-1]["label"] = files["label"]
        columns = np.arange(SHAPE[1])
        changed = ((columns >= edges[0]) & (columns < edges[1])).astype(np.uint8)[None].repeat(SHAPE[0], 0)
        write(folder / f"change_{index}.tif", changed, on)
        if index < labelled < number:
            rows[-1]["change"] = f"change_{index}.tif"
    return rows


def project(folder, scenes, legend, *steps):
    plain = {"name": "pairs", "legend": legend, "sensors": {"optical": "rgb"}, "scenes": scenes, "steps": list(steps)}
    path = folder / "project.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


PREDICT = {"predict": {"window": 64, "overlap": 16}}


def test_clearscd_maps_both_dates_and_the_change_that_it_learned(cli, tmp_path):
    train = {"train": {**TRAIN, "method": "clearscd", "steps": 40, "lr": 0.003, "fresh": 16, "calibration": "none"}}
    path = project(tmp_path, pairs(tmp_path, 2, 2), LEGEND, train, PREDICT, {"change": {}}, {"report": {}})
    code, _, told = cli("run", path, "--out", tmp_path / "out")
    assert code == 0, told
    out = tmp_path / "out"
    card = json.loads((out / "model/model.json").read_text())
    assert card["spec"]["pair"] == "cvaps_probability" and card["method"] == "clearscd"
    for index in range(2):
        for date, name in ((1, "class_before"), (2, "class")):
            truth = read(tmp_path / f"label_{index}_{date}.tif")
            assert (read(out / f"map/s{index}/{name}.tif") == truth).mean() > 0.9
        change, changed = read(out / f"map/s{index}/change.tif"), read(tmp_path / f"change_{index}.tif") == 1
        inside, outside = (np.sort(change[part].astype(int)) for part in (changed, ~changed))
        assert np.searchsorted(outside, inside).mean() / len(outside) > 0.8  # the area under the ROC curve
    record = json.loads((out / "map/s0/mapmend.json").read_text())
    assert "learned" in json.dumps(record)
    assert (out / "change/s0/from_to.tif").is_file()


def test_c2f2_maps_the_change_from_labelled_and_unlabelled_pairs(cli, tmp_path):
    train = {"train": {**TRAIN, "method": "c2f2", "steps": 40, "lr": 0.003, "cut": 0}}
    predict = {"predict": {"window": 160, "overlap": 0}}  # its encoder sees half of a smaller window beyond the image
    path = project(tmp_path, pairs(tmp_path, 3, 2), "change", train, predict, {"report": {}})
    code, _, told = cli("run", path, "--out", tmp_path / "out")
    assert code == 0, told
    out = tmp_path / "out"
    card = json.loads((out / "model/model.json").read_text())
    assert card["spec"]["pair"] == "change" and card["legend"]["name"] == "change"
    assert not any(key in card["spec"] for key in ("phi", "secondary"))
    for index in range(3):
        changed, mapped = read(tmp_path / f"change_{index}.tif") == 1, read(out / f"map/s{index}/class.tif")
        assert set(np.unique(mapped)) <= {0, 1}
        assert (mapped == changed).mean() > 0.9
        assert not (out / f"map/s{index}/class_before.tif").exists()
    earlier, later = (tmp_path / f"image_0_{date}.tif" for date in (1, 2))
    more = ("--model", out / "model", "--out", tmp_path / "single", "--window", 160, "--overlap", 0)
    code, _, told = cli("predict", later, "--before", earlier, *more)
    assert code == 0, told
    np.testing.assert_array_equal(read(tmp_path / "single/class.tif"), read(out / "map/s0/class.tif"))


@pytest.mark.parametrize(
    ("scenes", "legend", "steps", "told"),
    [
        ((2, 1), "change", [{"train": {"method": "c2f2"}}, {"predict": {}}, {"change": {}}], "is the change itself"),
        ((2, 1), LEGEND, [{"train": {"method": "fpa"}}], "use `legend: change`"),
        ((2, 0), "change", [{"train": {"method": "supervised_pair", "change": "only"}}], "no pair is labelled"),
        ((1, 0), LEGEND, [{"train": {"method": "supervised_pair", "preset": "published"}}], ""),
    ],
)
def test_what_does_not_go_together_is_one_line(cli, tmp_path, scenes, legend, steps, told):
    path = project(tmp_path, pairs(tmp_path, *scenes), legend, *steps)
    code, _, error = cli("run", path, "--out", tmp_path / "out")
    assert code == 2
    assert told in error and "Traceback" not in error
    assert not (tmp_path / "out/model").exists()
