import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rich.console import Console
from tests.data.scenery import grid, halves, image_of, write

from mapmend.core.errors import ProjectError, SensorError
from mapmend.core.manifest import Row
from mapmend.data.label_shift import tile_sums
from mapmend.data.landscape.generation import generate
from mapmend.doctor import sites
from mapmend.doctor.examine import doctor
from mapmend.doctor.finding import Diagnosis, Finding, ordered
from mapmend.doctor.misplaced import misplaced, radius_for
from mapmend.doctor.page import show
from mapmend.raster.opening import raster_info

LEGEND = {
    "name": "two",
    "classes": [{"id": 1, "name": "left", "color": "#aa5500"}, {"id": 2, "name": "right", "color": "#0055aa"}],
}


def project(folder: Path, scenes, **changes) -> Path:
    plain = {"name": "p", "legend": LEGEND, "sensors": {"optical": "rgb"}, "scenes": scenes, **changes}
    path = folder / "project.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


def scene(folder, name, east=0, ids=None, **more):
    ids = halves(160, 160) if ids is None else ids
    write(folder / f"{name}.tif", image_of(ids), grid(*ids.shape, east=east))
    write(folder / f"{name}_l.tif", ids, grid(*ids.shape, east=east), nodata=255)
    return {"site": name, "image": f"{name}.tif", "label": f"{name}_l.tif", **more}


def found(diagnosis, level):
    return {finding.check: finding for finding in diagnosis.of(level)}


def test_a_sound_project_has_no_errors_and_no_warnings(tmp_path):
    crop = {"steps": [{"train": {"crop": 64}}]}
    diagnosis = doctor(project(tmp_path, [scene(tmp_path, "a")], **crop), out=tmp_path / "out")
    assert diagnosis.healthy and not diagnosis.of("warning")
    assert {"disk", "memory", "processors", "balance"} <= set(found(diagnosis, "note"))
    assert not (tmp_path / "out").exists()


def test_the_maps_of_two_dates_and_their_comparison_are_counted(tmp_path, monkeypatch):
    needs = []
    monkeypatch.setattr("mapmend.doctor.machine.disk", lambda need, out: needs.append(need) or [])
    scenes = [scene(tmp_path, f"a{year}") | {"site": "a", "date": str(year)} for year in (2010, 2015, 2020)]
    for steps in (
        ["predict"],
        [{"predict": {"dates": "all"}}],
        [{"predict": {"dates": "pair"}}],
        ["predict", "change"],
    ):
        doctor(project(tmp_path, scenes, steps=["train", *steps]), out=tmp_path / "out")
    latest, every, pair, compared = (need.maps for need in needs)
    assert latest == 3 * 160**2 and every == 3 * latest
    assert latest < pair < every and compared > pair + 4 * 160**2  # four rasters more


def test_every_fault_of_a_project_is_found_at_once(tmp_path):
    bad = halves(160, 160)
    bad[0, :7] = 9
    scenes = [
        scene(tmp_path, "a", split="train"),
        scene(tmp_path, "b", east=80, split="test"),
        scene(tmp_path, "c", east=5000, ids=bad, split="train"),
        {"site": "gone", "image": "gone.tif"},
    ]
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:3000])
    scenes.append({"site": "cut", "image": "cut.tif"})
    errors = found(doctor(project(tmp_path, scenes)), "error")
    assert set(errors) == {"files", "label codes", "leak", "file"}
    assert "9 (7 px)" in errors["label codes"].what and errors["label codes"].where.endswith("c_l.tif")
    assert "'a' (train) and 'b' (test) share ground: 50%" in errors["leak"].what
    assert errors["files"].where.endswith("gone.tif") and "truncated" in errors["file"].what


