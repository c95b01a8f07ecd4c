"""An audit from held-out probabilities on: planted errors are found, counted, explained, and corrected in a copy."""

import csv
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import rasterio
from scipy.stats import rankdata
from tests.audit.scenery import THREE, fields, judged, seen
from tests.data.scenery import grid, write

from mapmend.audit.correcting import apply_review
from mapmend.audit.diagnosis import NONE
from mapmend.audit.examining import examine
from mapmend.audit.job import _Task
from mapmend.audit.label_files import codes_of
from mapmend.audit.matrix import noise_matrix
from mapmend.audit.measuring import parts_of
from mapmend.audit.mending import LEFT, mended
from mapmend.audit.record import LabelFile, record_of
from mapmend.audit.settings import AuditSettings
from mapmend.audit.verdicts import read_verdicts
from mapmend.core.errors import JobError, LabelError
from mapmend.core.grid import grid_to_dict
from mapmend.core.legend import load_crosswalk
from mapmend.core.provenance import file_hash
from mapmend.data.noise import inject, make_injector


def planted(kind, settings, seed=0, side=256):
    truth = fields(side, 32, seed)
    made = inject(truth, make_injector(kind, settings), classes=3, seed=seed)
    return truth, made


def wrong_share(found, changed):
    """Share of each part's pixels that were changed, counted from the proposals anew."""
    site = found.sites[0]
    shares = np.zeros(len(found.parts))
    for window, rows in zip(site.strips(), found.rows[0], strict=True):
        patches = parts_of(site.view(window), THREE)
        hits = changed[window.slices].ravel()[patches.at]
        of_part = rows[patches.label]
        np.add.at(shares, of_part[of_part >= 0], hits[of_part >= 0])
    return shares / found.parts.pixels


def auroc(scores, wrong):
    ranks, positives = rankdata(scores), wrong.sum()
    return (ranks[wrong].sum() - positives * (positives + 1) / 2) / (positives * (~wrong).sum())


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """A fifth of each class's fields under another name, and what an audit finds of it."""
    truth, made = planted("swap", {"rate": 0.2})
    folder = tmp_path_factory.mktemp("swapped")
    return truth, made, folder, examine([judged(folder, made.label, seen(truth, sure=3.0))], THREE, AuditSettings())


def test_planted_objects_come_first_and_are_counted_right(swapped):
    _, made, _, found = swapped
    wrong = wrong_share(found, made.changed) > 0.5
    assert auroc(found.scores, wrong) > 0.95
    number = int(wrong[found.order].sum())
    assert wrong[found.order][:number].mean() > 0.8
    assert 0.5 * number < found.chances.sum() < 1.5 * number


def test_the_noise_matrix_is_the_planted_one(tmp_path):
    truth, made = planted("swap", {"rate": 0.2}, side=512)
    found = examine([judged(tmp_path, made.label, seen(truth, sure=3.0))], THREE, AuditSettings())
    true = np.bincount(truth.ravel() * 3 + made.label.ravel(), minlength=9).reshape(3, 3)
    true = true / true.sum(1, keepdims=True)
    np.testing.assert_allclose(np.array(found.matrix.shares), true, atol=0.05)
    inside = (np.array(found.matrix.low) <= found.matrix.shares) & (found.matrix.shares <= np.array(found.matrix.high))
    assert inside.all()


def test_a_part_counts_for_the_proposal_as_far_as_its_label_is_wrong(swapped):
    parts = swapped[3].parts
    wrong = np.where(parts.differs, np.linspace(0, 1, len(parts)), 0)
    made = noise_matrix(parts, wrong, [np.array([600, 600, 0])] * 2, np.random.default_rng(0))
    counts = [[0.0] * 3 for _ in range(3)]
    for label, proposed, pixels, chance in zip(parts.label, parts.proposed, parts.pixels, wrong, strict=True):
        if label == proposed:
            counts[label][label] += pixels
        else:
            counts[proposed][label] += chance * pixels
            counts[label][label] += (1 - chance) * pixels
    for truth in range(2):
        assert made.shares[truth] == pytest.approx([one / sum(counts[truth]) for one in counts[truth]])
    assert made.shares[2] is None and made.pixels == (1200, 1200, 0)


