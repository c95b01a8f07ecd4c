"""The table of encoders and decoders: every pair learns and maps, or is refused in one line that names what fits."""

import itertools

import pytest
import torch
from tests.nn.tiny_networks import image_of, network_of, spec_of
from torch import nn

from mapmend.core.errors import ModelError
from mapmend.losses.robust import cross_entropy
from mapmend.nn.build import DECODERS, ENCODERS, NetworkSpec, build_network, check
from mapmend.nn.encoders import FULL, PLAIN, PYRAMIDS

SMALL_PYRAMIDS = (
    "tf_efficientnet_lite0",
    "resnet18",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "mobilenetv3_small_050",
    "regnety_002",
    "hrnet_w18_small",
    "mit_b0",
)
SMALL_PLAIN = ("vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_tiny_patch16_dinov3_qkvb")
SMALL_FULL = ("errb64", "rp64")
SMALL = SMALL_PYRAMIDS + SMALL_PLAIN + SMALL_FULL
LARGER = tuple(encoder for encoder in ENCODERS if encoder not in SMALL)
BANDS = (1, 3, 4, 13)
LAYOUTS = (torch.contiguous_format, torch.channels_last)
DTYPES = (torch.uint8, torch.uint16, torch.int16, torch.float32)
EXAMPLES = {"dpt": PLAIN, "concat": FULL}
NOT_DILATED = {
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "swinv2_cr_tiny_224",
    "hrnet_w18_small",
    "hrnet_w18",
}


def fits(encoder, decoder):
    if "vit_" in encoder:
        return decoder == "dpt"
    if encoder in FULL:
        return decoder == "concat"
    return decoder not in ("dpt", "concat") and not (decoder in ("deeplabv3plus", "psp") and encoder in NOT_DILATED)


def usual_decoder(encoder):
    return next(decoder for decoder in DECODERS if fits(encoder, decoder))


def pairs(encoders):
    """Each pair with a number of bands, a stored type and a memory layout, which take turns."""
    table = [pair for pair in itertools.product(encoders, DECODERS) if fits(*pair)]
    return [
        pytest.param(*pair, BANDS[at % 4], DTYPES[(at + at // 4) % 4], LAYOUTS[at % 2], id="-".join(pair))
        for at, pair in enumerate(table)
    ]


def learns_and_maps(encoder, decoder, bands, dtype, layout):
    network = network_of(encoder, decoder, bands, classes=5).train().to(memory_format=layout)
    # a batch of one, and images that a window as long as the encoder's stride cuts unevenly
    logits = network(image_of(bands, (50, 70), dtype=dtype))
    assert logits.shape == (1, 5, 50, 70)
    cross_entropy(logits, torch.randint(5, (1, 50, 70))).backward()
    untouched = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not untouched
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())
    torch.optim.SGD(network.parameters(), lr=1e-3).step()
    with torch.inference_mode():
        mapped = network.eval()(image_of(bands, (97, 130), dtype=dtype))
    assert mapped.shape == (1, 5, 97, 130)
    assert mapped.dtype == torch.float32
    assert torch.isfinite(mapped).all()


@pytest.mark.parametrize(("encoder", "decoder", "bands", "dtype", "layout"), pairs(SMALL))
def test_a_fitting_pair_learns_and_maps(encoder, decoder, bands, dtype, layout):
    learns_and_maps(encoder, decoder, bands, dtype, layout)


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "decoder", "bands", "dtype", "layout"), pairs(LARGER)[::3])
def test_larger_encoders_learn_and_map(encoder, decoder, bands, dtype, layout):
    learns_and_maps(encoder, decoder, bands, dtype, layout)


@pytest.mark.parametrize("encoder", [encoder for encoder in SMALL if encoder != "mit_b0"])
@pytest.mark.parametrize("bands", BANDS)
def test_every_encoder_takes_any_number_of_bands(encoder, bands):
    with torch.device("meta"):  # shapes alone, which mit_b0 cannot be built for; its pairs above have all numbers
        network = network_of(encoder, usual_decoder(encoder), bands).eval()
        assert network(torch.empty(2, bands, 97, 130)).shape == (2, 3, 97, 130)


@pytest.mark.parametrize("encoder", SMALL)
def test_a_pair_that_does_not_fit_is_refused_in_one_line_that_names_what_fits(encoder):
    fitting = [decoder for decoder in DECODERS if fits(encoder, decoder)]
    for decoder in DECODERS:
        if decoder in fitting:
            check(spec_of(encoder, decoder))
            continue
        with pytest.raises(ModelError) as caught:
            check(spec_of(encoder, decoder))
        told = str(caught.value)
        assert "\n" not in told
        assert all(name in told for name in (encoder, decoder, *fitting))
        assert any(example in told for example in EXAMPLES.get(decoder, PYRAMIDS))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_encoders_of_the_docs_are_known(encoder):
    decoder = usual_decoder(encoder)
    assert check(spec_of(encoder, decoder, decoder_widths=())).decoder_widths == DECODERS[decoder].widths


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("tu-resnet18", "did you mean 'resnet18'"),
        ("mit_b9", "did you mean 'mit_b"),
        ("hf-hub:someone/model", "unknown"),
        ("local-dir:/tmp", "unknown"),
        ("levit_128", "16 32 64"),
        ("mixer_s16_224", "one size only"),
        ("resnet18.nosuchtag", "nosuchtag"),
    ],
)
def test_an_encoder_that_is_none_is_refused(encoder, told):
    with pytest.raises(ModelError, match="encoder") as caught:
        check(spec_of(encoder))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoder_of_one_size_is_refused():
    with pytest.raises(ModelError, match="does not fit"):
        check(spec_of("hiera_tiny_224", "unet"))


@pytest.mark.parametrize(
    ("decoder", "widths", "told"),
    [
        ("unet", (16, 8), "give 5"),
        ("fpn", (64, 30), "multiples of 32"),
        ("upernet", (0,), "give 1"),
        ("dpt", (30,), "4"),
    ],
)
def test_widths_that_do_not_fit_are_refused(decoder, widths, told):
    encoder = "vit_tiny_patch16_224" if decoder == "dpt" else "resnet18"
    with pytest.raises(ModelError, match=decoder) as caught:
        check(spec_of(encoder, decoder, decoder_widths=widths))
    assert told in str(caught.value)


def test_an_unknown_decoder_is_refused():
    with pytest.raises(ModelError, match="did you mean 'unet'"):
        check(NetworkSpec("resnet18", "u-net", 1, 2, (0.0,), (1.0,)))


@pytest.mark.parametrize("widths", [(256, 128), (64, 64), (32, 32)])
def test_no_group_norm_of_an_fpn_loses_how_much_there_is_of_a_channel(widths):
    network, _ = build_network(spec_of(decoder="fpn", decoder_widths=widths))
    norms = [layer for layer in network.decoder.modules() if isinstance(layer, nn.GroupNorm)]
    assert norms and all(norm.num_channels // norm.num_groups == 4 for norm in norms)
