import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.nn.tiny_networks import card_of, network_of, spec_of

from mapmend.core.errors import ModelError
from mapmend.nn.build import NetworkSpec, build_network, check
from mapmend.nn.change_decoder import FusedDecoder, change_decoder
from mapmend.nn.cvaps import DeepCVAPS
from mapmend.nn.model_folder import load_model, model_hash, read_card, save_model
from mapmend.nn.pair_network import ChangeNetwork, PairNetwork
from mapmend.nn.projection import ProjectionHead
from mapmend.nn.psp import PSP
from mapmend.nn.scse import SCSE

SEMANTIC = ("cvaps_probability", "cvaps_logit", "features")
BYTES = (0.0,) * 3, (255.0,) * 3


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair_image(batch=2, shape=(64, 64), bands=3, seed=0):
    return torch.randint(0, 255, (batch, 2, bands, *shape), generator=torch.Generator().manual_seed(seed)).byte()


def change_network(encoder="mobilenetv3_small_050", decoder="fpn"):
    return network_of(encoder, decoder, classes=2, pair="change").eval()


@pytest.mark.parametrize("pair", SEMANTIC)
@torch.inference_mode()
def test_a_pair_says_of_each_date_what_a_single_image_does(pair):
    network = network_of(pair=pair, classes=4).eval()
    assert isinstance(network, PairNetwork)
    image, valid = pair_image(shape=(50, 70)), torch.rand(2, 2, 1, 50, 70) > 0.2
    output = network.pair(image, valid)
    assert output.classes.shape == (2, 2, 4, 50, 70)
    assert output.change.shape == (2, 50, 70)
    for date in range(2):
        torch.testing.assert_close(output.classes[:, date], network(image[:, date], valid[:, date]))


@torch.inference_mode()
def test_change_vectors_are_of_probabilities_or_of_logits():
    first, second = noise(2, 3, 8, 8), noise(2, 3, 8, 8, seed=1)
    lifted = first + 5  # another logit, the same probability
    for space, same in (("probability", True), ("logit", False)):
        head = DeepCVAPS(3, space).eval()
        assert head(first, second).shape == (2, 1, 8, 8)
        torch.testing.assert_close(head(first, second), head(second, first))
        assert torch.allclose(head(first, second), head(lifted, second), atol=1e-5) == same
        torch.testing.assert_close(head(first, first), head(second, second))


def test_deep_cvaps_has_the_published_layers():
    parameters = sum(p.numel() for p in DeepCVAPS(9).parameters())
    assert parameters == 3 * (9 * 9 * 9 + 2 * 9) + 9 * 9 + 1