def test_a_class_that_is_never_proposed_has_no_row(tmp_path):
    truth, made = planted("swap", {"rate": 0.2})
    p = seen(truth)
    p[2] = 0
    found = examine([judged(tmp_path, made.label, p)], THREE, AuditSettings())
    assert found.matrix.shares[2] is None and found.matrix.shares[0] is not None


def test_a_class_that_is_seldom_seen_where_the_label_has_it_has_no_row(tmp_path):
    truth, made = planted("swap", {"rate": 0.2})
    p = seen(truth, sure=3.0)
    missed = (truth == 2) & (np.arange(truth.shape[1]) < 0.7 * truth.shape[1])
    p[0], p[2] = np.where(missed, p[2], p[0]), np.where(missed, p[0], p[2])
    found = examine([judged(tmp_path, made.label, p)], THREE, AuditSettings())
    assert found.matrix.shares[2] is None and found.matrix.pixels[2] >= 500
    assert found.matrix.shares[0] is not None and found.matrix.shares[1] is not None


@pytest.mark.parametrize(
    "kind, settings, named",
    [
        ("swap", {"rate": 0.2}, "swap"),
        ("coarse", {"block": 12, "misplaced": False}, "coarse"),
        ("shift", {"least": 5, "most": 5}, "shifted"),
    ],
)
def test_the_kind_of_noise_is_named(kind, settings, named, tmp_path):
    truth = fields()
    made = inject(truth, make_injector(kind, settings), classes=3, seed=3)
    found = examine([judged(tmp_path, made.label, seen(truth, noise=0.8))], THREE, AuditSettings())
    assert found.diagnosis.kind == named
    if kind == "coarse":
        assert found.diagnosis.cell == pytest.approx(12, abs=0.1)
    if kind == "shift":
        best = max(
            ((down, right) for down in range(-6, 7) for right in range(-6, 7)),
            key=lambda way: (np.roll(made.label, (-way[0], -way[1]), (0, 1)) == truth).mean(),
        )
        right, down = found.diagnosis.shift
        assert (round(down), round(right)) == best and found.diagnosis.shift_metres == pytest.approx(
            np.hypot(right, down), rel=0.02
        )


def test_a_label_without_errors_is_given_few(tmp_path):
    truth = fields(256, 32)
    found = examine([judged(tmp_path, truth, seen(truth))], THREE, AuditSettings())
    assert found.diagnosis.kind == NONE
    assert found.chances.sum() < 0.15 * len(found.order)


def test_a_label_of_one_class_is_refused(tmp_path):
    truth = fields(128, 32)
    with pytest.raises(LabelError, match="one class only"):
        examine([judged(tmp_path, np.zeros_like(truth), seen(truth))], THREE, AuditSettings())


@pytest.fixture(scope="module")
def written(swapped, tmp_path_factory):
    """The files of an audit whose label has codes of its own: two of them mean class 7."""
    _, made, folder, found = swapped
    one = found.sites[0].judged
    source = folder / "product.tif"
    codes = np.array([10, 20, 30], np.uint8)[made.label]
    codes[(made.label == 2) & (np.arange(256) > 200)] = 31
    with rasterio.open(write(source, codes, grid(256, 256), nodata=0), "r+") as file:
        file.write_colormap(1, {10: (1, 2, 3, 255), 30: (4, 5, 6, 255)})
    crosswalk = folder / "product.yaml"
    crosswalk.write_text("source: product\ntarget: three\nmapping: {one: 10, two: 20, seven: [30, 31]}\n")
    label = LabelFile(
        "here",
        "",
        str(source),
        file_hash(source),
        codes_of(load_crosswalk(crosswalk, THREE)),
        grid_to_dict(one.site.grid),
    )
    out = tmp_path_factory.mktemp("written")
    work = out / ".work"
    work.mkdir()
    result = _Task((one,), THREE, (label,), AuditSettings(objects=60), 4, "trained").finish(out, work, None, 0.0)
    return out, source, result, made


def reviewed(out, path, verdicts):
    path.write_bytes((out / "audit.gpkg").read_bytes())
    with closing(sqlite3.connect(path)) as database, database:
        database.create_function("ST_IsEmpty", 1, lambda shape: 0)
        for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            database.create_function(name, 1, lambda shape: 0.0)
        for rank, verdict in verdicts.items():
            database.execute("UPDATE audit SET verdict = ? WHERE rank = ?", (verdict, rank))
    return path


