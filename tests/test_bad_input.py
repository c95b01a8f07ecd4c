"""Every mistake a user can make: one line that says what, where and what to do; exit code 2; nothing half-written."""

import shutil

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LOOP, TINY, call, small_project

from mapmend.core.grid import make_grid


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def refused(result, *words):
    """One line, exit code 2, with these words in it."""
    code, out, err = result
    lines = [line for line in err.splitlines() if line.startswith("mapmend: ")]
    assert code == 2, err
    assert len(lines) == 1 and err.rstrip().endswith(lines[0]), err
    assert "Traceback" not in err and not out
    for word in words:
        assert word in lines[0], lines[0]


def leftovers(out):
    """Files that a refused command must not leave behind."""
    if not out.exists():
        return []
    results, unfinished = ("report.html", "class.tif", "prepared.json", "model.json"), (".part", ".tmp", ".new")
    return [path for path in out.rglob("*") if path.name in results or path.name.endswith(unfinished)]


def _missing(folder):
    (folder / "image.tif").unlink()


def _truncated(folder):
    data = (folder / "image.tif").read_bytes()
    (folder / "image.tif").write_bytes(data[: len(data) // 2])


def _zero_size(folder):
    (folder / "image.tif").write_bytes(b"")


def _not_a_raster(folder):
    (folder / "image.tif").write_text("site,date\nhere,2020\n" * 50)


def _vrt_named_tif(folder):
    shutil.move(folder / "image.tif", folder / "secret.tif")
    (folder / "image.tif").write_text(
        '<VRTDataset rasterXSize="256" rasterYSize="192"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{folder / 'secret.tif'}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )


def _too_many_bands(folder):
    write(folder / "image.tif", image_of(halves(192, 256), bands=5), grid(192, 256))


def _strange_codes(folder):
    write(folder / "label.tif", halves(192, 256) + 40, grid(192, 256))


def _elsewhere(folder):
    far = make_grid((192, 256), Affine(1, 0, 900_000, 0, -1, 1_000_000), "EPSG:32632")
    write(folder / "label.tif", halves(192, 256), far)


def _label_without_crs(folder):
    write(folder / "label.tif", halves(100, 256), grid(100, 256, crs=None))


def _all_invalid(folder):
    write(folder / "image.tif", np.zeros((3, 192, 256), np.uint8), grid(192, 256), nodata=0)


def _one_class(folder):
    write(folder / "label.tif", np.ones((192, 256), np.uint8), grid(192, 256))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_missing, ["image.tif", "does not exist"]),
        (_truncated, ["image.tif", "truncated"]),
        (_zero_size, ["image.tif", "empty"]),
        (_not_a_raster, ["image.tif"]),
        (_vrt_named_tif, ["image.tif", "VRT"]),
        (_too_many_bands, ["image.tif", "5 bands", "rgb"]),
        (_strange_codes, ["label.tif", "41", "42"]),
        (_elsewhere, ["label.tif", "overlap"]),
        (_label_without_crs, ["label.tif", "CRS"]),
        (_all_invalid, ["image.tif", "no valid pixel"]),
        (_one_class, ["one class only", "left"]),
    ],
)
def test_a_bad_file_is_refused(tmp_path, cli, damage, words):
    project = small_project(tmp_path)
    damage(tmp_path)
    refused(cli("run", project, "--out", tmp_path / "out"), *words)
    assert [path for path in leftovers(tmp_path / "out") if damage is not _one_class] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"legnd": "two"}, ["project.yaml", "'legnd'", "legend"]),
        ({"steps": [{"trian": {}}]}, ["'trian'", "train"]),
        ({"steps": [{"train": {"stpes": 5}}]}, ["'stpes'", "steps"]),
        ({"steps": [{"train": {"steps": "many"}}]}, ["steps", "many"]),
        ({"steps": [{"train": {"method": "superwised"}}]}, ["superwised", "supervised"]),
        ({"steps": [{"predict": {"windw": 5}}]}, ["'windw'", "window"]),
        ({"steps": [{"report": {}}, {"train": {}}]}, ["order"]),
        ({"legend": "chesapeak4"}, ["chesapeak4", "chesapeake4"]),
        ({"sensors": {"optical": "naop"}}, ["naop", "naip"]),
        ({"scenes": [{"site": "here", "imge": "image.tif"}]}, ["imge", "image"]),
        ({"scenes": "nowhere.csv"}, ["nowhere.csv"]),
        ({"aoi": "nowhere.gpkg"}, ["nowhere.gpkg", "aoi"]),
        ({"reference": [{"site": "there", "label": "truth.tif"}]}, ["'there'"]),
        ({"steps": [{"train": {**TINY, **LOOP, "encoder": "resnett18"}}]}, ["resnett18"]),
        ({"steps": [{"train": {**TINY, **LOOP, "decoder": "unett"}}]}, ["unett", "unet"]),
    ],
)
def test_a_wrong_project_is_refused(tmp_path, cli, changes, words):
    project = small_project(tmp_path, **changes)
    refused(cli("run", project, "--out", tmp_path / "out"), *words)


