"""A project of two dates from images to change polygons, by the command line."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
from tests.projects import call, two_date_project


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    project = two_date_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["mapmend", "run", str(project), "--out", str(folder / "out")])
        from mapmend import cli

        try:
            cli.main()
        except SystemExit as stop:
            assert not stop.code
    return folder


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_a_run_of_two_dates_finds_the_strip_that_changed(finished):
    out = finished / "out"
    scores = json.loads((out / "accuracy.json").read_text())
    assert scores["change"]["iou_changed"] > 0.5
    assert scores["accuracy"]["map"]["oa"] > 0.9 and scores["accuracy_before"]["map"]["oa"] > 0.9
    codes = read(out / "change/here/from_to.tif")
    assert (codes[:, 140:160] == 2).mean() > 0.8  # right (index 1) became left (index 0): 1 · 2 + 0
    fields = pyogrio.read_info(out / "change/here/changes.gpkg", layer="changes")
    assert fields["features"] >= 1


def test_the_updated_map_is_the_old_one_plus_change_pixel_for_pixel(finished):
    folder = finished / "out/change/here"
    codes, updated, after = (read(folder / f"{name}.tif") for name in ("from_to", "updated", "after"))
    old = read(finished / "truth_2010-06-01.tif")
    i, j = np.divmod(codes, 2)
    np.testing.assert_array_equal(updated, np.where((codes != 255) & (i != j), j + 1, old))
    np.testing.assert_array_equal(after, np.where(codes == 255, 255, j + 1))


def test_the_report_and_stac_files_name_both_dates(finished):
    out = finished / "out"
    page = (out / "report.html").read_text()
    assert "2010-06-01" in page and "2020-06-01" in page and 'src="http' not in page
    for kind in ("map", "change"):
        item = json.loads((out / kind / "here/item.json").read_text())
        assert item["properties"]["start_datetime"] == "2010-06-01T00:00:00Z"
        assert json.loads((out / kind / "collection.json").read_text())["links"][1]["href"] == "./here/item.json"


def test_a_second_change_does_nothing_again(finished, cli):
    out = finished / "out"
    before = (out / "change/here/from_to.tif").stat().st_mtime_ns
    code, _, err = cli("change", finished / "project.yaml", "--out", out)
    assert code == 0, err
    assert (out / "change/here/from_to.tif").stat().st_mtime_ns == before


def test_two_rasters_are_compared_without_a_project(finished, cli, tmp_path):
    files = [finished / f"truth_{date}.tif" for date in ("2010-06-01", "2020-06-01")]
    legend = finished / "legend.yaml"
    legend.write_text(
        json.dumps(
            {
                "name": "two",
                "classes": [
                    {"id": 1, "name": "left", "color": "#aa5500"},
                    {"id": 2, "name": "right", "color": "#0055aa"},
                ],
            }
        )
    )
    code, printed, err = cli("change", *files, "--legend", legend, "--out", tmp_path / "two", "--json", "-")
    assert code == 0, err
    result = json.loads(printed)
    assert result["from_to"]["pixels"] == [[192 * 128, 0], [192 * 40, 192 * 88]] and result["patches"] == 1


@pytest.mark.parametrize(
    ("dates", "message"), [(("2020", "2010"), "2010"), (("2020", "2020"), "2020")], ids=["wrong order", "equal"]
)
def test_dates_in_the_wrong_order_are_one_line(finished, cli, tmp_path, dates, message):
    files = [finished / f"truth_{date}.tif" for date in ("2010-06-01", "2020-06-01")]
    named = ["--date-before", dates[0], "--date-after", dates[1], "--legend", "water", "--out", tmp_path / "two"]
    code, _, err = cli("change", *files, *named)
    assert code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "two").exists()


def test_a_project_of_one_date_has_no_change(cli, tmp_path):
    from tests.projects import LOOP, TINY, small_project

    steps = [{"train": {**TINY, **LOOP}}, {"predict": {"window": 64, "overlap": 16}}, {"change": {}}]
    code, _, err = cli("run", small_project(tmp_path, steps=steps), "--out", tmp_path / "out")
    assert code == 2 and "no site has two dates" in err


def test_the_folder_of_a_map_of_two_dates_is_enough(finished, cli, tmp_path):
    folder = finished / "out/map/here"
    code, _, err = cli("change", folder, "--out", tmp_path / "again", "--mmu-pixels", 20)
    assert code == 0, err
    for name in ("from_to", "before", "after"):
        np.testing.assert_array_equal(
            read(tmp_path / f"again/{name}.tif"), read(finished / f"out/change/here/{name}.tif")
        )
    assert json.loads((tmp_path / "again/item.json").read_text())["id"] == "here_2010-06-01_2020-06-01"
    code, _, err = cli("change", finished / "out/model", "--out", tmp_path / "none")
    assert code == 2 and "holds no finished map of two dates" in err and not (tmp_path / "none").exists()
