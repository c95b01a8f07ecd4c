import pytest
import torch
import torch.nn.functional as F
from tests.nn.tiny_networks import card_of, image_of, network_of, spec_of

from mapmend.core.errors import ModelError
from mapmend.nn.build import NetworkSpec, check
from mapmend.nn.cosine_head import CosineHead
from mapmend.nn.errb import Edges, FullResolution, full_resolution_encoder
from mapmend.nn.model_folder import load_model, model_hash, save_model

HEADS = ("linear", "cosine", "cosine_learned")


def seeded(width=16, *, edges, seed=0):
    torch.manual_seed(seed)
    return FullResolution(3, width, edges=edges)


def randomised_norms(module, seed=1):
    """Norms that do something, so that a test notices where they are left out."""
    generator = torch.Generator().manual_seed(seed)
    for norm in (one for one in module.modules() if isinstance(one, torch.nn.BatchNorm2d)):
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module


def branch(part, features, side):
    conv, norm, _ = part
    out = F.conv2d(features, conv.weight, padding=side // 2)
    out = (out - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()
    return (out * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)


@torch.inference_mode()
def test_a_block_is_the_formula():
    """RP(F) = F + φ1×1(cat[φ1×1→W, φ3×3→W/2, φ5×5→W/4]), then F + γ·g ⊙ Σ_d DWConv3×3 dilated d."""
    encoder = randomised_norms(seeded(edges=True)).eval()
    image = torch.randn(1, 3, 12, 10)
    for part in encoder.refinements:
        part.gamma.fill_(0.7)
    features = encoder.stem(image)
    block, refinement = encoder.blocks[0], encoder.refinements[0]
    parts = [branch(one, features, side) for one, side in zip(block.branches, (1, 3, 5), strict=True)]
    assert [part.shape[1] for part in parts] == [16, 8, 4]
    rp = features + branch(block.join, torch.cat(parts, 1), 1)
    edges = encoder.edges(image)
    gate = torch.sigmoid(F.conv2d(torch.cat([rp, edges], 1), refinement.gate.weight, refinement.gate.bias))
    around = sum(
        F.conv2d(rp, conv.weight, padding=d, dilation=d, groups=16)
        for d, conv in zip((1, 2, 4), refinement.around, strict=True)
    )
    torch.testing.assert_close(encoder(image)[0], rp + 0.7 * gate * around, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_it_starts_as_the_plain_block():
    refined, plain = seeded(edges=True).eval(), seeded(edges=False).eval()
    plain.load_state_dict({name: refined.state_dict()[name] for name in plain.state_dict()})
    image = torch.randn(2, 3, 9, 11)
    every = refined(image)
    assert [one.shape for one in every] == [(2, 16, 9, 11)] * 5
    for one, other in zip(every, plain(image), strict=True):
        assert torch.equal(one, other)


def test_the_refinement_can_be_learned():
    encoder = seeded(edges=True)
    sum(one.square().mean() for one in encoder(torch.randn(2, 3, 16, 16))).backward()
    assert all(part.gamma.grad.any() for part in encoder.refinements)


def test_edges_are_sobels_in_units_of_the_data_sets_mean():
    edges = Edges().train()
    images = torch.randn(4, 2, 3, 10, 12)
    magnitudes = []
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    for image in images:
        grey = F.pad(image.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        both = F.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
        magnitudes.append(both.norm(dim=1, keepdim=True))
        edges(image)
    edges(torch.zeros(1, 3, 4, 4))  # nothing valid: nothing learned
    level = torch.stack([one.mean() for one in magnitudes]).mean()
    torch.testing.assert_close(edges.level, level)
    edges.eval()
    torch.testing.assert_close(edges(images[0]), magnitudes[0] / level)
    assert edges.measured == 4


def test_the_constant_does_not_depend_on_the_tile_and_ends_with_the_hundredth_batch():
    edges = Edges().train()
    for _ in range(100):
        edges(torch.randn(1, 3, 8, 8))
    level = edges.level.clone()
    edges(100 * torch.randn(1, 3, 8, 8))
    assert torch.equal(edges.level, level)
    scene = torch.randn(1, 3, 40, 40)
    torch.testing.assert_close(edges.eval()(scene)[..., 11:29, 11:29], edges(scene[..., 10:30, 10:30])[..., 1:-1, 1:-1])


@torch.inference_mode()
def test_a_map_does_not_depend_on_the_tiling_beyond_the_kernels_reach():
    encoder = randomised_norms(seeded(8, edges=True)).eval()
    for part in encoder.refinements:
        part.gamma.fill_(0.3)
    scene = torch.randn(1, 3, 90, 80)
    reach = 1 + 5 * (2 + 4)
    whole, part = encoder(scene)[-1], encoder(scene[..., :75])[-1]
    torch.testing.assert_close(part[..., : 75 - reach], whole[..., : 75 - reach], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(part[..., -2:], whole[..., 73:75])


@pytest.mark.parametrize(("name", "width"), [("errb64", 64), ("errb128", 128), ("rp64", 64), ("rp128", 128)])
def test_widths_by_name(name, width):
    encoder = full_resolution_encoder(name, 7)
    assert encoder.width == width
    assert (encoder.edges is not None) == name.startswith("errb")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [("errb64", "concat"), ("mobilenetv3_small_050", "unet"), ("mit_b0", "fpn"), ("vit_tiny_patch16_224", "dpt")],
)
@torch.inference_mode()
def test_any_network_takes_any_head(encoder, decoder, head):
    network = network_of(encoder, decoder, 4, head=head).eval()
    image = image_of(4, (40, 37))
    output = network.pixels(image)
    assert output.feature.shape == (1, 128, 40, 37)
    assert torch.equal(output.logits, network(image))
    assert (output.scale is None) == (head == "linear")
    if output.scale is not None:
        assert output.scale.item() == pytest.approx(16)
        assert output.logits.abs().max() <= 16


@torch.inference_mode()
def test_a_plain_head_has_the_decoders_feature():
    network = network_of().eval()
    output = network.pixels(image_of())
    assert torch.equal(output.logits, network(image_of()))
    assert output.feature.shape == (1, 32, 64, 64)
    assert output.scale is None


def test_the_cosine_head_by_hand():
    head = CosineHead(128, 3)
    feature = torch.randn(2, 128, 4, 5)
    logits = head(feature)
    for c in range(3):
        weight = head.classes.weight[c, :, 0, 0]
        cosine = F.cosine_similarity(feature, weight[None, :, None, None].expand_as(feature), dim=1)
        torch.testing.assert_close(logits[:, c], 16 * cosine)
    torch.testing.assert_close(head(100 * feature), logits)
    assert torch.isfinite(head(torch.zeros(1, 128, 1, 1))).all()


def test_a_learned_scale_stays_below_thirty():
    head = CosineHead(128, 3, learned=True)
    head(torch.randn(1, 128, 2, 2)).logsumexp(1).sum().backward()
    assert head.raw_scale.grad.any()
    with torch.no_grad():
        head.raw_scale.fill_(50)
    assert head.scale.item() == pytest.approx(30)


@torch.inference_mode()
def test_cosines_stay_exact_under_autocast():
    network = network_of("errb64", "concat", head="cosine").eval()
    feature = torch.randn(1, 128, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.head.classify(feature), network.head.classify(feature).float())
        assert network(image_of()).dtype == torch.float32
        low = network.head.classify(feature)
    assert torch.equal(low, network.head.classify(feature))


def test_models_with_a_head_are_kept_and_plain_ones_are_written_as_before(tmp_path):
    network = network_of("errb64", "concat", head="cosine_learned").train()
    network(image_of(batch=2))
    save_model(tmp_path / "model", network, card_of(network))
    again, card = load_model(tmp_path / "model")
    assert card.spec == network.spec
    assert again.encoder.edges.level == network.encoder.edges.level != 1
    with torch.inference_mode():
        assert torch.equal(again(image_of()), network.eval()(image_of()))
    assert model_hash(tmp_path / "model")
    assert "head" not in spec_of().to_dict()
    assert NetworkSpec.from_dict(spec_of(head="linear").to_dict()).head == "linear"


@pytest.mark.parametrize(("head", "told"), [("cosin", "did you mean 'cosine'"), ("", "head")])
def test_an_unknown_head_is_refused(head, told):
    with pytest.raises(ModelError, match=told):
        check(spec_of(head=head))
