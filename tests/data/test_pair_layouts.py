"""The data sets of the literature on change, as patterns: the entries that docs/manifest.md shows, on tiny files."""

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image

from mapmend.core.errors import LabelError, ManifestError
from mapmend.core.legend import load_legend
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import prepare
from mapmend.data.scenes import read_scenes, with_sensor

MANIFEST = Path(__file__).parents[2] / "docs" / "manifest.md"
SIDE = 64


def documented(heading):
    """The project entries that the page shows below a heading."""
    section = re.split(r"^### ", MANIFEST.read_text(), flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(f"{heading}\n")]
    [shown] = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    return yaml.safe_load(shown)


def png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def image(path, seed):
    png(path, np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3)))


def prepared(folder, shown):
    legend = load_legend(shown["legend"], folder)
    rows = read_scenes(shown["scenes"], folder)
    [sensor] = shown["sensors"]
    cards = {sensor: load_sensor(shown["sensors"][sensor], folder)}
    return prepare(with_sensor(rows, [sensor]), cards, legend, folder / "out")


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_hi_ucd_mini_holds_both_dates_and_the_change_in_one_picture(tmp_path):
    codes = np.zeros((SIDE, SIDE, 3), np.uint8)
    codes[:, :30] = (9, 9, 1)
    codes[:, 30:60] = (9, 3, 2)  # woodland became building; the rest is unlabelled
    for split, years in (("train", (2017, 2018)), ("val", (2017, 2018)), ("test", (2018, 2019))):
        for year in years:
            image(tmp_path / split / "image" / str(year) / "9" / f"1_{split}.png", year)
        png(tmp_path / split / "mask_merge" / "{}_{}".format(*years) / "9" / f"1_{split}.png", codes)
    found = prepared(tmp_path, documented("Hi-UCD")).sites
    assert sorted({(site.name, site.split) for site in found}) == [(f"1_{s}", s) for s in ("test", "train", "val")]
    for before, after in zip(found[::2], found[1::2], strict=True):
        assert before.date < after.date
        first, second, change = read(before.label), read(after.label), read(after.change)
        assert np.unique(first[:, :60]).tolist() == [9] and (first[:, 60:] == 255).all()
        assert (second[:, 30:60] == 3).all() and (second[:, :30] == 9).all()
        assert (change[:, :30] == 0).all() and (change[:, 30:60] == 1).all() and (change[:, 60:] == 255).all()


def test_second_has_colours_where_something_changed(tmp_path):
    before, after = np.full((SIDE, SIDE, 3), 255, np.uint8), np.full((SIDE, SIDE, 3), 255, np.uint8)
    before[:20], after[:20] = (0, 255, 0), (128, 0, 0)
    for split in ("train", "test"):
        for name in ("im1", "im2"):
            image(tmp_path / split / name / f"{split}1.png", 0)
        png(tmp_path / split / "label1" / f"{split}1.png", before)
        png(tmp_path / split / "label2" / f"{split}1.png", after)
    for first, second in [prepared(tmp_path, documented("SECOND")).sites[i : i + 2] for i in (0, 2)]:
        assert (read(first.label)[:20] == 4).all() and (read(first.label)[20:] == 255).all()
        assert (read(second.label)[:20] == 5).all()
        assert (read(second.change)[:20] == 1).all() and (read(second.change)[20:] == 0).all()


def test_lsscd_ex_has_a_file_for_each_label(tmp_path):
    """Its codes are 0 to 6, and their order stands in a legend of the user's."""
    shown = documented("LsSCD-Ex")
    classes = [{"id": i, "name": f"class {i}", "color": f"#{i}0{i}0{i}0"} for i in range(7)]
    legend = {"name": "lsscd", "classes": classes, "ignore": [{"id": 7, "name": "unlabelled", "color": "#000000"}]}
    (tmp_path / shown["legend"]).write_text(yaml.safe_dump(legend))
    codes = np.repeat(np.arange(8, dtype=np.uint8), 8)[None].repeat(SIDE, 0)
    change = np.where(codes < 4, 1, 255).astype(np.uint8)
    change[:8] = 0
    for split in ("train", "val", "test"):
        for name in ("A", "B"):
            image(tmp_path / split / name / f"{split}.png", 0)
            png(tmp_path / split / f"label{name}" / f"{split}.png", codes)
        png(tmp_path / split / "change" / f"{split}.png", change)
    [before, after, *_] = prepared(tmp_path, shown).sites
    assert np.unique(read(before.label)).tolist() == [*range(7), 255]
    assert (read(after.change) == change).all()


LISTS = {
    "`{pct}_train_supervised.txt`": ("list/5_train_supervised.txt", "list/5_train_unsupervised.txt", "{name}.png"),
    "`{pct}%/labeled.txt`": (
        "splits/levir/5%/labeled.txt",
        "splits/levir/5%/unlabeled.txt",
        "A/{name}.png B/{name}.png label/{name}.png",
    ),
}


DATA_SETS = ("Hi-UCD", "SECOND", "LsSCD-Ex", *map("LEVIR-CD-256 and WHU-CD-256, lists {}".format, LISTS))


@pytest.mark.parametrize("convention", LISTS)
def test_lists_say_which_pairs_are_labelled(tmp_path, convention):
    labelled, unlabelled, line = LISTS[convention]
    shown = documented(f"LEVIR-CD-256 and WHU-CD-256, lists {convention}")
    for name in ("a", "b", "c", "v", "t"):
        for folder in ("A", "B"):
            image(tmp_path / folder / f"{name}.png", ord(name))
        png(tmp_path / "label" / f"{name}.png", np.eye(SIDE) * 255)
    lists = {labelled: "a", unlabelled: "bc"}
    for key in ("val", "test"):
        [path] = {entry["list"] for entry in shown["scenes"] if entry.get("split") == key}
        lists[path] = key[0]
    for path, names in lists.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("".join(f"{line.format(name=name)}\n" for name in names))
    sites = prepared(tmp_path, shown).sites
    assert {site.name: site.split for site in sites} == {
        "a": "train",
        "b": "train",
        "c": "train",
        "v": "val",
        "t": "test",
    }
    assert {site.name for site in sites if site.change is not None} == {"a", "v", "t"}
    assert {site.date for site in sites} == {"t1", "t2"}
    assert read(next(site.change for site in sites if site.change)).sum() == SIDE
    with (tmp_path / unlabelled).open("a") as file:
        file.write(f"{line.format(name='a')}\n")
    with pytest.raises(ManifestError, match=r"site 'a', date 't1' is given twice; .*on the one with labels or"):
        prepared(tmp_path, shown)


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"label_band": "0"}, ManifestError, ["label_band '0'", "first is 1"]),
        ({"label_band": "one"}, ManifestError, ["label_band 'one'"]),
        ({"label_band": 4}, LabelError, ["3 bands", "band 4", "mask.png"]),
        ({"label_band": 1, "label_class": "water"}, ManifestError, ["label_band"]),
        ({"change": "mask.png", "change_band": 3}, ManifestError, ["change_band", "change_legend"]),
    ],
)
def test_a_band_that_is_none_is_refused(tmp_path, more, error, words):
    image(tmp_path / "image.png", 0)
    png(tmp_path / "mask.png", np.ones((SIDE, SIDE, 3)))
    entry = {"site": "here", "date": "t1", "image": "image.png", "label": "mask.png", **more}
    shown = {"legend": "hi_ucd", "sensors": {"rgb": "rgb"}, "scenes": [entry]}
    with pytest.raises(error) as caught:
        prepared(tmp_path, shown)
    assert all(word in str(caught.value) for word in words)
