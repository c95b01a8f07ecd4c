"""Three-state maps beside a map: thresholds of the model's own, or set on a reference."""

import json

import numpy as np
import pytest
import rasterio
from tests.data.scenery import grid, halves, write
from tests.projects import LEGEND, LOOP, TINY, call, small_project

from mapmend.certain import of_reference, write_certain
from mapmend.core.legend import Legend
from mapmend.core.three_state import CANNOT_TELL, CLASS, NOT_CLASS
from mapmend.predict.job import MapResult
from mapmend.project import load_project
from mapmend.run import run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certain")
    steps = [{"train": {**TINY, **LOOP}}, {"predict": {"window": 64, "certain": ["left"], "risk": 0.1}}]
    path = small_project(folder, steps=steps)
    run(load_project(path), folder / "out")
    return folder, path


@pytest.fixture
def say(monkeypatch, capsys):
    return lambda *words: call(monkeypatch, capsys, *words)


def states(path):
    with rasterio.open(path) as file:
        return file.read(1), file.tags()


def test_a_model_with_two_held_out_blocks_promises_nothing_and_says_so(done, say):
    folder, path = done
    code, _, told = say("predict", path, "--out", folder / "out")
    assert code == 0 and "cannot be promised" in told
    found, tags = states(folder / "out/map/here/certain_left.tif")
    assert (found == CANNOT_TELL).all() and tags["three_state_upper"] == "none"
    card = json.loads((folder / "out/model/model.json").read_text())
    assert set(card["metrics"]["calibration"]["three_state"]) == {"left", "right"}


def test_thresholds_set_on_a_reference_keep_their_promise_there(done):
    """A model whose probabilities are the truth, written into its map: all of it can be told."""
    folder, path = done
    truth = np.kron(halves(48, 64), np.ones((16, 16))).astype(np.uint8)  # 768 × 1024 pixels: 192 blocks
    write(folder / "wide_truth.tif", truth, grid(768, 1024), nodata=255)
    random = np.random.default_rng(0)
    steps = np.where(truth == 1, random.integers(120, 201, truth.shape), random.integers(0, 100, truth.shape))
    write(folder / "class.tif", truth, grid(768, 1024), nodata=255)
    write(folder / "probability_left.tif", steps.astype(np.uint8), grid(768, 1024), nodata=255)
    made = MapResult(
        folder, folder / "class.tif", folder, 0.0, 0, probability_paths={"left": folder / "probability_left.tif"}
    )
    legend = Legend.from_dict(LEGEND)
    thresholds = of_reference(made, legend, ["left"], 0.05, folder / "wide_truth.tif")
    [one] = write_certain(made, legend, thresholds)
    found, _ = states(folder / "certain_left.tif")
    told = found != CANNOT_TELL
    assert told.mean() > 0.95 and one.shares.abstains == pytest.approx(1 - told.mean())
    assert (truth[found == CLASS] != 1).mean() <= 0.05 and (truth[found == NOT_CLASS] == 1).mean() <= 0.05


@pytest.mark.parametrize(
    "options, said",
    [
        (("--certain", "lft"), "did you mean 'left'"),
        (("--certain", "left", "--risk", "0.07"), "no thresholds at a risk of 0.07"),
        (("--certain", "left", "--certain-reference", "nowhere.tif"), "nowhere.tif"),
    ],
)
def test_what_cannot_be_is_one_line(done, say, options, said):
    folder, path = done
    code, _, told = say("predict", path, "--out", folder / "out", *options)
    assert code == 2 and said in told.strip().splitlines()[-1]
