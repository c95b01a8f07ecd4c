"""A map of many classes scored on fewer, by groups, with names that say whether the places were trained on."""

import json

import numpy as np
import pytest
import rasterio
import yaml
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LEGEND, LOOP, TINY, call, small_project

FINE = {
    "name": "fine",
    "classes": [{"id": code, "name": f"c{code}", "color": f"#0000{code:02x}"} for code in (11, 12, 21, 22)],
}
PARTS = {11: 1, 12: 1, 21: 2}  # 22 means nothing in the coarser legend


@pytest.fixture
def cli(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def project(folder):
    """Two places with labels of four classes and one without; references of two classes for all."""
    (folder / "two.yaml").write_text(yaml.safe_dump(LEGEND))
    (folder / "parts.yaml").write_text(
        yaml.safe_dump(
            {"source": "fine", "target": "two", "mapping": {"left": [11, 12], "right": [21]}, "ignore": [22]}
        )
    )
    rows, references = [], []
    for number, (name, split) in enumerate((("de_a", "train"), ("de_b", "val"), ("ny_c", "test"))):
        on, ids = grid(96, 96, east=1000 * number), halves(96, 96)
        fine = ids * 10 + np.where(np.arange(96)[:, None] < 48, 1, 2)
        write(folder / f"{name}.tif", image_of(fine // 2, seed=number), on)
        write(folder / f"{name}_label.tif", fine.astype(np.uint8), on)
        write(folder / f"{name}_truth.tif", ids, on, nodata=255)
        label = {"label": f"{name}_label.tif"} if split != "test" else {}
        rows.append({"site": name, "image": f"{name}.tif", "split": split, **label})
        references.append({"site": name, "label": f"{name}_truth.tif"})
    steps = [{"train": {**TINY, **LOOP, "crop": 32}}, {"predict": {"window": 32, "overlap": 8}}]
    return small_project(
        folder,
        legend=FINE,
        scenes=rows,
        reference=references,
        score_as={"legend": "two.yaml", "crosswalk": "parts.yaml"},
        steps=[*steps, {"report": {"group_by": "{state}_*"}}],
    )


def naive(out, folder, names):
    """Mean IoU and pixels without a class of some places, pixel by pixel; the arg-max first, then the two classes."""
    made, true = [], []
    for name in names:
        with rasterio.open(out / "map" / name / "class.tif") as file:
            made += [PARTS.get(code, 0) for code in file.read(1).ravel().tolist()]
        with rasterio.open(folder / f"{name}_truth.tif") as file:
            true += file.read(1).ravel().tolist()
    ious = [
        sum(m == t == c for m, t in zip(made, true, strict=True))
        / sum(c in (m, t) for m, t in zip(made, true, strict=True))
        for c in (1, 2)
    ]
    return np.mean(ious), made.count(0)


def test_a_project_is_scored_in_other_classes_than_its_own(tmp_path, cli):
    path, out = project(tmp_path), tmp_path / "out"
    code, _, err = cli("run", path, "--out", out)
    assert code == 0, err
    found = json.loads((out / "accuracy.json").read_text())["accuracy"]
    assert [one["name"] for one in found["map"]["classes"]] == ["left", "right"]
    miou, nothing = naive(out, tmp_path, ["de_a", "de_b", "ny_c"])
    assert found["map"]["miou"] == pytest.approx(miou) and found["map"]["missing"] == nothing
    states = [naive(out, tmp_path, names)[0] for names in (["de_a", "de_b"], ["ny_c"])]
    assert found["transductive"] is True
    assert found["headline"]["miou_transductive"] == pytest.approx(miou)
    assert found["headline"]["miou_state_mean_transductive"] == pytest.approx(np.mean(states))
    assert set(found["groups"]) == {"de", "ny"} and "miou" not in found["headline"]
    places = json.loads((out / "model" / "model.json").read_text())["provenance"]["trained_on"]
    assert {one["site"]: one["role"] for one in places} == {"de_a": "train", "de_b": "val"}
    assert "trained on the labels of sites that are scored here" in (out / "report.html").read_text()

    plain = yaml.safe_load(path.read_text())
    plain["reference"] = [row for row in plain["reference"] if row["site"] == "ny_c"]
    path.write_text(yaml.safe_dump({**plain, "name": "elsewhere"}))
    code, _, err = cli("run", path, "--out", tmp_path / "other")
    assert code == 0, err
    found = json.loads((tmp_path / "other" / "accuracy.json").read_text())["accuracy"]
    assert found["transductive"] is False and found["headline"]["miou"] == pytest.approx(found["map"]["miou"])
    assert "scored here" not in (tmp_path / "other" / "report.html").read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score_as": "chesapeake5"}, ["chesapeake5", "did you mean"]),
        ({"score_as": "chesapeake4"}, ["'two'", "chesapeake4"]),
        ({"score_as": {"legend": "chesapeake4", "by": "x"}}, ["by"]),
        ({"steps": [{"report": {"group_by": "state_*"}}]}, ["group_by", "state_*"]),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(tmp_path, cli, changes, words):
    code, _, err = cli("prepare", small_project(tmp_path, **changes), "--out", tmp_path / "out")
    assert code == 2 and all(word in err for word in words), err
    assert not (tmp_path / "out").exists()
