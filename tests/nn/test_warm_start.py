import pytest
import torch
from tests.nn.tiny_networks import card_of, image_of, network_of

from mapmend.core.errors import ModelError
from mapmend.nn.warm_start import warm_start

RGB = ("red", "green", "blue")
CLASSES = ("water", "tree", "built")
STATISTICS = {
    "red": (90.0, 20.0),
    "green": (100.0, 30.0),
    "blue": (70.0, 25.0),
    "nir": (120.0, 40.0),
    "vv": (50.0, 9.0),
}


def _network(bands=RGB, classes=CLASSES, decoder="fpn", encoder="mobilenetv3_small_050", seed=0):
    mean, std = zip(*(STATISTICS[band] for band in bands), strict=True)
    network = network_of(encoder, decoder, len(bands), seed=seed, classes=len(classes), mean=mean, std=std).eval()
    return network, card_of(network, bands=bands, classes=classes)


@pytest.fixture(scope="module")
def old():
    return _network()


def _goes_on(old, bands=RGB, classes=CLASSES, **other):
    network, card = _network(bands, classes, seed=1, **other)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    return network, start, warm_start(network, old[0], card, old[1])


@torch.inference_mode()
def test_the_same_bands_and_classes_give_the_same_network(old):
    network, start, report = _goes_on(old)
    assert not all(torch.equal(tensor, old[0].state_dict()[name]) for name, tensor in start.items())
    assert torch.equal(network(image_of()), old[0](image_of()))
    assert report.loaded == report.total
    assert "the same bands" in report.describe()
    assert "the same classes" in report.describe()


@torch.inference_mode()
def test_classes_are_matched_by_name(old):
    network, start, report = _goes_on(old, classes=("crop", "built", "water", "snow"))
    logits, before = network(image_of()), old[0](image_of())
    torch.testing.assert_close(logits[:, [1, 2]], before[:, [2, 0]])
    rows = network.head.weight[[0, 3]]
    assert torch.equal(rows, start["head.weight"][[0, 3]])
    assert "classes: kept built water, new, at random, crop snow, gone tree" in report.describe()


@torch.inference_mode()
def test_a_new_order_of_classes_is_a_new_order_of_logits(old):
    network, _, _ = _goes_on(old, classes=("built", "water", "tree"))
    torch.testing.assert_close(network(image_of()), old[0](image_of())[:, [2, 0, 1]])


def test_a_new_band_changes_nothing_at_first_but_can_be_learned(old):
    bands = ("nir", "blue", "green", "red")
    network, _, report = _goes_on(old, bands=bands)
    image = image_of(4)
    with torch.no_grad():
        torch.testing.assert_close(network(image), old[0](image[:, [3, 2, 1]]))
    assert "bands: kept blue green red, new, with filters of 0, nir" in report.describe()
    network.train()(image).square().sum().backward()
    assert network.get_submodule(network.stem_name).weight.grad[:, 0].any()


@torch.inference_mode()
def test_a_band_that_is_gone_answers_like_its_mean(old):
    network, _, report = _goes_on(old, bands=("red", "blue"))
    image = image_of(2, dtype=torch.float32)
    green = torch.full_like(image[:, :1], STATISTICS["green"][0])
    torch.testing.assert_close(network(image), old[0](torch.cat([image[:, :1], green, image[:, 1:]], 1)))
    assert "gone green" in report.describe()


@pytest.mark.parametrize("bands", [("vv",), ("vv", "nir")])
@torch.inference_mode()
def test_bands_of_another_kind_answer_as_grey_did(old, bands):
    network, _, report = _goes_on(old, bands=bands)
    grey = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    ours = network.head(network.decode(network.encoder(grey.expand(-1, len(bands), -1, -1))))
    theirs = old[0].head(old[0].decode(old[0].encoder(grey.expand(-1, 3, -1, -1))))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert "mean filter" in report.describe()


def test_another_decoder_keeps_the_encoder(old):
    network, start, report = _goes_on(old, decoder="unet")
    for name, tensor in network.state_dict().items():
        kept = old[0].state_dict()[name] if name.startswith("encoder.") else start[name]
        assert torch.equal(tensor, kept), name
    assert report.loaded == len(network.encoder.state_dict())
    assert "not taken over: tensors of the decoder and the head" in report.describe()


def test_another_encoder_is_refused(old):
    with pytest.raises(ModelError, match="mobilenetv3_small_050"):
        _goes_on(old, encoder="regnety_002")


def test_names_that_come_twice_are_matched_in_order():
    twice = ("vv", "vv", "red")
    old = _network(twice)
    network, _, report = _goes_on(old, bands=twice)
    assert torch.equal(network.get_submodule(network.stem_name).weight, old[0].get_submodule(old[0].stem_name).weight)
    assert report.loaded == report.total
