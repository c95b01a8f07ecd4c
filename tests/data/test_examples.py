"""The example projects on real files: every layout is prepared as its own files say."""

import os
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image

from mapmend.core.grid import ground_pixel_size
from mapmend.data.prepare import prepare
from mapmend.data.scenes import check_files, read_scenes
from mapmend.project import load_project

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.fixture
def prepared(tmp_path):
    """Prepares an example; its data's folder and its sites by name and date."""

    def of(name):
        given = os.environ.get("MAPMEND_DATA")
        data = Path(given) if given else ROOT.parent / "shared" / "data"
        if not data.is_dir():
            pytest.skip("real data absent: set MAPMEND_DATA")
        project = load_project(ROOT / "examples" / f"{name}.yaml", data)
        rows = read_scenes(project.scenes, project.data)
        judges = project.reference
        references = () if judges is None else read_scenes(judges, project.data, name="reference")
        check_files((*rows, *references), "scenes")
        sole = next(iter(project.sensors))
        made = prepare(
            [row if row.sensor else type(row)(**{**vars(row), "sensor": sole}) for row in rows],
            project.sensors,
            project.legend,
            tmp_path,
            references=references,
            reference_legend=project.score_legend,
            base=project.folder,
        )
        return data, {(site.name, site.date): site for site in made.sites}

    return of


def read(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run(path):
    lines = path.read_text().splitlines()
    assert len(lines) < 25
    assert lines[0].startswith("# ") and lines[1].startswith(f"# mapmend run examples/{path.name} --data DIR")
    load_project(path)


def test_joplin_two_dates_on_one_grid_in_metres(prepared):
    data, sites = prepared("joplin")
    assert set(sites) == {(place, date) for place in ("west", "east") for date in ("t1", "t2")}
    houses = geopandas.read_file(data / "joplin_georef/misc/joplin.geojson").to_crs("EPSG:26915")
    for place in ("west", "east"):
        before, after = sites[place, "t1"], sites[place, "t2"]
        assert before.grid == after.grid and before.grid.crs.to_epsg() == 26915
        assert 0.3 < after.images[0].statistics.valid_share < 0.6
        outline = shapely.box(*before.grid.boundingbox)
        ground = shapely.union_all(houses.geometry.values).intersection(outline).area / 0.6**2
        assert before.label_counts[1] == pytest.approx(ground, rel=0.02)
        assert sum(before.label_counts) == 1024**2 and after.label is None
        assert before.trust == "outdated"


def test_nc_landsat7_sparse_polygons_of_another_crs(prepared):
    data, sites = prepared("nc_landsat7")
    site = sites["wake", "2000"]
    label, reference = read(site.label)[0], read(site.reference)[0]
    drawn = read(data / "nc_landsat7/landsat96_labelled_pixels.tif")[0]  # made elsewhere, from polygons and points
    assert (label != 255).sum() == sum(site.label_counts) == 2264
    assert (drawn[label != 255] == label[label != 255]).all()
    assert 600 < (reference != 255).sum() < 1000  # of 1000 points, some lie beside the image, two in one pixel
    both = (label != 255) & (reference != 255)
    assert both.sum() == 10 and (label[both] == reference[both]).all()  # the points are all but independent
    assert 0.6 < site.images[0].statistics.valid_share < 0.63
    assert all(
        low >= 0 and high <= 255
        for low, high in [*zip(site.images[0].statistics.low, site.images[0].statistics.high, strict=True)]
    )


def test_chesapeake_tile_two_dates_of_oblong_pixels(prepared):
    _, sites = prepared("chesapeake_tile")
    assert set(sites) == {("quad", "2011"), ("quad", "2014")}
    site = sites["quad", "2014"]
    width, height = ground_pixel_size(site.grid)
    assert height / width == pytest.approx(29.4615 / 23.5923, rel=1e-3)
    assert sum(site.label_counts) == 260**2 and site.label_gsd == 30
    assert len(site.images[0].statistics.mean) == 4
    assert site.reference is not None and sites["quad", "2011"].reference is None


def test_levir_folders_of_masks_of_two_kinds(prepared):
    data, sites = prepared("levir")
    for (name, _), site in sites.items():
        assert [image.modality for image in site.images] == ["before", "after"]
        assert site.split == {"train": "train", "saras": "train", "val": "val", "test": "test"}[name.split("_")[0]]
        folder = "levir_full" if site.split == "test" else "levir_crops"
        truth = np.array(Image.open(data / folder / "label" / f"{name}.png")) > 0
        assert (read(site.reference if site.split == "test" else site.label)[0] == truth).all()
    assert len(sites) == 11


def test_taizhou_envi_with_partial_masks(prepared):
    data, sites = prepared("taizhou")
    [site] = sites.values()
    label = read(site.label)[0]
    for name, id_ in (("unchanged", 0), ("changed", 1)):
        stem = {"unchanged": "unchanged", "changed": "change"}[name]
        marked = np.array(Image.open(data / f"landsat_cd/Taizhou/{stem}.bmp")) > 0
        assert ((label == id_) == marked).all()
    assert site.label_counts == (17163, 4227)
    assert site.grid.crs.to_epsg() == 32651
    raw = np.fromfile(data / "landsat_cd/Taizhou/2003TM", np.uint8).reshape(6, 400, 400)
    assert (read(site.images[1].source.files[0]) == raw).all()


def test_chesapeake_codes_keep_nlcds_codes_and_the_references_four_classes(prepared):
    data, sites = prepared("chesapeake_codes")
    [((name, date), site)] = sites.items()
    files = data / "chesapeake16" / "tile_georef_downsampled"
    label, reference = read(site.label), read(site.reference)
    assert (name, date, site.label_gsd, site.trust) == ("m_3907833_nw_17_1", "", 30, "coarse")
    assert (label == read(files / f"{name}_nlcd.tif")).all()
    truth = read(files / f"{name}_lc.tif")
    assert all((reference[truth == code] == min(code, 4)).all() for code in range(1, 7))