@pytest.mark.parametrize("encoder", ["mobilenetv3_small_050", "mit_b0"])
@torch.inference_mode()
def test_change_alone_does_not_know_which_date_came_first(encoder):
    network = change_network(encoder)
    assert isinstance(network, ChangeNetwork)
    image = pair_image(shape=(50, 70))
    logits = network(image)
    assert logits.shape == (2, 2, 50, 70)
    torch.testing.assert_close(logits, network(image.flip(1)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(network.pair(image).change.sigmoid(), logits.softmax(1)[:, 1])


@torch.inference_mode()
def test_a_vits_change_has_its_prefix_tokens_too():
    network = network_of("vit_tiny_patch16_224", "dpt", classes=2, pair="change").eval()
    assert network(pair_image(1)).shape == (1, 2, 64, 64)


def test_every_weight_of_a_pair_network_learns():
    for network in (*(network_of(pair=pair).train() for pair in SEMANTIC), change_network().train()):
        output = network.pair(pair_image(1))
        loss = output.change.square().mean()
        (loss if output.classes is None else loss + output.classes.square().mean()).backward()
        assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_the_published_student_of_c2f2():
    """ResNet-50 with a deep stem, dilated to stride 8, PSP of 512 channels: 46.9 million weights."""
    with torch.device("meta"):
        network = build_network(NetworkSpec("resnet50s", "psp", 3, 2, *BYTES, pair="change"))[0].eval()
        assert network.encoder(torch.zeros(2, 3, 256, 256))[-1].shape == (2, 2048, 32, 32)
        assert network.joined(torch.zeros(1, 2, 3, 256, 256)).shape == (1, 512, 32, 32)
        assert network(torch.zeros(1, 2, 3, 256, 256)).shape == (1, 2, 256, 256)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 46.9


def test_the_published_network_of_clearscd():
    """EfficientNet-B0 and an FPN of 256 and 128 channels at a quarter of the resolution: about 5.8 million weights.

    The published count has the encoder's last convolution, 320 → 1280 with its norm, which nothing reads.
    """
    with torch.device("meta"):
        spec = NetworkSpec("tf_efficientnet_b0", "fpn", 3, 9, *BYTES, pair="cvaps_probability")
        network = build_network(spec)[0].eval()
        parts = network.parts(torch.zeros(1, 2, 3, 512, 512))
    assert parts.features.shape == (1, 2, 128, 128, 128)
    assert parts.classes.shape == (1, 2, 9, 128, 128)
    assert parts.change.shape == (1, 1, 128, 128)
    count = sum(p.numel() for p in network.parameters()) + sum(p.numel() for p in ProjectionHead(128).parameters())
    assert count + 320 * 1280 + 2 * 1280 == pytest.approx(5.8e6, abs=0.05e6)


@torch.inference_mode()
def test_a_late_enlargement_is_the_published_one():
    """As published: convolution 3×3, ReLU, enlarged, convolution 1×1."""
    decoder = change_decoder(16, 2)
    feature = noise(2, 16, 6, 5)
    published = decoder[2](F.interpolate(decoder[1](decoder[0](feature)), scale_factor=8, mode="bilinear"))
    ours = F.interpolate(decoder(feature), scale_factor=8, mode="bilinear")
    torch.testing.assert_close(ours, published, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_scse_by_its_formula():
    x = noise(2, 30, 4, 5)
    block = SCSE(30)
    w1, w2, place = block.of_channels[1], block.of_channels[3], block.of_places[0]
    assert w1.out_channels == 2 and SCSE(7).of_channels[1].out_channels == 1
    expected = torch.empty_like(x)
    for b in range(2):
        mean = x[b].mean((1, 2))
        hidden = (w1.weight[:, :, 0, 0] @ mean + w1.bias).clamp(min=0)
        channel = torch.sigmoid(w2.weight[:, :, 0, 0] @ hidden + w2.bias)
        where = torch.sigmoid((place.weight[0, :, 0, 0, None, None] * x[b]).sum(0) + place.bias)
        expected[b] = x[b] * channel[:, None, None] + x[b] * where
    torch.testing.assert_close(block(x), expected)


@torch.inference_mode()
def test_a_fused_decoder_reads_the_features_and_the_other_models_view():
    decoder = FusedDecoder(16, 30)
    assert decoder.classify.in_channels == 32 + 30
    feature, fused = noise(2, 16, 8, 8), noise(2, 30, 64, 64)
    logits = decoder(feature, fused)
    assert logits.shape == (2, 2, 64, 64)
    assert not torch.allclose(logits, decoder(feature + 1, fused))
    assert not torch.allclose(logits, decoder(feature, fused + 1))


@torch.inference_mode()
def test_pyramid_pooling_sees_the_whole_map():
    psp = PSP(8, 6).eval()
    one = noise(1, 8, 12, 12)
    other = one.clone()
    other[..., 11, 11] += 10
    moved = (psp([one]) - psp([other])).abs().sum(1)[0]
    assert moved.shape == (12, 12)
    assert moved[0, 0] > 0  # eleven pixels away, through the mean of all


@pytest.mark.parametrize("pair", (*SEMANTIC, "change"))
def test_a_model_folder_loads_without_its_method(tmp_path, pair):
    classes = ("unchanged", "changed") if pair == "change" else ("water", "tree", "built")
    network = network_of(pair=pair, classes=len(classes)).eval()
    save_model(tmp_path / "m", network, card_of(network, classes=classes))
    loaded, card = load_model(tmp_path / "m")
    assert card.spec.pair == pair
    image = pair_image(1)
    with torch.inference_mode():
        assert torch.equal(loaded.pair(image).change, network.pair(image).change)
    assert set(load_file(tmp_path / "m/model.safetensors")) == set(network.state_dict())


def test_specs_of_one_date_are_what_they_were(tmp_path):
    """Neither cards nor hashes of older models change."""
    assert set(spec_of().to_dict()) == {
        "encoder", "decoder", "in_channels", "classes", "mean", "std", "decoder_widths"
    }  # fmt: skip
    network = network_of()
    save_model(tmp_path / "m", network, card_of(network))
    assert "pair" not in (tmp_path / "m/model.json").read_text()
    assert read_card(tmp_path / "m").spec.pair == ""
    assert len(model_hash(tmp_path / "m")) == 64
    assert NetworkSpec.from_dict(spec_of(pair="features").to_dict()) == spec_of(pair="features")


def test_pairs_that_are_none_are_refused():
    with pytest.raises(ModelError, match="did you mean 'cvaps_logit'"):
        check(spec_of(pair="cvaps_logits"))
    with pytest.raises(ModelError, match="change alone for 3 classes"):
        network_of(pair="change", classes=3)
    for network in (network_of(pair="features"), change_network()):
        with pytest.raises(ModelError, match="two dates"):
            network.pair(torch.zeros(1, 3, 64, 64))
