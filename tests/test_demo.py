"""The demo at a small size, by the command line."""

import json

import pytest
import rasterio
from tests.projects import call


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def test_the_demo_maps_scores_and_says_where_the_report_is(tmp_path, cli):
    out, result = tmp_path / "demo", tmp_path / "result.json"
    code, printed, err = cli("demo", "--out", out, "--size", 256, "--steps", 2, "--json", result)
    assert code == 0, err
    assert str(out / "report.html") in printed.replace("\n", "")
    assert all(word in printed for word in ("label", "map", "difference", "mean IoU"))
    scores = json.loads(result.read_text())["accuracy"]
    assert scores["label"]["pixels"] == scores["map"]["pixels"] > 0.85 * 256**2
    assert 0.4 < scores["label"]["oa"] < 0.9  # the label is imperfect, and no nonsense
    assert scores["map"]["missing"] == 0
    with rasterio.open(out / "map/landscape-0/class.tif") as classes, rasterio.open(out / "panel.png") as panel:
        assert classes.crs.to_epsg() == 32632
        assert panel.width > panel.height
    again = cli("demo", "--out", out, "--size", 320, "--steps", 2)
    assert again[0] == 2 and "holds a demo of other size" in again[2]
