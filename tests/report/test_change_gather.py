import sqlite3

import numpy as np
import pytest
from tests.data.scenery import grid, halves, image_of, write

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.change.job import ChangeInputs, change_maps
from mapmend.change.record import ChangeResult, FromTo
from mapmend.core.errors import JobError
from mapmend.core.legend import load_legend
from mapmend.core.sensor import load_sensor
from mapmend.data.sites import BandStatistics, PreparedImage, PreparedSite
from mapmend.raster.reading import ImageSource
from mapmend.report.change_gather import change_report
from mapmend.report.change_layers import all_layers
from mapmend.report.data import ReportData
from mapmend.report.gather import pair_panel
from mapmend.report.page import render
from mapmend.report.score import score_change

LEGEND = load_legend(
    {
        "name": "two",
        "classes": [{"id": 1, "name": "a", "color": "#aa0000"}, {"id": 2, "name": "b", "color": "#00aa00"}],
    }
)
ON = grid(40, 60, pixel=10.0)


def at(folder, date, pixels, reference, sensor="rgb"):
    card = load_sensor(sensor)
    source = ImageSource((write(folder / f"{date}.tif", pixels, ON, nodata=0),), ("red", "green", "blue"), card)
    statistics = BandStatistics(1, (0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (1.0,) * 3, 1.0)
    kept = write(folder / f"ref_{date}.tif", reference, ON, nodata=255) if reference is not None else None
    return PreparedSite("s", date, ON, (PreparedImage("optical", source, statistics),), reference=kept)


@pytest.fixture
def pair(tmp_path):
    """Truth: class 1 on the left becomes 2 in four columns; the map finds two of them, and two others besides."""
    old = halves(40, 60)
    new = old.copy()
    new[:, :4] = 2
    mapped = old.copy()
    mapped[:, 2:6] = 2
    dark, light = image_of(old) // 2 + 1, image_of(old)
    light[:, :10] = 0  # without data
    for name, ids in (("before", old), ("after", mapped), ("updated", mapped)):
        write(tmp_path / "change" / f"{name}.tif", ids, ON, nodata=255)
    for name, ids in (("class_before", old), ("class", new), ("confidence", old), ("confidence_before", old)):
        write(tmp_path / "map" / f"{name}.tif", ids, ON, nodata=255)
    write(tmp_path / "map" / "change.tif", np.full((40, 60), 60, np.uint8), ON, nodata=255)
    return at(tmp_path, "2016-01-01", dark, old), at(tmp_path, "2020-01-01", light, new), tmp_path


def test_change_is_scored_where_both_images_and_both_references_are_there(pair):
    before, after, folder = pair
    accuracy = score_change(before, after, folder / "change", LEGEND)
    found = change_metrics(accuracy)
    assert found.pixels == 30 * 60  # ten rows of the later image have no data
    assert (found.hits, found.misses, found.false_alarms) == (60, 60, 60)
    assert found.iou_changed == pytest.approx(1 / 3)
    assert accuracy.unit == "ha"
    # a pixel is 10 m × 10 m in UTM, whose scale at the central meridian is 0.9996
    assert accuracy.truth_areas[0, 1] == pytest.approx(120 * 0.01, rel=2e-3)
    assert accuracy.map_areas[0, 1] == pytest.approx(120 * 0.01, rel=2e-3)


def test_without_a_reference_at_one_date_change_is_not_scored(pair, tmp_path):
    before, after, folder = pair
    unknown = at(tmp_path / "other", "2016-01-01", image_of(halves(40, 60)), None)
    assert score_change(unknown, after, folder / "change", LEGEND) is None
    assert score_change(before, unknown, folder / "change", LEGEND) is None


def test_a_pair_shows_the_consistent_maps_and_one_stretch(pair):
    before, after, folder = pair
    panel = pair_panel(before, after, LEGEND, folder / "map", folder / "change")
    assert panel.date == "2020-01-01" and panel.change.date == "2016-01-01"
    assert (panel.map[:, 2:6] == 2).all() and (panel.map[:, :2] == 1).all()  # change's, not class.tif
    assert np.array_equal(panel.change.map, halves(40, 60)) and np.array_equal(panel.change.updated, panel.map)
    assert (panel.change.probability == 60).all() and panel.change.confidence is not None
    assert not panel.valid[:10].any() and panel.change.valid.all()
    # the earlier image is half as bright, and looks it
    assert panel.change.image[20:].mean() < 0.7 * panel.image[20:].mean()


def test_without_change_a_pair_shows_what_was_predicted(pair):
    before, after, folder = pair
    panel = pair_panel(before, after, LEGEND, folder / "map", None)
    assert (panel.map[:, :4] == 2).all() and panel.change.updated is None
    # two maps made each for itself differ by their errors: that is not shown as change
    assert {"change", "found"}.isdisjoint(layer.kind for layer in all_layers(panel, LEGEND))


def test_images_of_two_sensors_have_a_stretch_each(pair, tmp_path):
    before, after, folder = pair
    other = at(tmp_path / "other", "2016-01-01", image_of(halves(40, 60)) // 2 + 1, None, "png")
    panel = pair_panel(other, after, LEGEND, folder / "map", None)
    assert abs(panel.change.image[20:].mean() - panel.image[20:].mean()) < 20


def result(folder, areas, unit="ha", names=("a", "b")):
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "changes.gpkg") as file:
        file.execute("CREATE TABLE changes (from_id INT, to_id INT)")
        file.executemany("INSERT INTO changes VALUES (?, ?)", [(1, 2), (1, 2), (2, 1)])
    table = FromTo(names, unit, areas, tuple(tuple(int(100 * area) for area in row) for row in areas))
    return ChangeResult(folder, "2016", "2020", table, 3, 5, 0.25, 0.5, "0.1 ha", 1.0)


def test_sites_are_added_up_and_patches_counted(tmp_path):
    results = [result(tmp_path / name, ((4.0, 1.0), (0.5, 2.0))) for name in "ab"]
    accuracy = ChangeAccuracy(LEGEND.names, "ha")
    layer = np.array([[0, 1]], np.uint8)
    accuracy.update((layer, layer), (layer, layer), np.ones((1, 2)))
    whole = change_report(results, LEGEND, [accuracy, None])
    assert whole.areas == ((8.0, 2.0), (1.0, 4.0)) and whole.changed == 3.0 and whole.total == 15.0
    assert whole.patches == 6 and whole.patches_of == ((0, 4), (2, 0))
    assert whole.dropped_patches == 10 and whole.dropped_area == 0.5 and whole.when == ("2016", "2020")
    assert whole.accuracy.confusion.pixels == 2 and whole.reference.startswith("1 of 2 sites")
    assert change_report([], LEGEND) is None


def test_what_cannot_be_added_is_refused(tmp_path):
    one = result(tmp_path / "one", ((1.0, 0.0), (0.0, 1.0)))
    with pytest.raises(JobError, match="some have none"):
        change_report([one, result(tmp_path / "px", ((1.0, 0.0), (0.0, 1.0)), "px")], LEGEND)
    with pytest.raises(JobError, match="other classes"):
        change_report([result(tmp_path / "names", ((1.0, 0.0), (0.0, 1.0)), names=("a", "c"))], LEGEND)
    (one.folder / "changes.gpkg").write_bytes(b"not a GeoPackage at all")
    with pytest.raises(JobError, match="cannot be read"):
        change_report([one], LEGEND)


@pytest.mark.parametrize("changed", [True, False])
def test_what_change_writes_is_what_the_report_counts(pair, tmp_path, changed):
    before, after, folder = pair
    old, new = halves(40, 60), halves(40, 60)
    if changed:
        new[:10, :4], new[20:30, 40:44], new[35:, :4] = 2, 1, 2
    for name, layer in (("a", old), ("b", new)):
        write(tmp_path / "in" / f"{name}.tif", layer, ON, nodata=255)
    paths = (str(tmp_path / "in" / f"{name}.tif") for name in "ab")
    inputs = ChangeInputs(*paths, None, None, None, None, before.date, after.date, "s")
    done = change_maps(inputs, LEGEND, tmp_path / "done", progress=False)
    whole = change_report([done], LEGEND, [score_change(before, after, tmp_path / "done", LEGEND)])
    assert whole.patches_of == (((0, 2), (1, 0)) if changed else ((0, 0), (0, 0)))
    assert sum(map(sum, whole.patches_of)) == whole.patches
    assert whole.changed == pytest.approx(100 * 0.01 if changed else 0, rel=2e-3)
    panel = pair_panel(before, after, LEGEND, folder / "map", tmp_path / "done")
    page = render(ReportData("t", LEGEND, sites=(panel,), change=whole))
    assert ("nothing changed on the map" in page) is not changed
