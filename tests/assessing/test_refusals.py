"""Samples from which nothing valid follows: one line each, with the reason."""

import json

import numpy as np
import pyogrio
import pytest
import shapely
from tests.assessing.conftest import EQUAL_AREA, matrix_sample, write_raster

from mapmend.assessing.sample import assess_sample
from mapmend.core.errors import SampleError


def refused(handed, *words, **options):
    path = handed.write()
    with pytest.raises(SampleError) as fault:
        assess_sample([path], handed.folder / "design.json", handed.map, **options)
    text = str(fault.value)
    assert len(text.splitlines()) == 1
    for word in words:
        assert word in text, text


def test_no_design(small):
    path = small.write()
    (small.folder / "design.json").unlink()
    with pytest.raises(SampleError, match="no design file.*sample.csv|sample.csv.*no design file"):
        assess_sample([path], None, small.map)


@pytest.mark.parametrize("kind", ["convenience", "Purposive", "volunteer sample"])
def test_points_that_people_chose(small, kind):
    small.design["kind"] = kind
    refused(small, kind.split()[0].lower(), "no population", "mapmend sample")


def test_no_inclusion_probabilities(small):
    small.rows = [{k: v for k, v in row.items() if k != "inclusion_probability"} for row in small.rows]
    refused(small, "no inclusion probabilities", "sample.csv")


def test_an_inclusion_probability_of_another_draw(small):
    for row in small.rows[:3]:
        row["inclusion_probability"] *= 2
    refused(small, "inclusion_probability is 0.08", "20 of 500", "'forest'", "3 points", "row 2")


@pytest.mark.parametrize("split", ["train", "Training"])
def test_a_split_that_says_training(small, split):
    for row in small.rows:
        row["split"] = "test"
    small.rows[7]["split"] = split
    refused(small, "row 9", "training data")


def test_points_in_training_polygons(small):
    places = [(row["x"], row["y"]) for row in small.rows[10:12]]
    shapes = [shapely.Point(place).buffer(10) for place in places] + [shapely.box(0, 0, 10, 10)]
    path = small.folder / "training.gpkg"
    meta = {"geometry_type": "Polygon", "crs": "EPSG:3035", "driver": "GPKG"}
    pyogrio.raw.write(path, shapely.to_wkb(shapes), [np.array(["a", "b", "c"])], ["class"], **meta)
    refused(small, "training.gpkg", "2 of 45", "11, 12", training=path)


