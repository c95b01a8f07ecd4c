"""`bench noise` as a user calls it, on a small landscape and a small project."""

import json

import numpy as np
import pytest
import rasterio
import yaml
from tests.data.scenery import grid, halves, image_of, write
from tests.projects import LEGEND, TINY, call, small_project

from mapmend.audit.job import audit_project
from mapmend.audit.settings import AuditSettings
from mapmend.bench import noise as noise_verb
from mapmend.bench.ground import landscape_ground, project_ground
from mapmend.bench.noises import parse_noises
from mapmend.bench.planting import TAG, plant
from mapmend.project import load_project

SMALL = ("--size", 128, "--steps", 2, "--seeds", 1, "--methods", "tiny", "--presets", "own.yaml")


@pytest.fixture
def say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = {**TINY, "crop": 32, "workers": 0}
    own = {"tiny": tiny, "slow": {**tiny, "lr": 1e-6}, "odd": {"learning_rate": 1}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    return lambda *words: call(monkeypatch, capsys, "bench", "noise", *words)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def miou_of(map_, truth):
    """By sets of pixels, over the classes that the truth has."""
    shares = []
    for code in np.unique(truth[truth != 255]):
        both = (map_ == code) & (truth != 255)
        shares.append((both & (truth == code)).sum() / (both | (truth == code)).sum())
    return float(np.mean(shares))


def test_from_noise_to_a_table(say, tmp_path):
    code, printed, told = say("--noise", "outdated", *SMALL, "--out", "out", "--json", "out.json")
    assert code == 0, told
    assert "outdated" in printed and "the label itself" in printed
    [trial] = json.loads((tmp_path / "out.json").read_text())["trials"]
    truth = read("out/ground/128-0/truth_2023-05-16.tif")
    truth[read("out/ground/128-0/valid_2023-05-16.tif") == 0] = 255
    outdated = read("out/ground/128-0/truth_2018-08-24.tif")
    assert trial["label"]["miou"] == pytest.approx(miou_of(outdated, truth))
    assert trial["wrong"] == pytest.approx((outdated != read("out/ground/128-0/truth_2023-05-16.tif")).mean())
    assert 0 < trial["map"]["miou"] < 0.5 and len(trial["map"]["iou"]) == len(np.unique(truth)) - 1
    assert not list((tmp_path / "out/work").iterdir())


def test_a_mended_label_is_scored_in_the_place_of_a_map(say, tmp_path, monkeypatch):
    written = []

    def audited(project, folder, **_):
        result = audit_project(project, folder, AuditSettings(folds=2))
        written.append(read(folder / "audit" / "mended.tif"))
        return result

    monkeypatch.setattr(noise_verb, "audit_project", audited)
    path = small_project(tmp_path, steps=[{"train": {**TINY, "crop": 32, "workers": 0}}, {"predict": {"window": 64}}])
    words = ("--noise", "swap", "--methods", "mended", "--steps", 2, "--seeds", 1, "--out", "out")
    code, _, told = say(path, *words, "--json", "out.json")
    assert code == 0, told
    [trial] = json.loads((tmp_path / "out.json").read_text())["trials"]
    truth = read("truth.tif")
    assert trial["map"]["miou"] == pytest.approx(miou_of(written[0], truth))


@pytest.fixture
def trained(monkeypatch):
    """Trials that take no time: the steps of those that are run."""
    steps = []

    def trial(project, *_):
        steps.append(project.train_settings().loop.steps)
        return {"label": {"miou": 0.5}, "map": {"miou": 0.25 * len(steps)}}

    monkeypatch.setattr(noise_verb, "_trial", trial)
    return steps


def test_nothing_is_done_twice_and_other_settings_are_another_trial(say, tmp_path, trained):
    words = ("--noise", "swap,shift", *SMALL, "--out", "out")
    assert say(*words, "--json", "first.json")[0] == 0 and len(trained) == 2
    assert say(*words, "--json", "second.json")[0] == 0 and len(trained) == 2
    assert (tmp_path / "second.json").read_text() == (tmp_path / "first.json").read_text()
    lines = (tmp_path / "out/results.jsonl").read_text()
    (tmp_path / "out/results.jsonl").write_text(lines[:-20])  # a kill in the middle of the last line
    assert say(*words)[0] == 0 and len(trained) == 3
    assert say(*(3 if word == 2 else word for word in words))[0] == 0 and trained == [2, 2, 2, 3, 3]
    assert say("--noise", "swap:rate=0.3", *SMALL, "--out", "out")[0] == 0 and len(trained) == 6
    assert say(*(96 if word == 128 else word for word in words))[0] == 0 and len(trained) == 8


def test_what_stops_one_noise_is_said_before_any_trial(say, tmp_path, trained):
    assert say(small_project(tmp_path), "--noise", "shift,outdated", "--methods", "ce", "--out", "out")[0] == 2
    assert not trained


def test_a_noisy_label_says_how_it_was_made(tmp_path):
    ground = landscape_ground(tmp_path / "ground", 128, 3)
    [noise] = parse_noises(["coarse:block=16:misplaced=no"])
    plant(ground, noise, 5, tmp_path / "one")
    plant(ground, noise, 5, tmp_path / "two")
    path = tmp_path / "one/landscape-3.tif"
    assert (read(path) == read(tmp_path / "two/landscape-3.tif")).all()
    with rasterio.open(path) as file:
        made = json.loads(file.tags()[TAG])
    assert made["noise"] == "coarse" and made["settings"] == {"block": 16, "misplaced": False} and made["seed"] == 5
    truth, label = read(tmp_path / "ground/truth_2023-05-16.tif"), read(path)
    assert made["rate"] == pytest.approx((truth != label).mean())
    for row in range(0, 128, 16):  # the majority of each square, by counting
        for col in range(0, 128, 16):
            square = np.bincount(truth[row : row + 16, col : col + 16].ravel())
            assert square[label[row, col]] == square.max()
    listed = (tmp_path / "one/scenes.csv").read_text().splitlines()
    row = dict(zip(listed[0].split(","), listed[1].split(","), strict=True))
    assert (
        row["trust"] == "coarse"
        and float(row["label_gsd"]) == pytest.approx(16, rel=1e-3)
        and row["date"] == "2023-05-16"
    )


def test_places_of_a_project_are_those_that_are_trusted(tmp_path):
    """The label of a place with a reference is not the truth; a site marked for testing takes no part."""
    path = small_project(tmp_path)
    write(tmp_path / "other.tif", halves(192, 256)[:, ::-1].copy(), grid(192, 256, east=4000), nodata=255)
    write(tmp_path / "far.tif", image_of(halves(192, 256)), grid(192, 256, east=4000))
    plain = yaml.safe_load(path.read_text())
    far = {"image": "far.tif", "label": "other.tif", "trust": "reference"}
    plain["scenes"] += [{**far, "site": "far", "split": "test"}, {**far, "site": "away"}]
    plain["scenes"].append({**far, "site": "doubted", "trust": "noisy"})
    path.write_text(yaml.safe_dump(plain))
    ground = project_ground(load_project(path), tmp_path / "ground")
    truth = {place.site.name: read(place.truth) for place in ground.places}
    assert set(truth) == {"here", "away"}
    assert (truth["here"] == halves(192, 256)).all() and (truth["away"] == 3 - halves(192, 256)).all()
    assert ground.train["encoder"] == TINY["encoder"] and ground.predict == {"window": 64, "overlap": 16}


def test_some_places_are_taken_evenly(tmp_path):
    path = small_project(tmp_path)
    plain = yaml.safe_load(path.read_text())
    [scene], [reference] = plain["scenes"], plain["reference"]
    plain["scenes"] = [{**scene, "site": f"s{number}"} for number in range(6)]
    plain["reference"] = [{**reference, "site": f"s{number}"} for number in range(6)]
    path.write_text(yaml.safe_dump(plain))
    ground = project_ground(load_project(path), tmp_path / "ground", most=3)
    assert [place.site.name for place in ground.places] == ["s0", "s2", "s4"]


def one_class(folder):
    path = small_project(folder)
    write(folder / "truth.tif", np.ones((192, 256), np.uint8), grid(192, 256), nodata=255)
    return path


def untrusted(folder):
    return small_project(folder, reference=None, legend=LEGEND)


@pytest.mark.parametrize(
    "place, words, told",
    [
        (None, ("--noise", "swop"), "unknown noise 'swop'; did you mean 'swap'?"),
        (None, ("--noise", "swap:rat=1"), "unknown key 'rat'; did you mean 'rate'?"),
        (None, ("--noise", "swap:rate"), "'rate' of 'swap:rate' is not key=value"),
        (None, ("--noise", "swap,swap"), "'swap' is given twice"),
        (None, ("--noise", ""), "no noise is asked for"),
        (None, ("--methods", "c2fnte"), "unknown method 'c2fnte'; did you mean 'c2fnet'?"),
        (
            None,
            ("--methods", "odd", "--presets", "own.yaml", "--size", "128"),
            "method 'odd': unknown key 'learning_rate'",
        ),
        (None, ("--presets", "none.yaml"), "none.yaml: does not exist"),
        (small_project, ("--size", "128"), "--size: a size is that of the generated landscape"),
        (small_project, ("--noise", "outdated"), "'outdated' needs the label of an earlier date"),
        (untrusted, (), "no label is said to be right"),
        (one_class, ("--noise", "shift"), "hold fewer than two classes"),
    ],
)
def test_bad_input_is_one_line(say, tmp_path, place, words, told):
    given = [place(tmp_path)] if place else []
    code, printed, error = say(*given, *words, "--out", "out")
    assert code == 2 and not printed
    assert len(error.strip().splitlines()) == 1 and told in error
    assert not (tmp_path / "out/results.jsonl").exists()
