"""The generated landscape: repeatable, varied, hard enough, and honest about its truth."""

import hashlib
from dataclasses import fields

import numpy as np
import pytest
import rasterio

from mapmend.core.errors import ProjectError
from mapmend.core.legend import load_legend
from mapmend.core.manifest import parse_manifest
from mapmend.data.landscape import Landscape, generate, write_landscape

CLASSES = range(1, 8)
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def landscapes() -> dict[int, Landscape]:
    return {seed: generate(512, seed) for seed in SEEDS}


def _arrays(landscape: Landscape) -> dict[str, np.ndarray]:
    values = {field.name: getattr(landscape, field.name) for field in fields(landscape)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _digest(landscape: Landscape) -> dict[str, str]:
    return {name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in _arrays(landscape).items()}


def _shares(truth: np.ndarray) -> list[float]:
    return [float((truth == k).mean()) for k in CLASSES]


def _mean_iou(reference: np.ndarray, given: np.ndarray) -> float:
    ious = []
    for k in CLASSES:
        both = ((reference == k) & (given == k)).sum()
        either = ((reference == k) | (given == k)).sum()
        ious.append(both / either)
    return float(np.mean(ious))


def test_equal_seeds_give_equal_bytes_and_others_another_landscape():
    first, again, other = (_digest(generate((96, 80), seed)) for seed in (5, 5, 6))
    assert first == again
    assert all(first[name] != other[name] for name in first if not name.startswith("valid"))


@pytest.mark.parametrize("size", [32, 64, (50, 131), (257, 96)])
def test_any_size(size):
    landscape = generate(size, seed=3)
    shape = (size, size) if isinstance(size, int) else size
    assert tuple(landscape.grid.shape) == shape
    assert landscape.image_1.shape == landscape.image_2.shape == (4, *shape)
    assert landscape.radar_1.shape == landscape.radar_2.shape == (2, *shape)
    for name in ("truth_1", "truth_2", "label", "valid_1", "valid_2"):
        assert getattr(landscape, name).shape == shape
    assert {landscape.image_1.dtype, landscape.truth_1.dtype, landscape.label.dtype} == {np.dtype("uint8")}
    assert landscape.radar_1.dtype == np.float32
    assert np.isfinite(landscape.radar_1).all() and np.isfinite(landscape.radar_2).all()


def test_pixels_of_any_size_show_the_same_kind_of_place():
    fine, coarse = generate(256, seed=1, gsd=2.0), generate(64, seed=1, gsd=8.0)
    assert abs(fine.grid.transform.a) == 2.0 and abs(coarse.grid.transform.a) == 8.0
    assert tuple(coarse.grid.boundingbox) == tuple(fine.grid.boundingbox)
    assert np.abs(np.subtract(_shares(fine.truth_1), _shares(coarse.truth_1))).max() < 0.2


@pytest.mark.parametrize(
    "arguments", [{"size": 16}, {"size": (64, 8)}, {"size": 64, "seed": -1}, {"size": 64, "gsd": 0}]
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ProjectError):
        generate(**arguments)


def test_every_class_is_there_at_both_dates(landscapes):
    for landscape in landscapes.values():
        assert min(_shares(landscape.truth_1)) > 0.005
        assert min(_shares(landscape.truth_2)) > 0.005
        assert max(_shares(landscape.truth_1)) < 0.6


def test_truth_and_label_use_the_shipped_legend(landscapes):
    legend = load_legend("landscape")
    assert list(legend.ids) == list(CLASSES)
    for landscape in landscapes.values():
        for classes in (landscape.truth_1, landscape.truth_2, landscape.label):
            assert set(np.unique(classes)) <= set(legend.ids)


def test_change_is_true_and_of_the_kinds_that_happen(landscapes):
    water, forest, grass, crop, bare, road, building = CLASSES
    kinds = {"cleared": 0.0, "built": 0.0, "grown": 0.0, "shore": 0.0}
    for landscape in landscapes.values():
        before, after = landscape.truth_1, landscape.truth_2
        assert 0.02 < (before != after).mean() < 0.15
        assert not (np.isin(before, (road, building)) & np.isin(after, (grass, crop, bare))).any()
        kinds["cleared"] += ((before == forest) & np.isin(after, (grass, bare))).mean()
        kinds["built"] += (~np.isin(before, (road, building)) & np.isin(after, (road, building))).mean()
        kinds["grown"] += ((before == grass) & (after == forest)).mean()
        kinds["shore"] += ((before == water) != (after == water)).mean()
    assert all(share / len(landscapes) > 0.003 for share in kinds.values()), kinds


def test_crops_rotate_without_changing_their_class(landscapes):
    for landscape in landscapes.values():
        stayed = (landscape.truth_1 == 4) & (landscape.truth_2 == 4) & landscape.valid
        greener_1, greener_2 = (
            (image[3].astype(float) - image[0])[stayed] for image in (landscape.image_1, landscape.image_2)
        )
        assert np.corrcoef(greener_1, greener_2)[0, 1] < 0.5


def test_difference_of_the_images_does_not_give_the_change_away(landscapes):
    for landscape in landscapes.values():
        difference = np.abs(landscape.image_1.astype(int) - landscape.image_2).mean(0)[landscape.valid]
        changed = (landscape.truth_1 != landscape.truth_2)[landscape.valid]
        rank = difference.argsort().argsort()
        area_under_roc = (rank[changed].mean() - (changed.sum() - 1) / 2) / (~changed).sum()
        assert 0.5 < area_under_roc < 0.9


def test_label_is_imperfect_but_useful(landscapes):
    for landscape in landscapes.values():
        overall = (landscape.label == landscape.truth_2).mean()
        assert 0.6 < overall < 0.85
        assert 0.25 < _mean_iou(landscape.truth_2, landscape.label) < 0.5
        assert (landscape.label == landscape.truth_1).mean() > overall + 0.01, "the label is as old as date 1"


def test_label_lies_half_a_coarse_pixel_out_of_place(landscapes):
    for landscape in landscapes.values():
        cell = round(landscape.label_grid.transform.a / landscape.grid.transform.a)
        agreement = {
            (down, right): (np.roll(landscape.label, (down, right), (0, 1)) == landscape.truth_1)[
                cell:-cell, cell:-cell
            ].mean()
            for down in range(-2, 3 * cell // 2, 2)
            for right in range(-2, 3 * cell // 2, 2)
        }
        best = max(agreement, key=agreement.__getitem__)
        assert np.abs(np.subtract(best, cell / 2)).max() <= 2


def test_fine_label_is_what_the_coarse_file_says_at_each_pixel(landscapes):
    landscape = landscapes[0]
    to_coarse = ~landscape.label_grid.transform @ landscape.grid.transform
    rng = np.random.default_rng(0)
    for row, col in rng.integers(0, 512, (200, 2)):
        x, y = to_coarse @ (col + 0.5, row + 0.5)
        assert landscape.label[row, col] == landscape.label_coarse[int(y), int(x)]


def test_invalid_pixels_form_a_wedge_at_the_border(landscapes):
    for landscape in landscapes.values():
        for image, valid in ((landscape.image_1, landscape.valid_1), (landscape.image_2, landscape.valid_2)):
            assert (image[:, ~valid] == 0).all() and (image[:, valid] > 0).all()
            assert 0.01 < (~valid).mean() < 0.15
            assert valid[128:384, 128:384].all()


@pytest.mark.parametrize("date", [1, 2])
def test_colour_alone_does_not_tell_the_classes_apart(landscapes, date):
    """Linear discriminants fitted to the truth itself, by their textbook formula."""
    for landscape in landscapes.values():
        image, truth = getattr(landscape, f"image_{date}"), getattr(landscape, f"truth_{date}")
        valid = getattr(landscape, f"valid_{date}")
        x, y = image[:, valid].T.astype(float)[::7], truth[valid][::7]
        means = np.stack([x[y == k].mean(0) for k in CLASSES])
        within = np.cov((x - means[y - 1]).T)
        weights = means @ np.linalg.inv(within)
        score = x @ weights.T - (weights * means).sum(1) / 2 + np.log([(y == k).mean() for k in CLASSES])
        chosen = score.argmax(1) + 1
        assert 0.45 < (chosen == y).mean() < 0.85
        assert _mean_iou(y, chosen) < 0.68


def test_radar_is_speckled_and_shows_what_radar_shows(landscapes):
    """Water is darkest, buildings brightest; on water, mean² / variance of the intensity is the number of looks."""
    water, building = 1, 7
    for landscape in landscapes.values():
        level = {k: np.median(landscape.radar_1[0][landscape.truth_1 == k]) for k in CLASSES}
        assert min(level, key=level.__getitem__) == water
        assert max(level, key=level.__getitem__) == building
        power = 10 ** (landscape.radar_1[1].astype(float) / 10)
        blocks = power.reshape(64, 8, 64, 8).swapaxes(1, 2).reshape(64 * 64, 64)
        on_water = (landscape.truth_1 == water).reshape(64, 8, 64, 8).swapaxes(1, 2).reshape(64 * 64, 64).all(1)
        looks = np.median(blocks[on_water].mean(1) ** 2 / blocks[on_water].var(1))
        assert 2.5 < looks < 9


def test_buildings_throw_shadows_away_from_the_sun(landscapes):
    """At date 1 the sun stands in the south-south-east: grass north of buildings is darker than grass south of them."""
    dark = []
    for landscape in landscapes.values():
        bright = landscape.image_1[:3].mean(0)
        built, grass = landscape.truth_1 == 7, (landscape.truth_1 == 3) & landscape.valid_1
        north = np.roll(built, -4, 0) & grass
        south = np.roll(built, 4, 0) & grass
        dark.append(bright[north].mean() / bright[south].mean())
    assert max(dark) < 0.85


def test_folder_holds_what_the_manifest_lists(tmp_path):
    scenes, references = write_landscape(tmp_path / "place", (96, 130), seed=2)
    expected = generate((96, 130), seed=2)
    rows = parse_manifest(scenes.read_text(), where=scenes, folder=scenes.parent)
    assert {(row.sensor, row.trust) for row in rows} == {
        (sensor, trust) for sensor in ("optical", "radar") for trust in ("coarse", "outdated")
    }
    for row in rows:
        number = 1 + (row.date == max(r.date for r in rows))
        with rasterio.open(row.image[0]) as image, rasterio.open(row.label) as label:
            name = "image" if row.sensor == "optical" else "radar"
            np.testing.assert_array_equal(image.read(), getattr(expected, f"{name}_{number}"))
            np.testing.assert_array_equal(label.read(1), expected.label_coarse)
            assert image.crs == label.crs == "EPSG:32632"
            assert image.bounds[0] == label.bounds[0] and image.bounds[3] == label.bounds[3]
            assert label.res[0] == row.label_gsd == 10 * image.res[0]
        if row.valid:
            with rasterio.open(row.valid) as valid:
                np.testing.assert_array_equal(valid.read(1), getattr(expected, f"valid_{number}"))
    truths = parse_manifest(references.read_text(), where=references, folder=references.parent)
    for number, row in enumerate(sorted(truths, key=lambda row: row.date), start=1):
        with rasterio.open(row.label) as truth:
            np.testing.assert_array_equal(truth.read(1), getattr(expected, f"truth_{number}"))
            assert truth.colormap(1)[1][:3] == load_legend("landscape").colors[0]