def test_a_file_that_is_no_project_is_refused(tmp_path, cli):
    refused(cli("run", tmp_path / "none.yaml"), "none.yaml")
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    refused(cli("run", tmp_path / "list.yaml"), "list.yaml")
    (tmp_path / "broken.yaml").write_text("name: [unclosed\n")
    refused(cli("run", tmp_path / "broken.yaml"), "broken.yaml", "YAML")


def test_another_projects_folder_is_refused(tmp_path, cli):
    project = small_project(tmp_path)
    assert cli("prepare", project, "--out", tmp_path / "out")[0] == 0
    plain = yaml.safe_load(project.read_text())
    project.write_text(yaml.safe_dump({**plain, "name": "other"}))
    refused(cli("run", project, "--out", tmp_path / "out"), "out", "another project")
    project.write_text(yaml.safe_dump({**plain, "name": "small"}))
    assert cli("prepare", project, "--out", tmp_path / "out")[0] == 0


def test_steps_out_of_turn_are_refused(tmp_path, cli):
    project = small_project(tmp_path)
    refused(cli("report", project, "--out", tmp_path / "out"), "prepare")
    refused(cli("predict", project, "--out", tmp_path / "out"), "out")
    assert leftovers(tmp_path / "out") == []


def test_a_model_and_a_scene_that_do_not_fit_are_refused(tmp_path, cli):
    project = small_project(tmp_path)
    assert cli("train", project, "--out", tmp_path / "out")[0] == 0
    model = tmp_path / "out" / "model"
    one_band = write(tmp_path / "one.tif", image_of(halves(70, 70), bands=1), grid(70, 70))
    refused(cli("predict", one_band, "--model", model, "--out", tmp_path / "map"), "one.tif", "1 band")
    reals = write(tmp_path / "real.tif", image_of(halves(70, 70)).astype(np.float32), grid(70, 70))
    refused(cli("predict", reals, "--model", model, "--out", tmp_path / "map"), "real.tif", "float32")
    refused(cli("predict", tmp_path / "image.tif", "--model", tmp_path, "--out", tmp_path / "map"), "model")
    refused(cli("predict", tmp_path / "image.tif"), "--model")
    empty = write(tmp_path / "empty.tif", np.zeros((3, 70, 70), np.uint8), grid(70, 70), nodata=0)
    refused(cli("predict", empty, "--model", model, "--out", tmp_path / "map"), "empty", "no valid pixel")
    assert not (tmp_path / "map").exists() or leftovers(tmp_path / "map") == []
    assert cli("predict", tmp_path / "image.tif", "--model", model, "--out", tmp_path / "map")[0] == 0
    refused(cli("predict", tmp_path / "truth.tif", "--model", model, "--out", tmp_path / "map"))
    other = write(tmp_path / "other.tif", image_of(halves(70, 70)), grid(70, 70))
    refused(cli("predict", other, "--model", model, "--out", tmp_path / "map"), "map", "another")


def test_a_full_disk_is_refused_before_any_work(tmp_path, cli, monkeypatch):
    project = small_project(tmp_path)
    assert cli("train", project, "--out", tmp_path / "out")[0] == 0
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    refused(cli("predict", project, "--out", tmp_path / "out"), "MB", "free")
    monkeypatch.undo()
    with rasterio.open(tmp_path / "image.tif") as image:
        assert image.count == 3
    assert leftovers(tmp_path / "out" / "map") == []
