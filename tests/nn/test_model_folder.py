import errno
import hashlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.nn.tiny_networks import card_of, image_of, network_of, spec_of

from mapmend.core.calibration import Calibration
from mapmend.core.errors import DiskError, MapmendError, ModelError
from mapmend.nn.build import build_network
from mapmend.nn.model_folder import (
    learned_shares,
    load_model,
    model_hash,
    prior_shares,
    read_card,
    save_model,
)


@pytest.fixture(scope="module")
def network():
    return network_of().eval()


@pytest.fixture
def folder(network, tmp_path):
    return save_model(tmp_path / "model", network, card_of(network))


def _rewrite(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _refused(folder, told):
    with pytest.raises(ModelError, match=told) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_model_comes_back_bit_for_bit(network, folder):
    loaded, card = load_model(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert card == read_card(folder)
    assert (card.spec, card.window, card.bands) == (network.spec, 64, ("red", "green", "blue"))
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(image_of()), network(image_of()))


def test_layout_and_device_copies_do_not_change_the_file(network, folder, tmp_path):
    fast = network_of().to(memory_format=torch.channels_last)
    save_model(tmp_path / "fast", fast, card_of(fast))
    assert (tmp_path / "fast" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert model_hash(tmp_path / "fast") == model_hash(folder)


def test_widths_left_to_the_decoder_are_written_out(tmp_path):
    spec = spec_of(decoder="segformer", decoder_widths=())
    network, _ = build_network(spec)
    card = replace(card_of(network), spec=spec)
    assert load_model(save_model(tmp_path, network, card))[1].spec.decoder_widths == (256,)


def test_the_hash_is_of_what_the_output_depends_on(network, folder, tmp_path):
    def hash_of(network=network, **other):
        return model_hash(save_model(tmp_path / "other", network, card_of(network, **other)))

    assert hash_of() == model_hash(folder)
    assert hash_of(metrics={"miou": 0.5}, provenance={"created": "today"}) == model_hash(folder)
    assert hash_of(overlap=32) != model_hash(folder)
    assert hash_of(classes=("water", "tree", "road")) != model_hash(folder)
    assert hash_of(network_of(seed=1)) != model_hash(folder)


def test_what_json_cannot_say_becomes_null(network, tmp_path):
    metrics = {"miou": float("nan"), "classes": [0.5, float("inf")]}
    folder = save_model(tmp_path, network, card_of(network, metrics=metrics))
    assert read_card(folder).metrics == {"miou": None, "classes": [0.5, None]}


def test_folders_that_are_no_models_are_refused(tmp_path):
    _refused(tmp_path / "nothing", "not a model folder")
    _refused(tmp_path, "not a model folder")
    (tmp_path / "model.json").write_text('{"name": "something else"}')
    _refused(tmp_path, "not a mapmend model")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, "\x00\xff"])
def test_a_card_that_is_no_card_is_refused(folder, content):
    (folder / "model.json").write_text(content, encoding="latin-1")
    _refused(folder, "not JSON|not a mapmend model")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema_version": 2}, "schema 2, this version reads 1"),
        ({"format": "other"}, "not a mapmend model"),
        ({"window": "64"}, "window"),
        ({"overlap": 64}, "overlap by 64"),
        ({"overlap": -1}, "overlap by -1"),
        ({"sensors": []}, "sensors"),
        ({"surprise": 1}, "surprise"),
        ({"weights_sha256": "abc"}, "weights_sha256"),
        ({"bands": ["red"]}, "1 band names"),
        ({"legend": {}}, "classes"),
        ({"spec": {}}, "encoder"),
    ],
)
def test_a_card_with_a_wrong_field_is_refused(folder, changes, told):
    _rewrite(folder, **changes)
    _refused(folder, told)


def test_a_calibration_is_part_of_the_model_and_a_card_without_one_is_as_before(network, folder, tmp_path):
    assert "calibration" not in json.loads((folder / "model.json").read_text())
    assert read_card(folder).calibration is None
    before = model_hash(folder)
    _rewrite(folder, calibration=None)  # says the same in more words
    assert model_hash(folder) == before and read_card(folder).calibration is None
    warm = Calibration("vector", weights=(1.0, 0.5, 2.0), biases=(0.0, 0.1, -0.1))
    other = save_model(tmp_path / "warm", network, replace(card_of(network), calibration=warm))
    assert read_card(other).calibration == load_model(other)[1].calibration == warm
    assert model_hash(other) != before


