"""What `sample` draws, `assess` takes: each kind of design, filled with the truth of a made landscape."""

import csv
import json

import numpy as np
import pytest
import shapely
from affine import Affine
from pyogrio.raw import write as write_vector
from tests.assessing.conftest import EQUAL_AREA, write_raster

from mapmend.assessing.sample import assess_sample
from mapmend.change.codes import FromToLegend
from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import SampleError
from mapmend.sampling.job import SampleSettings, draw_sample, open_map
from mapmend.sampling.second import second_round

LEGEND = Legend(
    "three", tuple(LegendClass(k, name, "#000000") for k, name in enumerate(("forest", "water", "built"), 1))
)
DEGREES = Affine(0.01, 0, 20, 0, -0.01, 65)  # pixels at the bottom of 200 rows are a tenth larger than at the top


def landscape(shape=(200, 240), seed=0):
    """Truth and an imperfect map of it, in ids, with a corner without data."""
    random = np.random.default_rng(seed)
    truth = np.kron(random.choice([1, 2, 3], (shape[0] // 10, shape[1] // 10), p=[0.6, 0.3, 0.1]), np.ones((10, 10)))
    wrong = random.random(shape) < 0.1
    mapped = np.where(wrong, random.integers(1, 4, shape), truth)
    mapped[:20, :30] = 255
    return truth.astype(np.uint8), mapped.astype(np.uint8)


def fill(folder, truth, before=None):
    """Answer every point of a drawn sample by the truth at its pixel."""
    path = folder / "sample.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        at = int(row["row"]), int(row["col"])
        row["reference"] = LEGEND.names[truth[at] - 1]
        if before is not None:
            row["reference_before"] = LEGEND.names[before[at] - 1]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def true_share(truth, mapped, k, weights=None):
    known = mapped != 255
    return np.average(truth[known] == k + 1, weights=None if weights is None else weights[known])


@pytest.mark.parametrize("kind", ["stratified", "simple", "systematic"])
@pytest.mark.parametrize("crs, transform", [("EPSG:3035", EQUAL_AREA), ("EPSG:4326", DEGREES), (None, EQUAL_AREA)])
def test_each_kind_on_each_grid(tmp_path, kind, crs, transform):
    truth, mapped = landscape()
    path = write_raster(tmp_path / "map.tif", mapped, transform, crs)
    settings = SampleSettings(kind=kind, total=600, pixel_area_ha=None if crs else 0.09, seed=1)
    draw_sample(open_map(path, LEGEND), tmp_path / "sample", settings, progress=False)
    found = assess_sample([fill(tmp_path / "sample", truth)], None, path)
    forms = {"stratified": "map classes", "simple": "map classes, after the draw"}
    assert found.design["strata"] == forms.get(kind, "map classes, after the draw")
    weights = None
    if crs == "EPSG:4326":
        latitude = np.deg2rad(65 - 0.01 * (np.arange(200) + 0.5))
        weights = np.repeat(np.cos(latitude)[:, None], 240, axis=1)
    for k, figure in enumerate(found.accuracy.areas):
        assert abs(figure.estimate - true_share(truth, mapped, k, weights)) < 4 * figure.se
    json.dumps(found.to_dict(), allow_nan=False)


def test_inside_an_area_of_interest_alone(tmp_path):
    truth, mapped = landscape()
    path, aoi = write_raster(tmp_path / "map.tif", mapped), tmp_path / "aoi.gpkg"
    corners = [EQUAL_AREA @ corner for corner in ((60, 0), (200, 0), (200, 150), (60, 150))]
    shape = shapely.to_wkb([shapely.Polygon(corners)])
    write_vector(aoi, shape, [], [], geometry_type="Polygon", crs="EPSG:3035", driver="GPKG")
    draw_sample(open_map(path, LEGEND, aoi=aoi), tmp_path / "s", SampleSettings(total=300), progress=False)
    found = assess_sample([fill(tmp_path / "s", truth)], None, path)
    assert found.design["strata"] == "map classes"
    inside = mapped[:150, 60:200]
    counted = [float((inside == k).sum()) * 0.09 for k in (1, 2, 3)]
    assert found.mapped_ha == pytest.approx(counted, rel=1e-5)


def test_a_legend_with_codes_that_are_no_classes(tmp_path):
    truth, mapped = landscape()
    mapped[mapped == 255] = 0
    path = write_raster(tmp_path / "map.tif", mapped, nodata=None)
    legend = Legend("three", LEGEND.classes, ignored=(LegendClass(0, "no label"),))
    draw_sample(open_map(path, legend), tmp_path / "s", SampleSettings(total=100), progress=False)
    found = assess_sample([fill(tmp_path / "s", truth)], None, path)
    assert sum(found.mapped_ha) == pytest.approx(float((mapped > 0).sum()) * 0.09, rel=1e-5)


def test_a_design_that_was_changed_after_the_draw(tmp_path):
    truth, mapped = landscape()
    path, design = write_raster(tmp_path / "map.tif", mapped), tmp_path / "s" / "design.json"
    draw_sample(open_map(path, LEGEND), tmp_path / "s", SampleSettings(total=100), progress=False)
    plain = json.loads(design.read_text())
    plain["class_pixels"] = [plain["class_pixels"][0] + 5, plain["class_pixels"][1] - 5, plain["class_pixels"][2]]
    design.write_text(json.dumps(plain))
    with pytest.raises(SampleError, match="class_pixels are not those of this map"):
        assess_sample([fill(tmp_path / "s", truth)], None, path)


def test_two_rounds_are_one_sample(tmp_path):
    truth, mapped = landscape()
    source = open_map(write_raster(tmp_path / "map.tif", mapped), LEGEND)
    draw_sample(source, tmp_path / "one", SampleSettings(total=150, seed=4), progress=False)
    first = fill(tmp_path / "one", truth)
    second_round(source, tmp_path / "one" / "design.json", [first], tmp_path / "two", 150, progress=False)
    second = fill(tmp_path / "two", truth)
    found = assess_sample([first, second], None, source.path)
    assert sum(found.design["samples"]) == 300 and found.design["strata"] == "map classes"
    alone = assess_sample([first], None, source.path)
    assert found.accuracy.overall.se < alone.accuracy.overall.se
    with pytest.raises(SampleError, match="points added, after the fact"):
        assess_sample([first, second], tmp_path / "one" / "design.json", source.path)


def test_a_change_folder(tmp_path):
    before, mapped_before = landscape(seed=0)
    after, mapped_after = landscape(seed=0)
    after[100:130] = 3
    mapped_after[105:130] = 3
    nowhere = (mapped_before == 255) | (mapped_after == 255)
    mapped_before[nowhere] = mapped_after[nowhere] = 255
    folder = tmp_path / "change"
    lut = LEGEND.lut
    codes = FromToLegend(LEGEND).encode(lut[mapped_before], lut[mapped_after])
    for name, pixels in (("before", mapped_before), ("after", mapped_after), ("from_to", codes)):
        write_raster(folder / f"{name}.tif", pixels)
    record = {"config": {"legend": LEGEND.to_dict()}, "files": {"from_to.tif": "", "after.tif": ""}}
    (folder / "mapmend.json").write_text(json.dumps(record))
    draw_sample(open_map(folder), tmp_path / "s", SampleSettings(total=400, seed=3), progress=False)
    path = fill(tmp_path / "s", after, before)
    found = assess_sample([path], None, folder)
    changed = (before != after)[~nowhere].mean()
    assert abs(found.transitions.changed.estimate - changed) < 4 * found.transitions.changed.se
    assert found.transitions.change_map.users[1].estimate > 0.8
    assert assess_sample([path], None, folder / "from_to.tif").to_dict() | {"design": 0} == found.to_dict() | {
        "design": 0
    }
