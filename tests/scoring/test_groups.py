"""`mapmend score` by groups, through crosswalks, and with a model that may have seen the places."""

import json

import numpy as np
import pytest
from tests.nn.tiny_networks import card_of, network_of
from tests.projects import call
from tests.scoring.test_score import folder, result, tif

from mapmend.core.errors import MapmendError
from mapmend.core.grid import make_grid
from mapmend.core.places import TRAINED_ON, TrainedPlace, merged, trained_places


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def test_each_state_has_one_matrix_and_counts_as_one(cli, tmp_path):
    """Two small tiles of one state and a large one of another; a naive count of each state's pixels."""
    rng = np.random.default_rng(3)
    sizes = {"de_a": (4, 5), "de_b": (6, 3), "ny_a": (30, 20)}
    truth = {name: rng.integers(0, 3, size) for name, size in sizes.items()}
    made = {name: np.where(rng.random(pixels.shape) < 0.7, pixels, 0) for name, pixels in truth.items()}
    found, out = result(
        cli,
        tmp_path,
        folder(tmp_path / "p", **made),
        folder(tmp_path / "r", **truth),
        *("--classes", 4, "--ring", 0, "--group-by", "{state}_*"),
    )
    ious, accuracies = {}, {}
    for state in ("de", "ny"):
        true, guess = (
            np.concatenate([one[name].ravel() for name in sizes if name.startswith(state)]) for one in (truth, made)
        )
        ious[state] = [((true == c) & (guess == c)).sum() / ((true == c) | (guess == c)).sum() for c in range(3)]
        accuracies[state] = [((true == c) & (guess == c)).sum() / (true == c).sum() for c in range(3)]
    figures = found["map"]
    assert figures["miou_state_mean"] == pytest.approx(np.mean([np.mean(one) for one in ious.values()]))
    assert figures["miou_all_classes_state_mean"] == pytest.approx(np.mean([sum(one) / 4 for one in ious.values()]))
    assert figures["macc_state_mean"] == pytest.approx(np.mean([np.mean(one) for one in accuracies.values()]))
    assert figures["miou_state_mean"] != pytest.approx(figures["miou_pooled"])
    rows = {row["name"]: row for row in figures["groups"]}
    assert {name: (row["images"], row["pixels"]) for name, row in rows.items()} == {"de": (2, 38), "ny": (1, 600)}
    assert np.sum(rows["ny"]["confusion"]["counts"]) == 600
    assert "miou_state_mean" in out and "Groups" in out


def test_mean_class_accuracy_is_not_overall_accuracy(cli, tmp_path):
    truth, made = [[0] * 9 + [1]], [[0] * 10]
    found, _ = result(cli, tmp_path, folder(tmp_path / "p", a=made), folder(tmp_path / "r", a=truth), "--classes", 2)
    assert found["map"]["oa_pooled"] == 0.9 and found["map"]["macc_pooled"] == 0.5


def test_17_codes_are_scored_as_four_classes_after_the_arg_max(cli, tmp_path):
    """The benchmark's table, pair by pair: what is mapped as ice or as nothing is an error, reference 15 is nodata."""
    codes = {1: [11], 2: [41, 42, 43, 90], 3: [31, 52, 71, 81, 82, 95], 4: [21, 22, 23, 24], 0: [12, 0]}
    references = {1: [1], 2: [2], 3: [3], 4: [4, 5, 6], 0: [0, 15]}
    of_code = {code: meaning for meaning, listed in codes.items() for code in listed}
    of_reference = {code: meaning for meaning, listed in references.items() for code in listed}
    made, true = np.meshgrid(list(of_code), list(of_reference), indexing="ij")
    found, _ = result(
        cli,
        tmp_path,
        folder(tmp_path / "p", wv_a=made),
        folder(tmp_path / "r", wv_a=true),
        *("--legend", "chesapeake4", "--pred-legend", "nlcd17", "--ref-legend", "chesapeake", "--ring", 0),
        *("--group-by", "{state}_*"),
    )
    pairs = [(of_reference[t], of_code[m]) for t, m in zip(true.ravel(), made.ravel(), strict=True)]
    scored = [(t, m) for t, m in pairs if t]
    assert found["pixels"] == len(scored)
    assert found["map"]["oa_pooled"] == pytest.approx(np.mean([t == m for t, m in scored]))
    iou = [sum(t == m == c for t, m in scored) / sum(c in (t, m) for t, m in scored) for c in (1, 2, 3, 4)]
    assert found["map"]["miou_state_mean"] == pytest.approx(np.mean(iou))
    [group] = found["map"]["groups"]
    assert group["confusion"]["missing"] == [2, 2, 2, 6]  # 12 and 0, for each of the reference's codes


