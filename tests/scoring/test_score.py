"""`mapmend score` on tiny folders and rasters."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from tests.projects import call

from mapmend.scoring import gathering


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def folder(path, **images):
    path.mkdir()
    for name, values in images.items():
        Image.fromarray(np.array(values, np.uint8)).save(path / f"{name}.png")
    return path


def tif(path, values, *, west=0.0, crs="EPSG:32633", nodata=None):
    values = np.array(values, np.uint8)
    bands = values[None] if values.ndim == 2 else values
    place = {"crs": crs, "transform": Affine(1, 0, west, 0, -1, 100), "nodata": nodata}
    count, height, width = bands.shape
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", **place) as file:
        file.write(bands)
    return path


def result(cli, tmp_path, *arguments):
    code, out, err = cli("score", *arguments, "--json", tmp_path / "scores.json")
    assert code == 0, err
    return json.loads((tmp_path / "scores.json").read_text()), out


def test_the_published_check_from_pngs(cli, tmp_path):
    counts = np.array([[50, 3, 2], [4, 30, 6], [1, 2, 2]])
    true, made = np.repeat(np.indices((3, 3)).reshape(2, -1), counts.ravel(), axis=1).reshape(2, 10, 10)
    found, out = result(cli, tmp_path, folder(tmp_path / "p", a=made), folder(tmp_path / "r", a=true), "--classes", 3)
    one = found["map"]
    assert one["oa_pooled"] == 0.82 and round(one["miou_pooled"], 8) == 0.55128205
    assert one["kappa_pooled"] == pytest.approx(0.67420815, abs=1e-8) and round(one["fwiou"], 8) == 0.73269231
    assert [round(row["iou"], 8) for row in one["classes"]] == [0.83333333, 0.66666667, 0.15384615]
    assert "0.551282" in out and found["images"] == 1


def test_images_are_paired_by_name_and_averaged(cli, tmp_path):
    truth = {"a": np.zeros((4, 4)), "b": np.ones((2, 2)), "c": np.ones((2, 2))}
    made = {"a": np.zeros((4, 4)), "b": [[0, 1], [1, 1]]}
    found, out = result(cli, tmp_path, folder(tmp_path / "p", **made), folder(tmp_path / "r", **truth), "--explain")
    assert found["images"] == 2 and found["pixels"] == 20
    assert found["map"]["oa_pooled"] == 19 / 20 and found["map"]["oa_image"] == pytest.approx((1 + 3 / 4) / 2)
    assert found["map"]["miou_image"] == pytest.approx((1 + (0 + 3 / 4) / 2) / 2)
    assert found["map"]["miou_pooled"] == pytest.approx((16 / 17 + 3 / 4) / 2)
    [note] = found["notes"]
    assert "1 of 3 files have no partner" in note and note in out
    assert any(line.startswith("oa_pooled 0.950000, oa_image 0.875000") for line in found["explain"])
    assert "2 images, the lowest 0.375 in b" in out


def test_two_dates_give_the_published_semantic_change(cli, tmp_path):
    rows = "0000800 0012020 0034010 1212060 1213010 1200015 1232005 3434040 3400010 3443005 2121020 2112005"
    layers = np.repeat(
        np.array([[int(digit) for digit in row[:4]] for row in rows.split()], np.uint8),
        [int(row[4:]) for row in rows.split()],
        axis=0,
    ).T.reshape(4, 25, 40)
    r1, r2, p1, p2 = (folder(tmp_path / name, x=layer) for name, layer in zip("abcd", layers, strict=True))
    dates = ("--before-pred", p1, "--before-ref", r1)
    for extra in (("--classes", 5, "--no-change", 0), ("--classes", 5), (), ("--legend", "second")):
        found, _ = result(cli, tmp_path, p2, r2, *dates, *extra)
        scores = found["semantic_change"]
        assert scores["sek_pooled"] == pytest.approx(0.4050032448, abs=5e-11)
        assert scores["score_pooled"] == pytest.approx(0.5326031485, abs=5e-11)
        assert scores["sek_fromto"] != pytest.approx(scores["sek_pooled"], abs=0.01)
        assert scores["pixels"] == 1000
    [line] = [line for line in found["explain"] if line.startswith("sek_pooled")]
    assert "sek_fromto" in line and "(here: 15 changed pixels have one date right and the other wrong)" in line
    assert found["change"]["iou_changed"] == 0.725


def test_a_change_map_of_its_own_decides_what_changed(cli, tmp_path):
    before, after = tif(tmp_path / "b.tif", [[1, 1, 2, 2]]), tif(tmp_path / "a.tif", [[2, 1, 2, 1]])
    change = tif(tmp_path / "c.tif", [[0, 0, 0, 1]])
    dates = ("--before-pred", before, "--before-ref", before, "--classes", 3)
    alone, _ = result(cli, tmp_path, after, after, *dates)
    assert alone["semantic_change"]["iou_c_fromto"] == 1 and alone["semantic_change"]["miou_bc"] is None
    found, _ = result(cli, tmp_path, after, after, *dates, "--change-pred", change)
    assert found["semantic_change"]["iou_c_fromto"] == 1 / 2
    assert found["semantic_change"]["miou_bc"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_windows_do_not_change_a_figure(cli, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    truth = np.kron(rng.integers(0, 4, (10, 8)), np.ones((7, 9)))
    made = np.where(rng.random(truth.shape) < 0.8, truth, rng.integers(0, 4, truth.shape))
    truth[:5, :9] = 255
    rasters = tif(tmp_path / "p.tif", made), tif(tmp_path / "r.tif", truth)
    whole, _ = result(cli, tmp_path, *rasters, "--classes", 4)
    monkeypatch.setattr(gathering, "_SIDE", 16)
    assert result(cli, tmp_path, *rasters, "--classes", 4)[0] == whole
    assert whole["map"]["boundary_iou_pooled"] > 0


def test_ignored_codes_and_nodata_are_no_reference_and_an_error_in_the_prediction(cli, tmp_path):
    made, true = tif(tmp_path / "p.tif", [[1, 2, 9, 1]], nodata=9), tif(tmp_path / "r.tif", [[1, 2, 2, 7]])
    found, _ = result(cli, tmp_path, made, true, "--ignore", 7, "--ring", 0)
    assert found["pixels"] == 3 and found["map"]["oa_pooled"] == 2 / 3 and found["map"]["oa_without_missing"] == 1
    assert "boundary_iou_pooled" not in found["map"]
    assert [row["name"] for row in found["map"]["classes"]] == ["1", "2"]


def test_what_the_legend_ignores_is_no_reference(cli, tmp_path):
    made, true = tif(tmp_path / "p.tif", [[1, 2, 2]]), tif(tmp_path / "r.tif", [[1, 2, 0]])
    found, _ = result(cli, tmp_path, made, true, "--legend", "second")
    assert found["pixels"] == 2 and found["map"]["oa_pooled"] == 1


def test_the_legends_names_and_codes(cli, tmp_path):
    made, true = tif(tmp_path / "p.tif", [[10, 20]]), tif(tmp_path / "r.tif", [[10, 10]])
    found, _ = result(cli, tmp_path, made, true, "--legend", "worldcover")
    assert [row["name"] for row in found["map"]["classes"]] == ["tree cover", "shrubland"]
    assert "cropland" in found["map"]["absent"]


@pytest.mark.parametrize(
    "made, true, extra, said",
    [
        ({"a": [[0]]}, {"b": [[0]]}, (), "is in every other folder"),
        ({"a": [[0, 1]]}, {"a": [[0]]}, (), "is 2 × 1 px"),
        ({"a": [[3]]}, {"a": [[0]]}, ("--classes", 3), "3"),
        ({"a": [[0]]}, {"a": [[7]]}, ("--classes", 3), "7"),
        ({"a": [[[0, 1, 2]]]}, {"a": [[0]]}, (), "has 3 bands"),
        ({"a": [[0]]}, {"a": [[0]]}, ("--classes", 3, "--legend", "second"), "same thing twice"),
        ({"a": [[0]]}, {"a": [[0]]}, ("--before-pred", "x"), "needs both"),
        ({"a": [[0]]}, {"a": [[0]]}, ("--no-change", 0), "two dates"),
        ({"a": [[0]]}, {"a": [[7]]}, ("--legend", "second"), "code 7 (1 px) not in"),
        ({"a": [[0]]}, {"a": [[0]]}, ("--ring", 9999), "a ring of 9999 pixels"),
    ],
)
def test_bad_input_is_one_line(cli, tmp_path, made, true, extra, said):
    code, _, err = cli("score", folder(tmp_path / "p", **made), folder(tmp_path / "r", **true), *extra)
    faults = [line for line in err.splitlines() if not line.startswith("warning:")]
    assert code == 2 and len(faults) == 1 and said in faults[0], err


def test_files_that_are_missing_elsewhere_or_of_another_kind(cli, tmp_path):
    true = tif(tmp_path / "r.tif", [[1, 2]])
    for path, said in (
        (tif(tmp_path / "p.tif", [[1, 2]], west=50), "does not lie where"),
        (tmp_path / "none.tif", "no such file"),
        (folder(tmp_path / "f", r=[[1, 2]]), "others are folders"),
    ):
        code, _, err = cli("score", path, true)
        assert code == 2 and said in err and len(err.splitlines()) == 1, err


def test_nothing_to_score_is_said(cli, tmp_path):
    empty = tif(tmp_path / "r.tif", [[255, 255]])
    found, _ = result(cli, tmp_path, tif(tmp_path / "p.tif", [[1, 2]]), empty)
    assert found["map"]["oa_pooled"] is None and "nothing to score" in found["notes"][0]