def test_a_project_that_cannot_be_read_is_a_finding_and_a_missing_one_a_fault(tmp_path):
    path = project(tmp_path, [scene(tmp_path, "a")], colour="red")
    [finding] = doctor(path).findings
    assert finding.level == "error" and "colour" in finding.what
    with pytest.raises(ProjectError, match="does not exist"):
        doctor(tmp_path / "none.yaml")
    with pytest.raises(SensorError, match="sentinel2"):
        doctor(tmp_path, sensor="sentinel_2")


def test_where_nothing_validates_that_is_said(tmp_path):
    path = project(tmp_path, [scene(tmp_path, "a")])  # one site of 160 pixels, crops of 256
    assert "nothing will validate" in found(doctor(path), "warning")["validation"].what


def test_a_class_that_is_judged_and_never_learned_is_named(tmp_path):
    left = np.ones((160, 160), np.uint8)
    scenes = [scene(tmp_path, "a", ids=left, split="train"), scene(tmp_path, "b", east=900, split="val")]
    warnings = found(doctor(project(tmp_path, scenes)), "warning")
    assert "val holds right" in warnings["balance"].what


def test_a_label_that_lies_beside_its_image_is_found_in_pixels_and_metres(tmp_path):
    place = generate(320, 1)
    on = grid(320, 320, 2.0)
    write(tmp_path / "i.tif", place.image_1, on)
    write(tmp_path / "v.tif", place.valid_1.astype(np.uint8), on)
    scenes = [{"site": "s", "image": "i.tif", "valid": "v.tif", "label": "l.tif"}]
    path = project(tmp_path, scenes, legend="landscape", sensors={"optical": "naip"})
    write(tmp_path / "l.tif", place.truth_1, on)
    assert "shifted label" not in found(doctor(path), "warning")
    write(tmp_path / "l.tif", np.roll(place.truth_1, (-6, 8), (0, 1)), on)
    finding = found(doctor(path), "warning")["shifted label"]
    told = re.search(r"([\d.]+) px right of and ([\d.]+) px above \((\d+) m\)", finding.what)
    assert told is not None, finding.what
    assert [float(number) for number in told.groups()] == pytest.approx([8, 6, 20], abs=0.5)  # 10 px of 2 m


def test_labels_too_small_to_judge_alone_are_judged_together():
    """Chips of four tiles each, all with the same label shifted by 5 pixels down and 4 left."""
    place, chips = generate(512, 3), {}
    moved = np.roll(place.truth_1, (5, -4), (0, 1))
    for row in range(0, 512, 160):
        for col in range(0, 512, 160):
            part = np.s_[row : row + 160, col : col + 160]
            tiles = tile_sums(place.image_1[:, *part], place.valid_1[part], moved[part], 16)
            chips[f"{row}-{col}"] = tiles, grid(160, 160, crs=None)
    [finding] = misplaced(chips, "all labels")
    assert finding.where == "all labels" and " m)" not in finding.what
    told = re.search(r"([\d.]+) px left of and ([\d.]+) px below", finding.what)
    assert told is not None and [float(number) for number in told.groups()] == pytest.approx([4, 5], abs=0.5)
    assert misplaced({}, "none") == []


def test_a_label_of_large_pixels_is_looked_for_further_away():
    assert [radius_for(gsd, grid(9, 9)) for gsd in (None, 1.0, 20.0, 500.0)] == [16, 16, 30, 48]


def test_a_folder_is_looked_through_and_a_broken_file_stops_nothing(tmp_path):
    write(tmp_path / "x" / "a.tif", image_of(halves(64, 64)), grid(64, 64))
    write(tmp_path / "x" / "b.tif", image_of(halves(64, 64), bands=4), grid(64, 64, crs="EPSG:32633"))
    (tmp_path / "x" / "c.tif").write_bytes(b"II*\0 and then nothing")
    (tmp_path / "notes.txt").write_text("no raster")
    diagnosis = doctor(tmp_path)
    assert diagnosis.files == 3 and [Path(one.where).name for one in diagnosis.of("error")] == ["c.tif"]
    assert {"mixed bands", "mixed CRSs"} <= set(found(diagnosis, "note"))
    assert not doctor(tmp_path / "x" / "c.tif").healthy and doctor(tmp_path / "x" / "a.tif").healthy
    (tmp_path / "empty").mkdir()
    assert found(doctor(tmp_path / "empty"), "error")["files"].what.startswith("holds no raster")