def test_maps_of_a_project_are_paired_by_their_folders(cli, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "map" / name).mkdir(parents=True)
        tif(tmp_path / "map" / name / "class.tif", [[1, 2]])
    (tmp_path / "r").mkdir()
    tif(tmp_path / "r" / "a.tif", [[1, 1]])
    found, _ = result(cli, tmp_path, tmp_path / "map", tmp_path / "r", "--ring", 0)
    assert found["images"] == 1 and found["map"]["oa_pooled"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--group-by", "state_*"], ["state_*", "{state}_*"]),
        (["--group-by", "{state}x*"], ["'de_a'", "{state}x*"]),
        (["--pred-legend", "nlcd17"], ["--legend"]),
        (["--legend", "chesapeake4", "--pred-legend", "nlcd71"], ["nlcd71", "chesapeake4"]),
        (["--model", "nowhere"], ["nowhere", "model"]),
    ],
)
def test_what_does_not_fit_is_refused(cli, tmp_path, arguments, words):
    one = folder(tmp_path / "p", de_a=[[1]]), folder(tmp_path / "r", de_a=[[1]])
    code, _, err = cli("score", *one, *arguments)
    [line] = [line for line in err.splitlines() if line.startswith("mapmend: ")]
    assert code == 2 and all(word in line for word in words), err


def model_of(path, *places):
    """A model's folder whose card lists these places; none at all for None."""
    from mapmend.nn.model_folder import save_model

    network = network_of()
    provenance = {} if places == (None,) else {TRAINED_ON: [place.to_dict() for place in places]}
    return save_model(path, network, card_of(network, provenance=provenance))


def place(name, role="train", west=0.0, crs="EPSG:32633"):
    from affine import Affine

    return TrainedPlace(name, role, make_grid((20, 20), Affine(1, 0, west, 0, -1, 100), crs))


def test_figures_of_places_that_were_trained_on_say_so_in_their_names(cli, tmp_path):
    one, other = tmp_path / "here.tif", tmp_path / "truth.tif"
    tif(one, np.ones((20, 20)), west=500_000)
    tif(other, np.ones((20, 20)), west=500_000)
    for near, suffix in ((500_010, "_transductive"), (510_000, "")):
        model = model_of(tmp_path / f"model{near}", place("else", west=near))
        found, out = result(cli, tmp_path, one, other, "--classes", 2, "--ring", 0, "--model", model)
        assert found["map"][f"miou_pooled{suffix}"] == 1.0
        assert all(name.endswith(suffix) for name in found["map"] if name not in ("classes", "absent"))
        assert ("miou_pooled" in found["map"]) == (not suffix)
        assert found["seen"] == {"trained": ["truth"] if suffix else [], "validated": []}
        assert ("trained on" in out) == bool(suffix)


def test_without_a_place_on_earth_the_name_tells(cli, tmp_path):
    made, true = folder(tmp_path / "p", a=[[1]], b=[[1]], c=[[1]]), folder(tmp_path / "r", a=[[1]], b=[[1]], c=[[1]])
    model = model_of(tmp_path / "model", place("a", crs=None), place("b", "val", crs=None))
    found, out = result(cli, tmp_path, made, true, "--classes", 2, "--ring", 0, "--model", model)
    assert found["seen"] == {"trained": ["a"], "validated": ["b"]} and "oa_pooled_transductive" in found["map"]
    assert "chosen or calibrated" in out


def test_a_model_that_does_not_say_what_it_saw_is_refused(cli, tmp_path):
    made, true = folder(tmp_path / "p", a=[[1]]), folder(tmp_path / "r", a=[[1]])
    code, _, err = cli("score", made, true, "--model", model_of(tmp_path / "model", None))
    assert code == 2 and "trained on" in err


def test_places_keep_their_strongest_role_and_survive_json():
    places = (place("a", "val"), place("a", "train"), place("b", "val"), place("b", "val", west=50))
    kept = merged(places)
    assert [(one.site, one.role) for one in kept] == [("a", "train"), ("b", "val"), ("b", "val")]
    plain = json.loads(json.dumps({TRAINED_ON: [one.to_dict() for one in kept]}))
    assert trained_places(plain, "model") == kept
    assert trained_places({}, "model") is None
    with pytest.raises(MapmendError):
        trained_places({TRAINED_ON: [{"site": "a"}]}, "model")
