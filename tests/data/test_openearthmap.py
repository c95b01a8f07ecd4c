"""Tiny copies of both layouts."""

import numpy as np
import pytest
from PIL import Image
from tests.data.scenery import grid, write

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics
from mapmend.core.errors import ManifestError
from mapmend.core.legend import load_crosswalk, load_legend
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import prepare
from mapmend.data.scenes import read_scenes
from mapmend.raster.png import write_class_png


def tif(path, bands, value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    return write(path, np.full((bands, 64, 64), value, np.uint8), grid(64, 64))


@pytest.fixture
def optical(tmp_path):
    for region, names in (("aachen", (1, 2)), ("chiclayo", (3,))):
        for number in names:
            tif(tmp_path / f"{region}/images/{region}_{number}.tif", 3)
            if number != 3:
                tif(tmp_path / f"{region}/labels/{region}_{number}.tif", 1, number)
    (tmp_path / "train.txt").write_text("aachen_1.tif\naachen_2.tif\n")
    (tmp_path / "test.txt").write_text("chiclayo_3.tif\n")
    return tmp_path


@pytest.fixture
def radar(tmp_path):
    for name in ("TrainArea_0001", "ValArea_0002"):
        for folder, bands in (("rgb_images", 3), ("sar_images", 1), ("labels", 1)):
            tif(tmp_path / f"train/{folder}/{name}.tif", bands, 3)
    tif(tmp_path / "test/sar_images/TestArea_0003.tif", 1)
    return tmp_path


def test_openearthmap_by_its_lists_and_regions(optical):
    rows = read_scenes([{"openearthmap": ".", "split": "train", "sensor": "optical"}], optical)
    assert [(row.site, row.split, row.sensor) for row in rows] == [
        ("aachen_1", "train", "optical"),
        ("aachen_2", "train", "optical"),
    ]
    assert rows[0].label.endswith("aachen/labels/aachen_1.tif")
    [test] = read_scenes([{"openearthmap": ".", "split": "test"}], optical)
    assert test.site == "chiclayo_3" and test.label is None
    assert len(read_scenes([{"openearthmap": ".", "regions": "aachen", "label": "none"}], optical)) == 2
    references = read_scenes([{"openearthmap": "."}], optical, name="reference")
    assert [row.site for row in references] == ["aachen_1", "aachen_2"] and not references[0].image


def test_openearthmap_sar_by_its_folders_and_names(radar):
    rows = read_scenes([{"openearthmap_sar": ".", "label": "none"}, {"openearthmap_sar": ".", "part": "test"}], radar)
    assert [(row.site, row.sensor, row.split) for row in rows] == [
        ("TrainArea_0001", "optical", "train"),
        ("TrainArea_0001", "radar", "train"),
        ("ValArea_0002", "optical", "val"),
        ("ValArea_0002", "radar", "val"),
        ("TestArea_0003", "radar", "test"),
    ]
    assert all(row.label is None for row in rows)
    [one, _] = read_scenes([{"openearthmap_sar": ".", "image": {"sar": "sar_images"}, "split": "train"}], radar)
    assert one.sensor == "sar" and one.label.endswith("labels/TrainArea_0001.tif")
    sensors = {"optical": load_sensor("rgb"), "radar": load_sensor("umbra")}
    made = prepare(rows, sensors, load_legend("openearthmap9"), radar / "out")
    assert made.sites[0].images[-1].statistics.mean[0] == pytest.approx(20 * np.log10(7), abs=0.01)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"openearthmap": ".", "reigons": "a"}, "unknown key 'reigons'"),
        ({"openearthmap": ".", "regions": "achen"}, "region 'achen' is not there"),
        ({"openearthmap": ".", "split": "all"}, "split 'all' is unknown"),
        ({"openearthmap": "nowhere"}, "no image below"),
        ({"openearthmap_sar": ".", "part": "val"}, "part 'val' is unknown"),
        ({"openearthmap_sar": ".", "image": {"radar": "sar"}}, "no such folder"),
        ({"openearthmap_sar": ".", "label": "pseudo"}, "label 'pseudo' is unknown"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(optical, radar, entry, told):
    with pytest.raises(ManifestError, match=told) as fault:
        read_scenes([entry], optical)
    assert "\n" not in str(fault.value)


def test_a_submission_is_a_png_of_codes(tmp_path):
    ids = np.random.default_rng(0).choice([1, 5, 8, 255], (64, 64)).astype(np.uint8)
    write(tmp_path / "class.tif", ids, grid(64, 64), nodata=255)
    write_class_png(tmp_path / "class.tif", tmp_path / "png/TestArea_0003.png")
    with Image.open(tmp_path / "png/TestArea_0003.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), np.where(ids == 255, 0, ids))


def test_the_mean_iou_is_of_eight_classes_and_leaves_the_background_out():
    """Nine classes are mapped; background in the truth is not scored, and background in the map is an error."""
    crosswalk = load_crosswalk("openearthmap9", load_legend("openearthmap"))
    assert crosswalk.table[0] == 255 and crosswalk.table[8] == 8
    legend = load_legend("openearthmap")
    rng = np.random.default_rng(0)
    truth, said = rng.integers(0, 9, 4000), rng.integers(0, 9, 4000)
    said[:2500] = truth[:2500]
    ious = []
    for index in range(1, 9):
        judged = truth != 0
        both = ((truth == index) & (said == index) & judged).sum()
        ious.append(both / (((truth == index) | (said == index)) & judged).sum())
    matrix = ConfusionMatrix(legend.names)
    table = np.array([crosswalk.table[code] for code in range(9)])
    codes = legend.lut[table.astype(np.uint8)]
    matrix.update(codes[truth].astype(np.uint8), codes[said].astype(np.uint8))
    assert map_metrics(matrix).miou == pytest.approx(np.mean(ious))
    assert len(map_metrics(matrix).classes) == 8
