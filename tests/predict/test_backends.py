import json
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_predictors import Local, predictor
from tiny_scenes import read, sensor

from mapmend.core.errors import ModelError
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec
from mapmend.predict.backends import choose
from mapmend.predict.backends.choose import on_backend
from mapmend.predict.class_shares import class_shares
from mapmend.predict.ensemble import Ensemble
from mapmend.predict.executors.shard import Shard
from mapmend.predict.job import predict_scene, predict_shard
from mapmend.predict.lattice import Lattice
from mapmend.predict.pair import fitted
from mapmend.predict.predictor import TorchPredictor


def _predictor(legend, precision="float32", network=None):
    cards = (sensor(3, "camera0"),)
    return TorchPredictor(
        network or Local(depth=2), legend, cards, Lattice(64, 16), device="cpu", precision=precision, batch=3
    )


@pytest.fixture
def openvino(legend):
    pytest.importorskip("openvino")
    return on_backend(_predictor(legend), "openvino")


def test_openvino_maps_as_torch_does_where_a_class_is_clear(legend, scene, tmp_path):
    pytest.importorskip("openvino")
    torch.manual_seed(2)
    network, _ = build_network(NetworkSpec("tf_efficientnet_lite0", "fpn", 3, 3, (100.0,) * 3, (50.0,) * 3))
    ours = predict_scene(_predictor(legend, network=network), scene, tmp_path / "torch")
    theirs = predict_scene(on_backend(_predictor(legend, network=network), "openvino"), scene, tmp_path / "openvino")
    ids, others = read(ours.class_path), read(theirs.class_path)
    confidence, other = (read(one.confidence_path).astype(int) for one in (ours, theirs))
    assert len(np.unique(ids)) > 2 and np.abs(confidence - other).max() <= 1
    assert (ids != others).mean() < 1e-3 and ((ids == 255) == (others == 255)).all()
    assert json.loads((tmp_path / "openvino/job.json").read_text())["backend"] == "openvino"


def test_openvino_s_bytes_do_not_depend_on_blocks_and_survive_another_process(openvino, scene, tmp_path):
    first = predict_scene(openvino, scene, tmp_path / "map", block=96)
    moved = pickle.loads(pickle.dumps(openvino))
    assert predict_scene(moved, scene, tmp_path / "other").class_path.read_bytes() == first.class_path.read_bytes()


def test_bfloat16_is_what_is_asked_for(legend, scene, tmp_path):
    pytest.importorskip("openvino")
    result = predict_scene(on_backend(_predictor(legend, "bfloat16"), "openvino"), scene, tmp_path / "map")
    plain = predict_scene(_predictor(legend), scene, tmp_path / "plain")
    off = np.abs(read(result.confidence_path).astype(int) - read(plain.confidence_path))
    assert np.quantile(off, 0.95) <= 10
    assert json.loads((tmp_path / "map/job.json").read_text())["precision"] == "bfloat16"


def test_auto_takes_the_faster_backend_and_a_job_that_has_begun_keeps_its_own(legend, scene, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    for faster in ("torch", "openvino"):
        monkeypatch.setattr(choose, "_seconds", lambda one, name=faster: float(one.identity["backend"] != name))
        chosen = on_backend(_predictor(legend), "auto", [tmp_path / faster])
        assert chosen.identity["backend"] == faster
        predict_shard(chosen, scene, tmp_path / faster, Shard(1, 2), block=96)
    monkeypatch.setattr(choose, "_seconds", None)
    for begun in ("torch", "openvino"):
        assert on_backend(_predictor(legend), "auto", [tmp_path / begun]).identity["backend"] == begun


def test_auto_measures_both(legend):
    pytest.importorskip("openvino")
    assert on_backend(_predictor(legend), "auto").identity["backend"] in ("torch", "openvino")


def test_without_openvino_auto_is_torch_and_openvino_is_one_line(legend, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    model = _predictor(legend)
    assert on_backend(model, "auto") is model
    with pytest.raises(ModelError, match=r"mapmend\[openvino\]"):
        on_backend(model, "openvino")


class Hungry:
    """A predictor on a device whose memory holds only so many windows."""

    def __init__(self, inner, most):
        self._inner, self.most, self.batch = inner, most, 8
        self.identity = {**inner.identity, "device": "cuda"}

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def probabilities(self, pixels, valid):
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._inner.probabilities(pixels, valid)


def test_a_batch_that_does_not_fit_is_halved_when_the_job_begins_and_stays_so(legend, scene, tmp_path):
    inner = predictor(Local(), legend)
    predict_shard(Hungry(inner, 3), scene, tmp_path / "map", Shard(1, 2), block=96)
    job = json.loads((tmp_path / "map/job.json").read_text())
    assert (job["batch"], job["batch_asked"]) == (2, 8)
    later = Hungry(inner, 99)
    predict_scene(later, scene, tmp_path / "map", block=96)
    assert later.batch == 2
    with pytest.raises(ModelError, match="single window of 64"):
        predict_scene(Hungry(inner, 0), scene, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_batch_of_what_is_made_of_a_model_is_halved_too(legend, scene, tmp_path):
    inner = predictor(Local(), legend)
    combined = Ensemble([Hungry(inner, 3), Hungry(inner, 3)])
    predict_scene(combined, scene, tmp_path / "map", block=96)
    assert json.loads((tmp_path / "map/job.json").read_text())["batch"] == 2
    with pytest.raises(ModelError, match="smaller --batch"):
        class_shares(Hungry(inner, 0), np.ones(len(legend)), [scene])


def test_models_that_do_without_an_image_run_in_torch_and_do_not_mix_with_others(legend, scene):
    pytest.importorskip("openvino")
    cards = (sensor(3, "camera0"), sensor(1, "camera1"))
    able, other = (
        TorchPredictor(Local(bands=4), legend, cards, Lattice(64, 16), device="cpu", precision="float32", batch=3)
        for _ in range(2)
    )
    able.network.spec = SimpleNamespace(partial=True)
    assert on_backend(able, "auto") is able
    with pytest.raises(ModelError, match="--backend torch"):
        on_backend(able, "openvino")
    assert fitted(Ensemble([able, able]), scene)[1].partial and not fitted(Ensemble([other, other]), scene)[1].partial
    for members in ([able, other], [other, able]):
        with pytest.raises(ModelError, match="only some of the models"):
            fitted(Ensemble(members), scene)


def test_memory_that_is_out_later_fails_in_one_line_and_the_batch_stays(legend, scene, tmp_path):
    model = Hungry(predictor(Local(), legend), 8)
    predict_shard(model, scene, tmp_path / "map", Shard(1, 2), block=96)
    model.most = 7
    with pytest.raises(ModelError, match="memory is out with 8 windows at once") as fault:
        predict_shard(model, scene, tmp_path / "map", Shard(2, 2), block=96)
    assert "\n" not in str(fault.value)
    model.most = 8
    assert predict_shard(model, scene, tmp_path / "map", Shard(2, 2), block=96) is not None
