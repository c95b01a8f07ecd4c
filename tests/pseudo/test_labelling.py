"""From models and a manifest to labels that another project can learn from."""

import json
import shutil
import warnings

import numpy as np
import pytest
import rasterio
import torch
from tests.projects import call
from tiny_scenes import TRANSFORM, random_pixels, read, sensor, write_image

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import LabelError, ManifestError, ModelError, ProjectError, RasterError
from mapmend.core.manifest import parse_manifest
from mapmend.nn.build import build_network
from mapmend.nn.model_folder import ModelCard, save_model
from mapmend.nn.spec import NetworkSpec
from mapmend.pseudo import job as module
from mapmend.pseudo import labelling
from mapmend.pseudo.labelling import pseudo_manifest
from mapmend.pseudo.settings import PseudoSettings

CLASSES = (LegendClass(3, "low", "#0000aa"), LegendClass(7, "high", "#00aa00"), LegendClass(9, "other", "#aa0000"))


def model(folder, seed, classes=CLASSES, bands=2):
    spec = NetworkSpec("resnet10t", "fpn", bands, len(classes), (100.0,) * bands, (50.0,) * bands, (32, 32))
    torch.manual_seed(seed)
    network, _ = build_network(spec)
    network.train()
    pixels = torch.from_numpy(random_pixels(64, 64, bands, seed=3)).float()[None].repeat(2, 1, 1, 1)
    for _ in range(20):  # batch norms see what they will see, so that maps have more than one class
        network(pixels)
    card = sensor(bands, "camera")
    legend = Legend("three", tuple(classes))
    return save_model(
        folder,
        network,
        ModelCard(network.spec, {"cam": card.to_dict()}, legend.to_dict(), 64, 16, ("cam.b0", "cam.b1")[:bands]),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [model(folder / str(seed), seed) for seed in (1, 2)]


@pytest.fixture
def manifest(tmp_path):
    for number in (1, 2):
        pixels = random_pixels(70, 90, 2, seed=number)
        pixels[:, :20, :30] = 0
        write_image(tmp_path / f"{number}.tif", pixels)
    text = "site,sensor,image,split\na,cam,1.tif,train\nb,cam,2.tif,train\nb,radar,2.tif,train\nc,radar,2.tif,train\n"
    (tmp_path / "scenes.csv").write_text(text + "d,cam,2.tif,test\n")
    return tmp_path / "scenes.csv"


def test_labels_are_georeferenced_and_a_new_manifest_points_to_them(models, manifest, tmp_path):
    result = pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu")
    assert result.places == ("a", "b")  # c has no image that the model reads, d is a test place
    with rasterio.open(tmp_path / "out/a/label.tif") as file:
        assert file.transform == TRANSFORM and file.crs.to_epsg() == 32633 and file.nodata == 255
        ids = file.read(1)
    sure = read(tmp_path / "out/a/confidence.tif")
    assert (ids[:20, :30] == 255).all() and set(np.unique(ids)) <= {3, 7, 9, 255}
    np.testing.assert_array_equal(ids == 255, sure == 255)
    rows = parse_manifest(result.manifest.read_text(), where="new", folder=result.manifest.parent)
    assert [(row.site, row.sensor, row.trust) for row in rows] == [
        ("a", "cam", "pseudo"),
        ("b", "cam", "pseudo"),
        ("b", "radar", "pseudo"),
    ]
    assert rows[0].label == str((tmp_path / "out/a/label.tif").absolute()) and rows[0].label_confidence
    record = json.loads((tmp_path / "out/mapmend.json").read_text())
    assert len(record["config"]["models"][0]["weights"]) == 64 and record["config"]["settings"]["keep"] == 1.0
    assert not (tmp_path / "out/.work").exists()


def test_labels_rest_on_the_places_own_class_shares_where_these_are_asked_for(manifest, tmp_path, monkeypatch):
    one = model(tmp_path / "told", 1)
    settings = PseudoSettings(shares="estimated", allow_empty=True)
    with pytest.raises(ModelError, match="how common each class was") as fault:
        pseudo_manifest(manifest, [one], tmp_path / "out", settings, device="cpu")
    assert "train it again" in str(fault.value) and not (tmp_path / "out/a").exists()
    card = json.loads((one / "model.json").read_text())
    card["provenance"]["class_shares"] = [0.1, 0.7, 0.2]
    (one / "model.json").write_text(json.dumps(card))
    result = pseudo_manifest(manifest, [one], tmp_path / "out", settings, device="cpu")
    (found,) = result.shares
    assert found["high"]["learned"] == 0.7 and sum(row["estimated"] for row in found.values()) == pytest.approx(1)
    assert result.to_dict()["shares"] == [found]
    plain = pseudo_manifest(manifest, [one], tmp_path / "plain", PseudoSettings(allow_empty=True), device="cpu")
    kept = [np.array([row.kept for row in made.table.classes]) / made.table.mapped for made in (plain, result)]
    estimated = np.array([found[entry.name]["estimated"] for entry in CLASSES])
    more = estimated > np.array([0.1, 0.7, 0.2])
    assert (kept[1][more] >= kept[0][more]).any() and not np.array_equal(*kept)
    monkeypatch.setattr(labelling, "class_shares", lambda *given: pytest.fail("was known"))
    again = pseudo_manifest(manifest, [one], tmp_path / "out", settings, device="cpu")
    assert again.shares == result.shares


def test_shares_that_run_to_one_class_are_warned_of(manifest, tmp_path, monkeypatch):
    one = model(tmp_path / "told", 1)
    card = json.loads((one / "model.json").read_text())
    card["provenance"]["class_shares"] = [0.1, 0.7, 0.2]
    (one / "model.json").write_text(json.dumps(card))
    settings = PseudoSettings(shares="estimated", allow_empty=True)
    monkeypatch.setattr(labelling, "class_shares", lambda *given: np.array([0.01, 0.97, 0.02]))
    with pytest.warns(UserWarning, match="finds 'high' on 97 % of these places, 70 % of the model's labels"):
        pseudo_manifest(manifest, [one], tmp_path / "out", settings, device="cpu")
    monkeypatch.setattr(labelling, "class_shares", lambda *given: np.array([0.1, 0.8, 0.1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pseudo_manifest(manifest, [one], tmp_path / "other", settings, device="cpu")


def test_the_table_counts_what_the_files_hold(models, manifest, tmp_path):
    result = pseudo_manifest(
        manifest,
        models,
        tmp_path / "out",
        PseudoSettings(combine="agreement", keep=0.5, allow_empty=True),
        device="cpu",
    )
    alone = [
        pseudo_manifest(manifest, [one], tmp_path / f"alone{number}", device="cpu") and tmp_path / f"alone{number}"
        for number, one in enumerate(models)
    ]
    same, known, kept = 0, 0, np.zeros(256, int)
    for place in ("a", "b"):
        one, other = (read(folder / place / "label.tif") for folder in alone)
        label = read(tmp_path / "out" / place / "label.tif")
        assert (label[(one != other)] == 255).all()
        np.testing.assert_array_equal(label[label != 255], one[label != 255])
        same += int(((one == other) & (one != 255)).sum())
        known += int((one != 255).sum())
        kept += np.bincount(label.ravel(), minlength=256)
    assert result.table.agreements[0].pixels == pytest.approx(same / known)
    assert result.table.mapped == known
    for row, entry in zip(result.table.classes, CLASSES, strict=True):
        assert row.kept == kept[entry.id] and sum(row.histogram) == row.agreed
        assert row.kept >= 0.5 * row.agreed


def test_agreement_with_the_place_s_own_label(models, manifest, tmp_path, monkeypatch):
    given = np.full((70, 90), 3, np.uint8)
    given[:, 45:] = 9
    write_image(tmp_path / "own.tif", given[None], nodata=255)
    manifest.write_text("site,sensor,image,label\na,cam,1.tif,own.tif\n")
    settings = PseudoSettings(combine="label", allow_empty=True)
    pseudo_manifest(manifest, models[:1], tmp_path / "out", settings, device="cpu")
    label = read(tmp_path / "out/a/label.tif")
    assert (label != 255).any()
    np.testing.assert_array_equal(label[label != 255], given[label != 255])
    with monkeypatch.context() as patch:
        patch.setattr(module, "predict_scene", None)  # it is finished
        pseudo_manifest(manifest, models[:1], tmp_path / "out", settings, device="cpu")
    manifest.write_text("site,sensor,image\na,cam,1.tif\n")
    with pytest.raises(LabelError, match="no label to agree with"):
        pseudo_manifest(manifest, models[:1], tmp_path / "none", settings, device="cpu")


def test_a_finished_job_returns_at_once_and_other_settings_make_it_again(models, manifest, tmp_path, monkeypatch):
    calls = []
    real = module.predict_scene
    monkeypatch.setattr(module, "predict_scene", lambda *a, **k: calls.append(1) or real(*a, **k))
    first = pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu")
    before, calls[:] = (tmp_path / "out/a/label.tif").read_bytes(), []
    assert pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu") == first
    assert not calls and (tmp_path / "out/a/label.tif").read_bytes() == before
    less = pseudo_manifest(manifest, models[:1], tmp_path / "out", PseudoSettings(keep=0.2), device="cpu")
    assert calls and less.table.kept_share < first.table.kept_share


def test_an_interrupted_job_goes_on_with_the_maps_it_has(models, manifest, tmp_path, monkeypatch):
    real, seen = module.predict_scene, []

    def stopping(predictor, scene, *args, **how):
        seen.append(scene.name)
        if seen == ["a", "b"]:
            raise KeyboardInterrupt
        return real(predictor, scene, *args, **how)

    monkeypatch.setattr(module, "predict_scene", stopping)
    with pytest.raises(KeyboardInterrupt):
        pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu")
    [kept] = (tmp_path / "out/.work").glob("*/a/class.tif")
    stamp = kept.stat().st_mtime_ns
    stamps = []

    def noting(*args, **how):
        made = real(*args, **how)
        stamps.append(kept.stat().st_mtime_ns)
        return made

    monkeypatch.setattr(module, "predict_scene", noting)
    pseudo_manifest(manifest, models[:1], tmp_path / "other", PseudoSettings(batch=1), device="cpu")
    shutil.copytree(tmp_path / "out", tmp_path / "again")
    pseudo_manifest(manifest, models[:1], tmp_path / "again", PseudoSettings(batch=1), device="cpu")
    assert (tmp_path / "again/a/label.tif").read_bytes() == (tmp_path / "other/a/label.tif").read_bytes()
    stamps.clear()
    pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu")
    assert stamps == [stamp, stamp]


def test_what_cannot_be_labelled_is_refused_in_one_line_and_nothing_is_written(models, manifest, tmp_path):
    other = model(tmp_path / "other", 5, CLASSES[:2])
    cases = [
        ([models[0], other], PseudoSettings(combine="mean"), ModelError, "its legend 'three'"),
        ([models[0], other], PseudoSettings(combine="agreement"), ModelError, "its legend 'three'"),
        (models, PseudoSettings(), ProjectError, "'combine: single' wants one model, and 2 are given"),
        (models[:1], PseudoSettings(combine="agreement"), ProjectError, "wants at least 2 models"),
    ]
    for chosen, settings, kind, told in cases:
        with pytest.raises(kind, match=told) as fault:
            pseudo_manifest(manifest, chosen, tmp_path / "out", settings, device="cpu")
        assert "\n" not in str(fault.value) and not (tmp_path / "out").exists()
    manifest.write_text("site,sensor,image\nc,radar,2.tif\n")
    with pytest.raises(ManifestError, match="no place has images of cam"):
        pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu")
    write_image(tmp_path / "1.tif", np.zeros((2, 70, 90), np.uint8))
    manifest.write_text("site,sensor,image\na,cam,1.tif\n")
    with pytest.raises(RasterError, match="scene 'a': has no valid pixel"):
        pseudo_manifest(manifest, models[:1], tmp_path / "out", device="cpu")
    assert not list((tmp_path / "out").rglob("*.tif"))


def test_a_class_that_is_left_empty_is_refused_unless_it_may_be(models, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(
        module, "combined", lambda maps, given: (np.where(maps[0][0] == 0, 255, maps[0][0]), maps[0][1])
    )
    shown = pseudo_manifest(manifest, models[:1], tmp_path / "out", PseudoSettings(allow_empty=True), device="cpu")
    if not shown.table.classes[0].shown:
        pytest.skip("the random network shows no pixel of the first class")
    with pytest.raises(LabelError, match="class 'low' has no pixel left after selection"):
        pseudo_manifest(manifest, models[:1], tmp_path / "refused", device="cpu")
    assert not (tmp_path / "refused/scenes.csv").exists() and not (tmp_path / "refused/a").exists()


def test_the_command_line_prints_the_table(models, manifest, tmp_path, monkeypatch, capsys):
    code, out, err = call(
        monkeypatch, capsys, "pseudo", manifest, "--model", models[0], "--out", tmp_path / "out", "--device", "cpu"
    )
    assert code == 0 and "low" in out and "scenes.csv" in err
    code, _, err = call(
        monkeypatch, capsys, "pseudo", manifest, "--model", models[0], "--out", tmp_path / "x", "--combine", "mean"
    )
    assert code == 2 and err.count("\n") == 1 and not (tmp_path / "x").exists()
