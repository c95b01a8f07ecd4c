"""Labels that cannot teach: refused in one line before anything is written; `doctor` says so too."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from tests.data.scenery import UTM, grid, halves, write
from tests.projects import LOOP, TINY, call, small_project
from tests.test_bad_input import refused

from mapmend.core.grid import make_grid
from mapmend.doctor.examine import doctor


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def training(**settings):
    return [{"train": {**TINY, **LOOP, **settings}}, {"predict": {"window": 64, "overlap": 16}}]


def scene(**columns):
    return [{"site": "here", "image": "image.tif", "label": "label.tif", **columns}]


def written(folder):
    """Files of a project's output folder, but for the run's own record and lock."""
    return [path for path in folder.rglob("*") if path.is_file()]


def refused_early(cli, project, folder, *words):
    for verb in ("run", "prepare"):
        refused(cli(verb, project, "--out", folder / "out"), *words)
        assert written(folder / "out") == []


C2FNET = {"method": "c2fnet", "encoder": "rp64", "decoder": "concat"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (C2FNET, ["c2fnet", "label_gsd", "cell", "label.tif", "'here'"]),
        ({"proportions": 1.0}, ["proportions", "label_gsd", "label_pixel", "label.tif", "'here'"]),
    ],
)
def test_a_coarse_label_of_unknown_pixel_size(tmp_path, cli, settings, words):
    """It was resampled onto the image's grid: its file shows the image's pixels, not its own."""
    project = small_project(tmp_path, scenes=scene(trust="coarse"), steps=training(**settings))
    refused_early(cli, project, tmp_path, *words)
    [finding] = [one for one in doctor(project).findings if one.check == "label size"]
    assert finding.level == "error" and "label_gsd" in finding.fix and finding.where.endswith("label.tif")


def test_polygons_have_no_pixel_size(tmp_path, cli):
    boxes = [shapely.box(500_000 + x, 5_299_850, 500_100 + x, 5_299_990) for x in (0, 120)]
    gpd.GeoDataFrame({"class": [1, 2]}, geometry=boxes, crs=UTM).to_file(tmp_path / "label.gpkg")
    project = small_project(tmp_path, scenes=scene(label="label.gpkg"), steps=training(**C2FNET))
    refused_early(cli, project, tmp_path, "c2fnet", "label.gpkg", "label_gsd")


@pytest.mark.parametrize("columns", [{"trust": "coarse", "label_gsd": 8}, {"trust": "noisy"}])
def test_a_size_that_is_given_or_shown_is_enough(tmp_path, cli, columns):
    project = small_project(tmp_path, scenes=scene(**columns), steps=training(**C2FNET))
    code, _, err = cli("prepare", project, "--out", tmp_path / "out")
    assert code == 0, err
    assert "label size" not in {one.check for one in doctor(project).findings}


def test_proportions_of_labels_as_fine_as_the_image(tmp_path, cli):
    project = small_project(tmp_path, steps=training(proportions=1.0))
    refused_early(cli, project, tmp_path, "proportions", "fine")


@pytest.mark.parametrize(
    ("settings", "text", "words"),
    [
        ("transition", ",left,right\nleft,0.9,0.3\nright,0.1,0.9\n", ["matrix.csv", "'left'", "1.2", "one"]),
        ("transition", ",left,up\nleft,0.9,0.1\nup,0.1,0.9\n", ["matrix.csv", "lacks right", "has up"]),
        ("error_matrix", ",left,right,top\nleft,9,1,0\nright,1,9,0\ntop,0,0,5\n", ["matrix.csv", "has top"]),
        ("error_matrix", ",left,right\nleft,9,x\nright,1,9\n", ["matrix.csv", "'x'"]),
        ("error_matrix", None, ["matrix.csv"]),
    ],
)
def test_a_matrix_of_errors_that_does_not_fit(tmp_path, cli, settings, text, words):
    if text is not None:
        (tmp_path / "matrix.csv").write_text(text)
    project = small_project(tmp_path, steps=training(robust="forward", **{settings: "matrix.csv"}))
    refused_early(cli, project, tmp_path, *words)
    assert not (tmp_path / "out").exists()
    [finding] = doctor(project).of("error")
    assert "matrix.csv" in finding.where


@pytest.mark.parametrize("rows", [[[0.9, 0.2], [0.1, 0.9]], [[1.0]], [[0.8, 0.1, 0.1], [0, 1, 0], [0, 0, 1]]])
def test_a_matrix_in_the_project_file_that_does_not_fit(tmp_path, cli, rows):
    project = small_project(tmp_path, steps=training(robust="forward", transition=rows))
    refused_early(cli, project, tmp_path, "project.yaml", "transition", "2 rows of 2", "left, right")


def test_a_matrix_that_fits_is_taken(tmp_path, cli):
    (tmp_path / "matrix.csv").write_text(",right,left\nright,0.9,0.1\nleft,0.2,0.8\n")
    project = small_project(tmp_path, steps=training(robust="forward", transition="matrix.csv"))
    assert cli("prepare", project, "--out", tmp_path / "out")[0] == 0


def test_labels_of_one_class(tmp_path, cli):
    project = small_project(tmp_path)
    write(tmp_path / "label.tif", np.ones((192, 256), np.uint8), grid(192, 256))
    refused_early(cli, project, tmp_path, "one class only", "'left'")
    assert "one class" in {one.check for one in doctor(project).of("error")}


def test_one_class_a_place_is_enough_where_places_differ(tmp_path, cli):
    project = small_project(
        tmp_path,
        scenes=[{**scene()[0], "site": f"s{ids}", "label": f"{ids}.tif", "image": f"i{ids}.tif"} for ids in (1, 2)],
        reference=None,
    )
    for ids in (1, 2):
        on = grid(192, 256, east=1000 * ids)
        write(tmp_path / f"{ids}.tif", np.full((192, 256), ids, np.uint8), on)
        write(tmp_path / f"i{ids}.tif", np.full((3, 192, 256), 60 * ids, np.uint8), on)
    code, _, err = cli("prepare", project, "--out", tmp_path / "out")
    assert code == 0, err


@pytest.mark.parametrize("which", ["label.tif", "truth.tif"])
def test_a_label_beside_its_scene(tmp_path, cli, which):
    project = small_project(tmp_path)
    far = make_grid((192, 256), Affine(1, 0, 900_000, 0, -1, 1_000_000), UTM)
    write(tmp_path / which, halves(192, 256), far)
    refused_early(cli, project, tmp_path, which, "image.tif", "'here'", "overlap", "lon 12.", "lon 9.", "against")
    assert "overlap" in {one.check for one in doctor(project).of("error")}


@pytest.mark.parametrize("which", ["label.tif", "truth.tif"])
def test_a_label_without_any_class_where_its_scene_is(tmp_path, cli, which):
    """Its extent reaches the scene, its classes do not."""
    project = small_project(tmp_path)
    ids = np.full((192, 600), 255, np.uint8)
    ids[:, 400:] = halves(192, 200)
    write(tmp_path / which, ids, grid(192, 600), nodata=255)
    refused_early(cli, project, tmp_path, which, "image.tif", "'here'", "no class", "lon 9.0000 to 9.0080")
