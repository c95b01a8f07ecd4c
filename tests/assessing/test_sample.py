"""`assess` of filled samples: the published examples end to end, each design, and what is left when answers lack."""

import json

import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer
from tests.accuracy.test_estimators import DEFORESTATION, MAP_C, PIXELS, SIZES_C, TRUTH_C
from tests.assessing.conftest import EQUAL_AREA, Handed, matrix_sample, write_raster

from mapmend.accuracy.estimators import olofsson
from mapmend.accuracy.intervals import of_matrix
from mapmend.accuracy.matrix_file import CountMatrix
from mapmend.assessing.matrix import assess
from mapmend.assessing.sample import assess_sample

Z = 1.959963984540054
NAMES = ["deforestation", "forest gain", "stable forest", "stable non-forest"]
NOTHING = {"estimate": None, "se": None, "interval": None, "wald": None}


def assessed(handed, *paths, **options):
    """The JSON of an assessment, which must hold no NaN."""
    files = paths or (handed.write(),)
    found = assess_sample(files, handed.folder / "design.json", handed.map, **options)
    return json.loads(json.dumps(found.to_dict(), allow_nan=False))


def values(found, key, part="estimate"):
    return [one[key][part] for one in found["classes"]]


def alike(one, other, tolerance=1e-9):
    """Two nests of plain values, numbers within a tolerance."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            alike(one[key], other[key], tolerance)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for each in zip(one, other, strict=True):
            alike(*each, tolerance)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)
    else:
        assert one == other


def test_example_a_gives_what_the_matrix_gives(tmp_path):
    handed = matrix_sample(tmp_path, NAMES, PIXELS, DEFORESTATION, width=4000)
    found = assessed(handed)
    assert found["design"]["strata"] == "map classes" and "Olofsson" in found["design"]["estimator"]
    printed = [21157.76223776, 11686.15384615, 285769.93006993, 581386.15384615]
    np.testing.assert_allclose(values(found, "area_ha"), printed, atol=6e-9)
    lower, upper = zip(*values(found, "area_ha", "interval"), strict=True)
    np.testing.assert_allclose(lower, [17564.9015655, 9530.64653407, 269937.44172176, 564467.62294875], atol=6e-9)
    np.testing.assert_allclose(upper, [31258.01018998, 19627.84040439, 301784.87309854, 597797.6421022], atol=6e-9)
    matrix = CountMatrix(tuple(NAMES), tuple(map(tuple, DEFORESTATION)))
    expected = json.loads(json.dumps(assess(matrix, tuple(PIXELS), 0.09, 0.95).to_dict()))
    for key in ("overall_accuracy", "classes", "confusion", "trees", "level"):
        alike(found[key], expected[key])


def test_example_b_with_pixels_without_data(tmp_path):
    names, sizes = ["change", "forest", "other"], [22353, 1122543, 610228]
    handed = matrix_sample(tmp_path, names, sizes, [[97, 0, 3], [3, 279, 18], [2, 1, 97]], width=1325)
    assert (handed.pixels == 255).sum() == 501
    found = assessed(handed)
    pixels = [area / 0.09 for area in values(found, "area_ha")]
    np.testing.assert_allclose(pixels, [45112.4, 1050067.27, 659944.33], atol=5e-3)
    errors = [se / 0.09 for se in values(found, "area_ha", "se")]
    np.testing.assert_allclose(errors, [10751.4045, 17652.04375, 18635.85587], atol=5e-5)
    assert found["overall_accuracy"]["estimate"] == pytest.approx(0.9444167819, abs=5e-11)


def sample_c(folder):
    """Stehman's example: strata that are another map's classes."""
    letters = "ABCD"
    strata = np.repeat(range(4), SIZES_C).reshape(250, 400)
    places = [np.random.default_rng(3).choice(np.flatnonzero(strata == h), 10, replace=False) for h in range(4)]
    pixels = (strata + 1).astype(np.uint8)
    pixels.ravel()[np.concatenate(places)] = [letters.index(letter) + 1 for letter in MAP_C]
    design = {
        "kind": "stratified",
        "strata": [{"name": n, "pixels": s, "samples": 10} for n, s in zip(letters, SIZES_C, strict=True)],
        "classes": list(letters),
        "class_ids": [1, 2, 3, 4],
        "pixel_area_ha": 0.09,
    }
    handed = Handed(folder, pixels, design)
    for h, letter in enumerate(letters):
        for at, true in zip(places[h], TRUTH_C[10 * h : 10 * h + 10], strict=True):
            handed.point(letter, true, *divmod(int(at), 400))
    return handed.settle()


def test_example_c_where_the_strata_are_not_the_map(tmp_path):
    found = assessed(sample_c(tmp_path))
    assert found["design"]["strata"] == "of the design" and "Stehman" in found["design"]["estimator"]
    total = sum(SIZES_C) * 0.09
    assert found["overall_accuracy"]["estimate"] == pytest.approx(0.63)
    np.testing.assert_allclose(values(found, "area_ha"), np.array([0.35, 0.34, 0.20, 0.11]) * total)
    b = found["classes"][1]
    assert b["users_accuracy"]["estimate"] == pytest.approx(0.57446809, abs=5e-9)
    assert b["producers_accuracy"]["estimate"] == pytest.approx(0.79411765, abs=5e-9)
    errors = (found["overall_accuracy"], b["users_accuracy"], b["producers_accuracy"])
    np.testing.assert_allclose([one["se"] for one in errors], [0.08464219, 0.12478225, 0.11654791], atol=5e-9)
    assert found["classes"][0]["area_ha"]["se"] == pytest.approx(0.0822478 * total, abs=5e-8 * total)
    for one in found["classes"]:
        lower, upper = one["area_ha"]["interval"]
        assert 0 <= lower < one["area_ha"]["estimate"] < upper <= total


def test_another_map_on_another_grid_is_judged_by_the_sample_of_the_first(small):
    """Twice as fine, and wrong in one column of the first class: strata stay, mapped classes are the new map's."""
    path = small.write()
    fine = np.kron(small.pixels, np.ones((2, 2), np.uint8))
    fine[:, 20] = 2
    other = write_raster(small.folder / "other.tif", fine, EQUAL_AREA @ EQUAL_AREA.scale(0.5))
    found = json.loads(json.dumps(assess_sample([path], None, other).to_dict(), allow_nan=False))
    right = total = 0.0
    for row in small.rows:
        weight = 1 / row["inclusion_probability"]
        mapped = ["forest", "water", "built"][fine[2 * row["row"] + 1, 2 * row["col"] + 1] - 1]
        total, right = total + weight, right + weight * (mapped == row["reference"])
    assert found["design"]["strata"] == "of the design"
    assert found["overall_accuracy"]["estimate"] == pytest.approx(right / total)
    first = assessed(small, path)
    np.testing.assert_allclose(values(found, "area_ha"), values(first, "area_ha"))
    assert found["classes"][0]["pixel_count_area_ha"] < first["classes"][0]["pixel_count_area_ha"]