def test_envi_files_without_an_ending_are_seen_in_a_folder(tmp_path):
    on = grid(32, 32)
    profile = {"driver": "ENVI", "height": 32, "width": 32, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "2000TM.img", "w", crs=on.crs.to_wkt(), transform=on.transform, **profile) as file:
        file.write(image_of(halves(32, 32)))
    (tmp_path / "2000TM.img").rename(tmp_path / "2000TM")
    (tmp_path / "2000TM.hdr").rename(tmp_path / "2000TM.HDR")
    assert doctor(tmp_path).files == 1


def test_of_a_large_folder_a_part_is_looked_at_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("mapmend.doctor.examine._MOST_FILES", 3)
    for number in range(8):
        write(tmp_path / f"{number}.tif", image_of(halves(16, 16)), grid(16, 16))
    diagnosis = doctor(tmp_path)
    assert diagnosis.files == 3 and "3 of 8" in found(diagnosis, "note")["sample"].what


def test_layers_of_a_site_are_compared(tmp_path):
    def info(name, on):
        return raster_info(write(tmp_path / name, image_of(halves(*map(int, on.shape))), on))

    fine, coarse = info("fine.tif", grid(200, 200)), info("coarse.tif", grid(50, 50, 4.0))
    [note] = sites.layers("s", [fine, coarse])
    assert note.level == "note" and f"{200 * 200 * 3 / 1e6:.3g} MB" in note.fix
    assert sites.layers("s", [fine, fine]) == []
    half = sites.layers("s", [fine, info("half.tif", grid(200, 200, east=120))])
    assert half[0].level == "warning" and "covers 40%" in half[0].what
    apart = sites.layers("s", [fine, info("apart.tif", grid(200, 200, east=5000))])
    assert apart[0].level == "error" and "does not overlap" in apart[0].what


def test_rows_that_contradict_one_another_are_found():
    row = Row("a", "2018-01-01", "optical", image=("i.tif",), label="l.tif")
    assert sites.rows_of([row], []) == []
    assert [one.check for one in sites.rows_of([row, replace(row, date="2020-01-01")], [])] == ["dates"]
    assert [one.check for one in sites.rows_of([row, replace(row, site="b")], [])] == ["duplicates"]
    assert [one.check for one in sites.rows_of([row, replace(row, sensor="radar")], [])] == ["duplicates"]
    assert [one.check for one in sites.rows_of([row], [Row("a", label="l.tif")])] == ["reference"]
    assert sites.rows_of([replace(row, split="test")], [Row("a", label="l.tif")]) == []


def test_findings_print_errors_first_with_their_fix_and_end_with_counts(capsys):
    notes = [Finding("note", "strips", f"is in [strips] {i}", f"{i}.tif", "prepare") for i in range(5)]
    error, warning = (
        Finding("error", "leak", "leaks", "split", "mend it"),
        Finding("warning", "alpha", "has alpha", "x"),
    )
    diagnosis = Diagnosis("here", ordered([*notes, warning, error, error]), 7)
    show(diagnosis, Console(width=80, force_terminal=False))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "error split: leaks; mend it" and lines[1] == "warning x: has alpha"
    assert lines[2] == "note 0.tif: is in [strips] 0; prepare" and lines[5] == "note … and 2 more like this (strips)"
    assert lines[-1] == "1 error, 1 warning, 5 notes; 7 files looked at"
    plain = json.loads(json.dumps(diagnosis.to_dict()))
    assert (plain["errors"], plain["notes"], len(plain["findings"])) == (1, 5, 7)
    assert plain["findings"][0] == {
        "level": "error",
        "check": "leak",
        "what": "leaks",
        "where": "split",
        "fix": "mend it",
    }