def test_the_layer_is_ranked_and_fits_table_rasters_and_page(written):
    out, _, result, made = written
    rows = list(csv.DictReader((out / "audit.csv").open()))
    assert [int(row["rank"]) for row in rows] == list(range(1, result.listed + 1)) and result.listed <= 60
    assert all(float(a["score"]) >= float(b["score"]) for a, b in zip(rows, rows[1:], strict=False))
    assert all(row["label"] != row["proposed"] and row["verdict"] == "" for row in rows)
    given = read_verdicts(out / "audit.gpkg")
    assert given.rank.tolist() == [int(row["rank"]) for row in rows]
    with rasterio.open(out / "suspicion.tif") as suspicion, rasterio.open(out / "proposed.tif") as proposed:
        for row in rows[:20]:
            at = suspicion.index(float(row["x"]), float(row["y"]))
            assert suspicion.read(1)[at] == pytest.approx(200 * float(row["probability"]), abs=0.52)  # of 4 digits
            assert proposed.read(1)[at] == int(row["proposed_id"])
    assert sum(float(row["area_ha"]) for row in rows) == pytest.approx(
        sum(int(row["pixels"]) for row in rows) / 1e4, rel=2e-3
    )
    page = (out / "audit.html").read_text()
    assert page.count("data:image/png;base64,") == min(40, result.listed)
    assert "<script" not in page and 'src="http' not in page and 'href="http' not in page
    plain = json.loads((out / "audit.json").read_text())
    assert plain["suspicious"] == result.suspicious and len(plain["matrix"]["shares"]) == 3
    assert [one["looks"] for one in plain["budget"]] == [n for n in (10, 50, 100, 200) if n <= result.suspicious]


def test_a_review_becomes_a_corrected_copy_in_the_labels_own_codes(written, tmp_path):
    out, source, _, _ = written
    rows = {int(row["rank"]): row for row in csv.DictReader((out / "audit.csv").open())}
    verdicts = {rank: ("accept" if rank % 3 else "Reject ") for rank in list(rows)[:30]}
    before = source.read_bytes()
    path = reviewed(out, tmp_path / "reviewed.gpkg", verdicts)
    made = apply_review(path, source, tmp_path / "corrected.tif")
    assert source.read_bytes() == before
    accepted = [rows[rank] for rank, verdict in verdicts.items() if verdict == "accept"]
    assert made.objects == len(accepted) and made.pixels == sum(int(row["pixels"]) for row in accepted)
    with rasterio.open(source) as old, rasterio.open(tmp_path / "corrected.tif") as new:
        assert (new.crs, new.transform, new.nodata, new.dtypes) == (old.crs, old.transform, old.nodata, old.dtypes)
        assert new.colormap(1)[10] == (1, 2, 3, 255) and new.tags()["MAPMEND_ACCEPTED"] == str(len(accepted))
        assert new.tags()["MAPMEND_LABEL_SHA256"] == file_hash(source)
        values, given = new.read(1), old.read(1)
        for row in accepted:
            at = new.index(float(row["x"]), float(row["y"]))
            assert values[at] == {"1": 10, "2": 20, "7": 30}[row["proposed_id"]]
        assert (values != given).sum() == made.pixels
    if "seven" in made.codes:
        assert made.codes["seven"] == 30 and "commonest of its codes 30, 31" in made.notes[0]


@pytest.mark.parametrize(
    "verdicts, told",
    [({1: "yes"}, "verdict 'yes' of object 1 is unknown"), ({1: "reject"}, "accepts no object of this label")],
)
def test_reviews_that_cannot_be_applied(verdicts, told, written, tmp_path):
    out, source, _, _ = written
    with pytest.raises(JobError, match=told):
        apply_review(reviewed(out, tmp_path / "r.gpkg", verdicts), source, tmp_path / "corrected.tif")
    assert not (tmp_path / "corrected.tif").exists()


def test_a_review_of_another_label_or_no_review_is_refused(written, tmp_path):
    out, source, _, _ = written
    path = reviewed(out, tmp_path / "r.gpkg", {1: "accept"})
    other = tmp_path / "other.tif"
    other.write_bytes(source.read_bytes() + b"\0")
    with pytest.raises(JobError, match="judges another label"):
        apply_review(path, other, tmp_path / "c.tif")
    with pytest.raises(JobError, match="is the label itself"):
        apply_review(path, source, source)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE mapmend_record")
    with pytest.raises(JobError, match="does not say which labels it judges"):
        record_of(path)


