import math

import pytest
import torch
import torch.nn.functional as F
from tests.nn.tiny_networks import image_of, network_of, spec_of

from mapmend.core.errors import ModelError
from mapmend.nn.build import Network, NetworkSpec, build_network

FREQUENT = (0.7, 0.2, 0.1)


@pytest.fixture(scope="module")
def network():
    return network_of("mobilenetv3_small_050", "unet").eval()


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.float32, torch.float64])
@torch.inference_mode()
def test_the_stored_type_does_not_matter(network, dtype):
    image = image_of()
    assert torch.equal(network(image.to(dtype)), network(image))


@torch.inference_mode()
def test_statistics_are_of_the_stored_units():
    stored = network_of(mean=(100.0, 200.0, 300.0), std=(10.0, 20.0, 30.0)).eval()
    normal = network_of(mean=(0.0,) * 3, std=(1.0,) * 3).eval()
    image = image_of(dtype=torch.float32)
    scaled = image * torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1) + torch.tensor([100.0, 200.0, 300.0]).view(3, 1, 1)
    torch.testing.assert_close(stored(scaled), normal(image), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
@torch.inference_mode()
def test_what_is_invalid_cannot_be_seen(network, channels):
    image = image_of(dtype=torch.float32)
    valid = torch.rand(1, channels, 64, 64, generator=torch.Generator().manual_seed(1)) > 0.4
    logits = network(image, valid)
    for junk in (0.0, 1e30, float("nan"), float("inf")):
        assert torch.equal(network(image.where(valid, junk), valid), logits)
    mean = torch.tensor(network.spec.mean).view(3, 1, 1)
    torch.testing.assert_close(network(image.where(valid, mean)), logits)
    assert not torch.equal(network(image), logits)


@pytest.mark.parametrize("shape", [(64, 64), (40, 95), (33, 64), (1, 70)])
@torch.inference_mode()
def test_uneven_images_are_continued_by_their_last_pixels(network, shape):
    image = image_of(shape=shape, dtype=torch.float32)
    below, right = -shape[0] % 32, -shape[1] % 32
    continued = F.pad(image, (0, right, 0, below), mode="replicate")
    assert torch.equal(network(image), network(continued)[..., : shape[0], : shape[1]])


@torch.inference_mode()
def test_the_smallest_image_has_logits(network):
    assert network(image_of(shape=(1, 1))).shape == (1, 3, 1, 1)


def test_a_batch_of_one_small_image_can_be_learned_from():
    network = network_of("resnet18", "upernet").train()  # its last batch norm sees stride 32
    network(image_of(shape=(20, 20))).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


@torch.inference_mode()
def test_memory_layout_changes_nothing_but_speed(network):
    image = image_of(batch=2)
    fast = network_of("mobilenetv3_small_050", "unet").eval().to(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(image.contiguous(memory_format=torch.channels_last)), network(image))


@torch.inference_mode()
def test_logits_are_float32_under_autocast(network):
    with torch.autocast("cpu", torch.bfloat16):
        assert network(image_of()).dtype == torch.float32


def test_logits_lie_where_the_image_does():
    """Of a decoder that averages cells of four pixels, a ramp stays a ramp: enlarging it moves nothing sideways."""
    spec = NetworkSpec("-", "-", 1, 1, (0.0,), (1.0,))
    network = Network(spec, torch.nn.Identity(), torch.nn.AvgPool2d(4), torch.nn.Identity(), divisor=32)
    ramp = torch.arange(64.0).expand(1, 1, 50, 64)
    torch.testing.assert_close(network(ramp)[..., 2:-2], ramp[..., 2:-2])


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (3, 64, 64)])
def test_another_number_of_bands_is_refused(network, shape):
    with pytest.raises(ModelError, match="3 bands"):
        network(torch.zeros(shape))


def test_equal_seeds_give_equal_networks_whatever_was_checked_before():
    first, second = (network_of("regnety_002", "fpn", seed=3) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_parts_are_named_for_methods_that_use_them_apart(network):
    image = network.normalise(image_of())
    features = network.encoder(image)
    assert [tuple(one.shape[-2:]) for one in features[-2:]] == [(4, 4), (2, 2)]
    logits = network.head(network.decode(features))
    assert torch.equal(network(image_of()), logits)
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"encoder", "decoder", "head"}


def test_a_spec_survives_json():
    spec = spec_of(bands=2, mean=(0.1, 7), std=(1, 2.5))
    assert NetworkSpec.from_dict(spec.to_dict()) == spec
    assert build_network(spec)[0].spec == spec


def test_logits_start_from_frequencies_that_the_spec_tells_and_no_weight_holds():
    plain, knowing = (network_of("rp64", "concat", head="cosine", **more) for more in ({}, {"frequencies": FREQUENT}))
    knowing.load_state_dict(plain.state_dict())
    image = image_of()
    with torch.inference_mode():
        apart = knowing.eval()(image) - plain.eval()(image)
        torch.testing.assert_close(knowing.pixels(image).logits, knowing(image))
    expected = torch.tensor([math.log(share) for share in FREQUENT]).view(-1, 1, 1).expand_as(apart[0])
    torch.testing.assert_close(apart[0], expected, atol=1e-5, rtol=0)
    assert "frequencies" not in plain.spec.to_dict()
    assert NetworkSpec.from_dict(knowing.spec.to_dict()) == knowing.spec


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frequencies": [0.5, 0.5]}, "2 frequencies for 3 classes"),
        ({"frequencies": [0.5, 0.5, 0.0]}, "frequency is not above 0"),
        ({"encodr": "x"}, "did you mean 'encoder'"),
        ({"classes": "3"}, "classes"),
        ({"classes": 0}, "0 classes"),
        ({"classes": 256}, "256 classes"),
        ({"in_channels": 10**9}, "1000000000 bands"),
        ({"mean": [1.0]}, "1 means"),
        ({"std": [1.0, 0.0, 1.0]}, "above 0"),
        ({"std": [1.0, float("nan"), 1.0]}, "std"),
        ({"encoder": None}, "encoder"),
        ({"decoder_widths": [1.5]}, "decoder_widths"),
    ],
)
def test_a_spec_that_is_none_is_refused_in_one_line(change, told):
    with pytest.raises(ModelError, match=told) as caught:
        NetworkSpec.from_dict(spec_of().to_dict() | change, where="model.json")
    assert "\n" not in str(caught.value)