def test_a_map_in_another_crs_is_met_by_longitude_and_latitude(small):
    """UTM pixels of 3 m, filled with the classes of the sampled map at their places."""
    to_degrees = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    for row in small.rows:
        row["longitude"], row["latitude"] = to_degrees.transform(row["x"], row["y"])
    path, size = small.write(), 320
    x, y = Transformer.from_crs("EPSG:3035", "EPSG:32632", always_xy=True).transform(4_300_450, 3_199_550)
    transform = Affine(3, 0, x - 480, 0, -3, y + 480)
    across, down = transform @ np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    back = Transformer.from_crs("EPSG:32632", "EPSG:3035", always_xy=True).transform(across, down)
    cols, rows = (np.floor(each).astype(int) for each in ~EQUAL_AREA @ back)
    inside = (rows >= 0) & (rows < 30) & (cols >= 0) & (cols < 30)
    pixels = np.where(inside, small.pixels[np.clip(rows, 0, 29), np.clip(cols, 0, 29)], 255).astype(np.uint8)
    other = write_raster(small.folder / "utm.tif", pixels, transform, "EPSG:32632")
    found = assess_sample([path], None, other)
    assert found.counts == ((17, 2, 1), (1, 13, 1), (0, 1, 9))
    assert sum(found.mapped_ha) == pytest.approx(81)
    assert found.mapped_ha == pytest.approx([45, 27, 9], rel=0.02)