@pytest.mark.parametrize(
    ("calibration", "told"),
    [
        ({"kind": "temperature", "temperature": -1.0}, "above 0"),
        ({"kind": "temperature", "degrees": 2.0}, "unknown key 'degrees'"),
        ({"kind": "vector", "weights": [1.0, 1.0], "biases": [0.0, 0.0]}, "2 classes, its network has 3"),
        ("warm", "calibration"),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(folder, calibration, told):
    _rewrite(folder, calibration=calibration)
    _refused(folder, told)


def test_a_card_cannot_make_timm_load_foreign_files(folder, monkeypatch):
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("a foreign model was built"))
    for encoder in ("hf-hub:someone/model", "local-dir:/tmp/model"):
        _rewrite(folder, spec=json.loads((folder / "model.json").read_text())["spec"] | {"encoder": encoder})
        with pytest.raises(ModelError, match="unknown"):
            load_model(folder)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_damaged_weights_are_refused(folder, damage):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    _refused(folder, "cannot be read" if damage == "missing" else "SHA-256 differs")


class _Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("content", [pickle.dumps(_Bomb()), b"", b"\xff" * 64])
def test_a_pickle_with_a_fitting_hash_is_refused_and_not_run(folder, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    _rewrite(folder, weights_sha256=hashlib.sha256(content).hexdigest())
    _refused(folder, "weights do not fit")
    assert not Path("exploded").exists()


def test_weights_of_another_network_are_refused(folder, tmp_path):
    other = network_of(decoder="unet")
    save_model(tmp_path / "other", other, card_of(other))
    content = (tmp_path / "other" / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content)
    _rewrite(folder, weights_sha256=hashlib.sha256(content).hexdigest())
    _refused(folder, "weights do not fit")


def test_a_card_of_another_network_is_not_saved(network, tmp_path):
    with pytest.raises(ModelError, match="another network"):
        save_model(tmp_path / "new", network, card_of(network_of(mean=(1.0, 2.0, 3.0))))
    assert not (tmp_path / "new").exists()


def _fail_at(monkeypatch, number, fault):
    """Make the n-th of the operations that a saved model needs fail; returns the list of those that were tried."""
    tried = []

    def faulty(original):
        def call(*arguments, **others):
            tried.append(original.__name__)
            if len(tried) == number:
                raise fault
            return original(*arguments, **others)

        return call

    for owner, name in ((os, "fsync"), (os, "replace"), (os, "open"), (Path, "open"), (os, "mkdir")):
        monkeypatch.setattr(owner, name, faulty(getattr(owner, name)))
    return tried


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "full"), PermissionError(errno.EACCES, "no"), _Killed()])
@pytest.mark.parametrize("exists", [True, False])
def test_whatever_fails_the_folder_holds_the_old_model_or_the_new(network, tmp_path, fault, exists):
    new = network_of(seed=1)
    hashes = {model_hash(save_model(tmp_path / name, one, card_of(one))) for name, one in (("a", network), ("b", new))}
    for number in range(1, 100):
        folder = tmp_path / str(number)
        if exists:
            save_model(folder, network, card_of(network))
        with pytest.MonkeyPatch.context() as patch:
            tried = _fail_at(patch, number, fault)
            try:
                save_model(folder, new, card_of(new))
            except (MapmendError, _Killed) as error:
                assert isinstance(error, _Killed) == isinstance(fault, _Killed)
                assert isinstance(error, DiskError) == (getattr(fault, "errno", None) == errno.ENOSPC)
        try:
            assert model_hash(folder) in hashes
        except ModelError:
            assert not exists
        if len(tried) < number:
            break
    assert number > 8
    assert model_hash(folder) == model_hash(tmp_path / "b")
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_an_interrupted_exchange_is_finished_by_the_next_save(network, tmp_path):
    folder = save_model(tmp_path / "model", network, card_of(network))
    new = network_of(seed=1)
    newer = save_model(tmp_path / "new", new, card_of(new))
    (newer / "model.json").rename(folder / "model.json.next")
    assert model_hash(folder) == model_hash(save_model(tmp_path / "again", network, card_of(network)))
    (newer / "model.safetensors").rename(folder / "model.safetensors")
    with torch.inference_mode():
        assert torch.equal(load_model(folder)[0](image_of()), new.eval()(image_of()))
    save_model(folder, network, card_of(network))
    assert not (folder / "model.json.next").exists()


def test_class_shares_of_models_and_what_a_prior_is_divided_by(network, tmp_path):
    models = []
    for name, made in (
        ("plain", {"class_shares": [0.2, 0.8, 0.0]}),
        ("mixtures", {"class_shares": [0.1, 0.9, 0.0], "believed_shares": [0.3, 0.6, 0.1]}),
    ):
        models.append(save_model(tmp_path / name, network, replace(card_of(network), provenance=made)))
    assert learned_shares(models) == pytest.approx((0.15, 0.85, 0.0))
    assert prior_shares(models[:1]) == (0.2, 0.8, 0.0)
    assert prior_shares(models[1:]) == (0.3, 0.9, 0.1)
    assert prior_shares(models) == pytest.approx((0.25, 0.85, 0.05))
    silent = save_model(tmp_path / "silent", network, replace(card_of(network), provenance={}))
    for shares in (learned_shares, prior_shares):
        with pytest.raises(ModelError, match="how common each class was"):
            shares([models[0], silent])