def test_points_on_training_pixels_of_another_grid(small):
    """Pixels of 60 m, half a pixel off, of which one is labelled."""
    labels = np.zeros((16, 16), np.uint8)
    row, col = small.rows[30]["row"], small.rows[30]["col"]
    labels[(row + 1) // 2, (col + 1) // 2] = 2
    transform = EQUAL_AREA @ EQUAL_AREA.translation(-1, -1) @ EQUAL_AREA.scale(2)
    path = write_raster(small.folder / "labels.tif", labels, transform, nodata=0)
    near = [p for p in small.rows if ((p["row"] + 1) // 2, (p["col"] + 1) // 2) == ((row + 1) // 2, (col + 1) // 2)]
    refused(small, "labels.tif", f"{len(near)} of 45", str(near[0]["id"]), training=path)
    clean = write_raster(small.folder / "clean.tif", np.zeros_like(labels), transform, nodata=0)
    assert assess_sample([small.write()], None, small.map, training=clean).counts[0][0] == 17


def test_several_points_of_a_patch(small):
    for number, row in enumerate(small.rows):
        row["patch"] = f"p{number // 3}"
    refused(small, "one patch", "not independent", "'cluster'")


def test_pixels_of_patches_without_a_column_that_says_so(tmp_path):
    handed = matrix_sample(tmp_path, ["a", "b"], [50_000, 40_000], [[9, 1], [2, 28]], width=300)
    handed.rows = []
    for block in range(5):
        for row, col in np.ndindex(3, 3):
            handed.point("a" if block < 3 else "b", "a", 20 + 50 * block + row, 5 + 31 * block + col)
    refused(handed.settle(), "pairs of points touch", "not independent")


def test_a_dense_sample_may_touch(tmp_path):
    """A third of all pixels: hundreds of pairs touch by chance."""
    counts = [[150, 10], [10, 130]]
    handed = matrix_sample(tmp_path, ["a", "b"], [450, 450], counts, width=30)
    assert assess_sample([handed.write()], None, handed.map).counts == ((150, 10), (10, 130))


def test_strata_merged_after_the_fact(small):
    for row in small.rows:
        row["stratum"] = "land" if row["stratum"] != "water" else "water"
    refused(small, "stratum 'land' is not one of the design's", "row 2")


def test_points_moved_to_another_stratum(small):
    for row in small.rows[:2]:
        row |= {"stratum": "water", "inclusion_probability": 15 / 300}
    refused(small, "'water' has 17 units", "15 were drawn")


def test_a_point_in_a_stratum_that_the_map_contradicts(small):
    one, other = small.rows[0], small.rows[25]
    for key in ("x", "y", "row", "col"):
        one[key], other[key] = other[key], one[key]
    refused(small, "point 1 is in stratum 'forest'", "the map says 'water'", "2 points")


def test_points_off_the_map(small):
    for row in small.rows[3:5]:
        row["x"] += 1e6
    refused(small, "2 of 45 points lie off the map", "4, 5")


def test_points_without_a_class(small):
    small.pixels[small.rows[5]["row"], small.rows[5]["col"]] = 255
    refused(small, "1 of 45 points lie where the map has no class", "points 6")


def test_a_point_that_is_there_twice(small):
    small.rows.append(dict(small.rows[0]))
    small.design["strata"][0]["samples"] += 1
    refused(small, "point 1", "second time")


def test_two_points_at_one_pixel(small):
    small.rows[1] |= {key: small.rows[0][key] for key in ("x", "y", "row", "col")}
    refused(small, "points 1, 2 are the same pixel")


def test_answers_outside_of_the_legend(small):
    for row, answer in zip(small.rows, ["Forrest", "Forrest", "9"], strict=False):
        row["reference"] = answer
    refused(small, "'Forrest' (2 points), '9' (1 point)", "did you mean 'forest'?", "row 2")


def test_no_answer_at_all(small):
    for row in small.rows:
        row["reference"] = ""
    refused(small, "no point has an answer")


def test_a_map_with_other_classes(small):
    small.pixels[0, 0] = 7
    refused(small, "map.tif", "7", "classes that the design lacks")


def test_a_map_folder_whose_record_names_its_classes_otherwise(small):
    small.write()
    folder = small.folder / "made"
    write_raster(folder / "class.tif", small.pixels)
    names = ["forest", "built", "water"]
    classes = [{"id": k + 1, "name": name, "color": "#000000"} for k, name in enumerate(names)]
    (folder / "mapmend.json").write_text(json.dumps({"config": {"legend": {"classes": classes}}}))
    with pytest.raises(SampleError, match="calls class 2 'built', and the sample's design 'water'"):
        assess_sample([small.folder / "sample.csv"], None, folder)


def test_a_patch_sample_without_patches(small):
    small.design["kind"] = "cluster"
    refused(small, "without the patch of each point")


@pytest.mark.parametrize("class_, words", [("lake", ("'lake' is no class",)), ("water", ("map's grid",))])
def test_probabilities_that_do_not_fit(small, class_, words):
    path = write_raster(small.folder / "p.tif", np.zeros((5, 5), np.uint8))
    refused(small, *words, probability=(class_, path))


def test_probabilities_that_do_not_reach_everywhere(small):
    steps = np.full(small.pixels.shape, 100, np.uint8)
    steps[:3] = 255
    path = write_raster(small.folder / "p.tif", steps)
    refused(small, "no probability for 10 %", probability=("water", path))


def test_a_level_that_is_none(small):
    refused(small, "level", "0.95 for 95 %", level=95)