def test_strata_within_classes_leave_cells_elsewhere_without_width(tmp_path):
    """A class in two strata: that the map has it nowhere else keeps other strata out of its user's accuracy."""
    pixels = np.repeat([1, 1, 2], [300, 200, 400]).reshape(30, 30).astype(np.uint8)
    strata = [("sure", 300), ("risky", 200), ("other", 400)]
    design = {
        "kind": "stratified",
        "strata": [{"name": name, "pixels": size, "samples": 0} for name, size in strata],
        "classes": ["forest", "water"],
        "class_ids": [1, 2],
        "pixel_area_ha": 0.09,
    }
    handed, random = Handed(tmp_path, pixels, design), np.random.default_rng(1)
    handed.draw("sure", np.arange(300), ["forest"] * 20, random)
    handed.draw("risky", np.arange(300, 500), ["forest"] * 7 + ["water"] * 3, random)
    handed.draw("other", np.arange(500, 900), ["water"] * 10, random)
    found = assessed(handed.settle())
    users = found["classes"][1]["users_accuracy"]
    lone = of_matrix([[0, 0], [0, 10]], [0, 400]).users[1]
    assert users["interval"] == pytest.approx([lone.lower, lone.upper])
    assert found["classes"][0]["area_ha"]["estimate"] == pytest.approx((300 + 200 * 0.7) * 0.09)


def simple(handed, kind="simple"):
    """The same points as of one draw from all pixels."""
    number, pixels = len(handed.rows), int((handed.pixels != 255).sum())
    handed.design |= {"kind": kind, "strata": [{"name": "all", "pixels": pixels, "samples": number}]}
    for row in handed.rows:
        row |= {"stratum": "all", "inclusion_probability": number / pixels}
    return handed


def test_a_simple_random_sample_is_weighted_by_the_map(small):
    counts, sizes = np.array([[17, 2, 1], [1, 13, 1], [0, 1, 9]]), np.array([500, 300, 100])
    found = assessed(simple(small))
    assert found["design"]["strata"] == "map classes, after the draw"
    expected, limits = olofsson(counts, sizes), of_matrix(counts, sizes)
    for k, one in enumerate(found["classes"]):
        assert one["area_ha"]["estimate"] == pytest.approx(expected.areas[k].value * 81)
        interval = limits.areas[k]
        assert one["area_ha"]["interval"] == pytest.approx([interval.lower * 81, interval.upper * 81])
        n, weights = 45, sizes / 900
        shares = counts[:, k] / counts.sum(axis=1)
        spread = shares * (1 - shares) * counts.sum(axis=1) / (counts.sum(axis=1) - 1)
        variance = (1 - n / 900) * (weights @ spread / n + (1 - weights) @ spread / n**2)
        assert one["area_ha"]["se"] == pytest.approx(81 * variance**0.5)


def test_without_two_points_in_a_class_a_simple_sample_is_taken_plainly(small):
    small.rows = [row for row in small.rows if row["stratum"] != "built"][:20]
    small.rows = [row | {"id": number} for number, row in enumerate(small.rows, 1)]
    found = assessed(simple(small, "systematic"))
    assert found["design"]["strata"] == "none"
    share = np.mean([row["reference"] == "water" for row in small.rows])
    area = next(one for one in found["classes"] if one["name"] == "water")["area_ha"]
    assert area["estimate"] == pytest.approx(81 * share)
    assert area["se"] == pytest.approx(81 * ((1 - 20 / 900) * share * (1 - share) / 19) ** 0.5)
    assert any("safe side" in note for note in found["notes"])


