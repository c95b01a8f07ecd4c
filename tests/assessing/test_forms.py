"""One sample in every form in which it may come, and with a model's probabilities beside it."""

import numpy as np
import pyogrio
import pytest
import shapely
from tests.assessing.conftest import write_raster
from tests.assessing.test_sample import alike, assessed


@pytest.mark.parametrize("separator, bom", [(",", True), (";", False), ("\t", True)])
def test_one_sample_however_it_is_written(small, separator, bom):
    plain, path = assessed(small), small.write("other.csv", separator, bom)
    alike(assessed(small, path), plain)


def test_ids_for_names_and_points_for_rows(small):
    plain = assessed(small)
    for row in small.rows:
        row["reference"] = str(["forest", "water", "built"].index(row["reference"]) + 1)
    path = small.folder / "sample.gpkg"
    names = [name for name in small.rows[0] if name not in ("x", "y")]
    columns = [np.array([row[name] for row in small.rows]) for name in names]
    points = shapely.to_wkb(shapely.points([row["x"] for row in small.rows], [row["y"] for row in small.rows]))
    pyogrio.raw.write(
        path, points, columns, names, layer="sample", driver="GPKG", geometry_type="Point", crs="EPSG:3035"
    )
    alike(assessed(small, path), plain)


def test_a_map_without_a_place_has_the_design_s_areas(small):
    plain = assessed(small)
    small.map.unlink()
    small.crs = None
    alike(assessed(small), plain)


def test_model_assisted_area_beside_the_plain_one(small):
    small.write()
    random = np.random.default_rng(5)
    steps = np.clip(np.where(small.pixels == 2, 170, 20) + random.integers(-20, 20, small.pixels.shape), 0, 200)
    path = write_raster(small.folder / "p.tif", steps.astype(np.uint8))
    found = assessed(small, probability=("water", path))
    residuals, variance = 0.0, 0.0
    for name, size in (("forest", 500), ("water", 300), ("built", 100)):
        rest = [
            (row["reference"] == "water") - steps[row["row"], row["col"]] / 200
            for row in small.rows
            if row["stratum"] == name
        ]
        residuals += size * np.mean(rest)
        variance += size**2 * np.var(rest, ddof=1) / len(rest)
    area = found["model_assisted"]["area_ha"]
    assert area["estimate"] == pytest.approx(0.09 * (steps.sum() / 200 + residuals))
    assert area["se"] == pytest.approx(0.09 * variance**0.5)
    assert any("neither fitted nor calibrated on this sample" in note for note in found["notes"])


def test_rounds_come_in_files_of_their_own(small):
    plain = assessed(small)
    for number, row in enumerate(small.rows):
        row["round"] = 1 + number % 2
    small.design["rounds"] = [23, 22]
    every = small.rows
    paths = []
    for wanted in (1, 2):
        small.rows = [row for row in every if row["round"] == wanted]
        paths.append(small.write(f"round{wanted}.csv"))
    found = assessed(small, *paths)
    for key in ("overall_accuracy", "classes"):
        alike(found[key], plain[key])