def test_the_mended_label_is_better_than_the_label(written, swapped):
    out, _, result, made = written
    truth, _, _, found = swapped
    with rasterio.open(out / "mended.tif") as file, rasterio.open(out / "proposed.tif") as other:
        better, proposed = THREE.lut[file.read(1)], THREE.lut[other.read(1)]
    changed = better != made.label
    assert changed.sum() == result.mended and (better[changed] == proposed[changed]).all()
    assert (better != truth).sum() < 0.5 * (made.label != truth).sum()
    chances = np.zeros(truth.shape)
    for window, rows in zip(found.sites[0].strips(), found.rows[0], strict=True):
        patches = parts_of(found.sites[0].view(window), THREE)
        chances[window.slices].reshape(-1)[patches.at] = np.append(found.chances, 0)[rows][patches.label]
    assert (changed == (chances >= 0.5)).all()


def test_a_label_that_lies_off_is_moved_back(tmp_path):
    truth = fields()
    label = np.roll(truth, (3, -4), (0, 1))
    label[-20:] = label[-20:, :1]  # nothing to move here from beyond the edge
    shifted = judged(tmp_path, label, seen(truth, noise=0.8))
    found = examine([shifted], THREE, AuditSettings())
    assert found.shift == (3, -4)
    site = found.sites[0]
    windows = list(site.strips())
    assert len(windows) == 1 == len(found.rows[0])
    none = np.full(len(found.parts), LEFT, np.int8)
    view = site.view(windows[0], 4)
    back = mended(view, parts_of(view, THREE), found.rows[0][0], none, found.shift)
    np.testing.assert_array_equal(back[:-23, 4:], label[3:-20, :-4])
    np.testing.assert_array_equal(back[-3:], label[-3:])
    np.testing.assert_array_equal(back[:, :4], label[:, :4])
    assert (back[:-23, 4:] == truth[:-23, 4:]).all()


def test_a_label_that_lies_off_by_a_pixel_is_not_moved(tmp_path):
    truth = fields()
    found = examine([judged(tmp_path, np.roll(truth, 1, 1), seen(truth, noise=0.8))], THREE, AuditSettings())
    assert found.diagnosis.shift is not None and found.shift == (0, 0)


def test_a_review_decides_what_is_mended(written, swapped, tmp_path):
    out, source, first, made = written
    rows = list(csv.DictReader((out / "audit.csv").open()))
    path = reviewed(out, tmp_path / "r.gpkg", {1: "reject", len(rows): "accept"})
    record, one = record_of(out / "audit.gpkg"), swapped[3].sites[0].judged
    (tmp_path / ".work").mkdir()
    task = _Task((one,), THREE, record.labels, AuditSettings(objects=60), 4, "trained")
    task.finish(tmp_path, tmp_path / ".work", (record, read_verdicts(path, geometry=False), path), 0.0)
    with rasterio.open(tmp_path / "mended.tif") as file:
        for row, field in ((rows[0], "label_id"), (rows[-1], "proposed_id")):
            assert file.read(1)[file.index(float(row["x"]), float(row["y"]))] == int(row[field])


def test_verdicts_move_the_chances_and_stay_in_the_layer(written, swapped, tmp_path):
    out, _, first, _ = written
    path = reviewed(out, tmp_path / "r.gpkg", dict.fromkeys(range(1, 31), "reject"))
    record, one = record_of(out / "audit.gpkg"), swapped[3].sites[0].judged
    again = tmp_path / "again"
    (again / ".work").mkdir(parents=True)
    task = _Task((one,), THREE, record.labels, AuditSettings(objects=60), 4, "trained")
    result = task.finish(again, again / ".work", (record, read_verdicts(path, geometry=False), path), 0.0)
    assert result.reviewed == 30 and result.expected < 0.6 * first.expected
    assert (read_verdicts(again / "audit.gpkg").verdict[:30] == "reject").all()
    other = _Task((one,), THREE, record.labels, AuditSettings(objects=60), 4, "another training")
    with pytest.raises(JobError, match="is of another audit"):
        other.finish(again, again / ".work", (record, read_verdicts(path, geometry=False), path), 0.0)