def test_patches_are_units(tmp_path):
    pixels = np.where(np.arange(40) < 20, 1, 2).astype(np.uint8)[None].repeat(40, axis=0)
    design = {
        "kind": "cluster",
        "strata": [{"name": "all", "pixels": 100, "samples": 6}],
        "classes": ["forest", "water"],
        "class_ids": [1, 2],
        "pixel_area_ha": 0.09 * 16,
    }
    handed, random = Handed(tmp_path, pixels, design), np.random.default_rng(2)
    shares = [0.9, 0.2, 0.5, 0.7, 0.1, 0.4]
    for patch, (place, share) in enumerate(zip(random.choice(100, 6, replace=False), shares, strict=True)):
        for row, col in np.ndindex(4, 4):
            at = int(place) // 10 * 4 + row, int(place) % 10 * 4 + col
            handed.point("all", "forest" if random.random() < share else "water", *at, patch=f"p{patch}")
    for row in handed.rows:
        row["inclusion_probability"] = 6 / 100
    found = assessed(handed)
    means = [np.mean([r["reference"] == "forest" for r in handed.rows if r["patch"] == f"p{p}"]) for p in range(6)]
    area = found["classes"][0]["area_ha"]
    assert area["estimate"] == pytest.approx(144 * np.mean(means))
    assert area["se"] == pytest.approx(144 * (0.94 * np.var(means, ddof=1) / 6) ** 0.5)
    lower, upper = area["interval"]
    independent = 2 * Z * 144 * (np.mean(means) * (1 - np.mean(means)) / 96) ** 0.5
    assert lower < area["estimate"] < upper and upper - lower > 1.5 * independent


def test_unanswered_points_are_counted_and_left_out(small):
    for row in small.rows[:4]:
        row["reference"] = ""
    lacking = [row["reference"] for row in small.rows[4:20]]
    found = assessed(small)
    assert [one["answered"] for one in found["design"]["stratum_table"]] == [16, 15, 10]
    assert found["classes"][0]["users_accuracy"]["estimate"] == pytest.approx(lacking.count("forest") / 16)
    assert any("4 of 45 points have no answer ('forest' 4 of 20)" in note for note in found["notes"])


@pytest.mark.parametrize("deleted", [True, False])
def test_a_stratum_without_an_answer_leaves_the_rest(small, deleted):
    whole = assessed(small)
    if deleted:
        small.rows = small.rows[:35]
    for row in small.rows[35:]:
        row["reference"] = ""
    found = assessed(small)
    assert found["overall_accuracy"] == NOTHING and found["classes"][0]["area_ha"] == NOTHING
    for k in range(2):
        alike(found["classes"][k]["users_accuracy"], whole["classes"][k]["users_accuracy"])
        alike(found["confusion"]["area_ha"][k], whole["confusion"]["area_ha"][k])
    assert found["classes"][2]["users_accuracy"] == NOTHING
    assert any("'built' has no sample" in note for note in found["notes"])


def test_one_answer_in_a_stratum_gives_estimates_without_errors(small):
    for row in small.rows[36:]:
        row["reference"] = ""
    found = assessed(small)
    one = found["classes"][0]
    assert one["area_ha"]["se"] is None and one["area_ha"]["wald"] is None
    assert one["area_ha"]["estimate"] is not None and one["area_ha"]["interval"] is not None
    assert one["users_accuracy"]["se"] is not None
    assert any("'built' was sampled once" in note for note in found["notes"])


def test_a_class_that_the_reference_lacks(tmp_path):
    counts = [[8, 2, 0], [1, 19, 0], [3, 2, 0]]
    found = assessed(matrix_sample(tmp_path, ["a", "b", "c"], [1000, 3000, 500], counts, width=90))
    last = found["classes"][2]
    assert last["users_accuracy"]["estimate"] == 0 and last["producers_accuracy"] == NOTHING
    assert last["area_ha"]["estimate"] == 0 and last["area_ha"]["interval"][1] > 0


def test_a_class_that_the_map_lacks(tmp_path):
    counts = [[8, 1, 1], [1, 17, 2], [0, 0, 0]]
    found = assessed(matrix_sample(tmp_path, ["a", "b", "c"], [1000, 3000, 0], counts, width=80))
    last = found["classes"][2]
    assert last["users_accuracy"] == NOTHING and last["producers_accuracy"]["estimate"] == 0
    assert last["area_ha"]["estimate"] == pytest.approx((1000 * 0.1 + 3000 * 0.1) * 0.09)
    assert last["pixel_count_area_ha"] == 0


def test_a_class_in_neither_is_left_out_and_named(small):
    small.design["classes"].append("glacier")
    small.design["class_ids"].append(9)
    found = assessed(small)
    assert [one["name"] for one in found["classes"]] == ["forest", "water", "built"]
    assert any("left out: glacier" in note for note in found["notes"])
