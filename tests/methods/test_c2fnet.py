import pytest
import torch
import torch.nn.functional as F
from tests.nn.tiny_networks import network_of
from tiny_training import TinyNetwork, TrainingSamples

from mapmend.core.errors import ProjectError
from mapmend.core.settings import from_mapping
from mapmend.losses.cells import gather_cells
from mapmend.methods import StepState
from mapmend.methods.c2fnet import C2FNet, C2FNetConfig
from mapmend.methods.supervised import Supervised, SupervisedConfig
from mapmend.train.batches import settle

PUBLISHED = {"robust": "none", "everywhere": 0.0, "plain_first": 0.1}
PLAIN = {**PUBLISHED, "vague": 0.0, "self_supervised": 0.0, "margin": 0.0, "plain_first": 0.0}
COUNTS = (5, 5, 5)


def batch(size=2, labelled=1.0):
    samples = [TrainingSamples(labelled=labelled)[(0, 0, i)] for i in range(size)]
    return settle({key: torch.stack([one[key] for one in samples]) for key in samples[0]}, torch.device("cpu"))


def step(method, given, at=50, seed=0):
    """Loss and notes of step `at` of 100."""
    state = StepState(at, 100, 0, 1, torch.Generator().manual_seed(seed))
    [(name, loss)] = method.training_step({"labelled": given}, state)
    assert name == "loss"
    return loss, state.notes


def supervised_loss(network, given):
    return step(Supervised(network, SupervisedConfig(), COUNTS).eval(), given)[0]


def pure_alone(given, side):
    """The batch with the labels of cells of one class alone."""
    mask = given["mask"].flatten(0, 1)
    cells = gather_cells(mask, torch.ones(len(mask), 3, 32, 32), torch.ones(len(mask), 1, 32, 32), side)
    pure = cells.at_pixels(cells.pure, 32, 32) & (mask != 255)
    return {**given, "mask": mask.where(pure, 255).view_as(given["mask"])}


@pytest.fixture(scope="module")
def network():
    return network_of("errb64", "concat", head="cosine", decoder_widths=(128,))


def test_alone_in_its_group_a_cell_teaches_plain_cross_entropy(network):
    """G = 1, m = 0, λ = 0: cross-entropy of the cosine head over pure cells."""
    given = batch()
    method = C2FNet(network, C2FNetConfig(cell=6, group=1, **PLAIN), COUNTS).eval()
    expected = supervised_loss(network, pure_alone(given, 6))
    assert not torch.isclose(expected, supervised_loss(network, given), rtol=1e-3)
    torch.testing.assert_close(step(method, given)[0], expected)


def test_where_cells_need_not_be_pure_every_labelled_pixel_teaches(network):
    """G = 1, m = 0, λ = 0 as above: then all cells are sure of themselves."""
    given = batch()
    method = C2FNet(network, C2FNetConfig(cell=6, pure=False, group=1, **PLAIN), COUNTS).eval()
    torch.testing.assert_close(step(method, given)[0], supervised_loss(network, given))


@pytest.mark.parametrize(("ratio", "pure"), [(30, True), (2.5, True), (1.0, False), (0.5, False)])
def test_cells_are_pure_where_labels_are_coarse(ratio, pure):
    assert C2FNet.configured(C2FNetConfig(), ratio).pure is pure
    assert C2FNet.configured(C2FNetConfig(cell=9), None).pure is True
    assert C2FNet.configured(C2FNetConfig(pure=not pure), ratio).pure is not pure


def test_all_cells_confident_without_refinement_is_l2hnet_with_cross_entropy(network):
    """γ = 0, λ = 0, d ≡ 1; with cells of one pixel, all of which are pure, over every labelled pixel."""
    given = batch()
    assert not any(part.gamma.any() for part in network.encoder.refinements)
    l2hnet = network_of("rp64", "concat", head="cosine", decoder_widths=(128,))
    kept = {name: tensor for name, tensor in network.state_dict().items() if name in l2hnet.state_dict()}
    l2hnet.load_state_dict(kept)
    method = C2FNet(network, C2FNetConfig(cell=1, selection="all", **PLAIN), COUNTS).eval()
    torch.testing.assert_close(step(method, given)[0], supervised_loss(l2hnet, given))


def test_the_margin_is_of_the_cosine(network):
    given = batch(1)
    method = C2FNet(network, C2FNetConfig(cell=8, selection="all", **PLAIN | {"margin": 0.2}), COUNTS).eval()
    image, valid, mask = given["image"][:, 0], given["valid"][:, 0], pure_alone(given, 8)["mask"][:, 0]
    with torch.no_grad():
        cosine = network(image, valid) / 16
    assert cosine.abs().max() <= 1 + 1e-5
    target = mask.where(mask != 255, 0)
    shifted = 16 * (cosine - 0.2 * F.one_hot(target, 3).movedim(-1, 1))
    torch.testing.assert_close(step(method, given)[0], F.cross_entropy(shifted, mask, ignore_index=255))


def test_it_begins_with_plain_cross_entropy_and_ramps():
    given, network = batch(), TinyNetwork(dropout=0)
    method = C2FNet(network, C2FNetConfig(cell=8, **PUBLISHED), COUNTS).eval()
    torch.testing.assert_close(step(method, given, at=9)[0], supervised_loss(network, given))
    for at, ramp in ((10, 0.5), (30, 1.0)):
        loss, notes = step(method, given, at)
        expected = notes["confident"] + 0.1 * ramp * (notes["vague"] + notes["views"])
        torch.testing.assert_close(loss.detach(), expected)
        assert notes["vague"] > 0


def test_class_proportions_and_the_pixels_loss_come_on_top():
    given, network = batch(), TinyNetwork(dropout=0)
    plain = step(C2FNet(network, C2FNetConfig(cell=8, **PUBLISHED), COUNTS).eval(), given)[0]
    own = PUBLISHED | {"everywhere": 0.5, "robust": "gce", "proportions": 2.0, "label_pixel": 8.0}
    more = C2FNetConfig(cell=8, **own)
    loss, _ = step(C2FNet(network, more, COUNTS).eval(), given)
    alone = SupervisedConfig(ce=0.5, robust="gce", proportions=2.0, label_pixel=8.0)
    torch.testing.assert_close(loss, plain + step(Supervised(network, alone, COUNTS).eval(), given)[0])


def test_cells_are_judged_by_labels_as_they_are_believed_by_now():
    """Beliefs that doubt every label send each pixel to the class that the network sees."""
    given, network = batch(), TinyNetwork(dropout=0)
    beliefs = {"robust": "posterior", "doubt": 0.9999999}
    method = C2FNet(network, C2FNetConfig(cell=1, selection="all", **PLAIN | beliefs), COUNTS).eval()
    with torch.no_grad():
        logits = network(given["image"][:, 0], given["valid"].all(2)).float()
    labelled = given["mask"][:, 0] != 255
    mean = logits.softmax(1).movedim(1, -1)[labelled].mean(0).clamp(min=1 / 3)  # that of the beliefs is 1/3
    seen = (logits.softmax(1) / mean.view(1, 3, 1, 1)).argmax(1).where(labelled, 255)
    assert (seen != given["mask"][:, 0]).any()
    torch.testing.assert_close(step(method, given)[0].detach(), F.cross_entropy(logits, seen, ignore_index=255))


def test_more_cells_are_confident_as_training_goes_on():
    given = batch(8, labelled=0.7)
    method = C2FNet(TinyNetwork(dropout=0), C2FNetConfig(cell=4), COUNTS).eval()
    early, late = (float(step(method, given, at)[1]["confident_share"]) for at in (40, 99))
    assert 0.4 < early < late < 0.9


SWITCHES = [
    {"selection": "all"},
    {"selection": "p_label"},
    {"selection": "hard_diagonal"},
    {"selection": "p_label", "assignment": "raw"},
    {"selection": "all", "assignment": "raw", "vague": 0.0},
    {"assignment": "p"},
    {"shuffle": "neighbours"},
    {"self_supervised": 0.0},
    {"vague": 0.0},
    {"views": 1.0, "light": 0.0},
    PUBLISHED,
    {"robust": "gce", "trust": {"noisy": 0.5}},
    {"proportions": 1.0, "label_pixel": 9},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("labelled", [1.0, 0.05])
def test_every_switch_learns(switches, labelled):
    torch.manual_seed(0)
    method = C2FNet(TinyNetwork(), C2FNetConfig(**{"cell": 7, **switches}), COUNTS).train()
    loss, _ = step(method, batch(labelled=labelled))
    loss.backward()
    gradients = [weight.grad for weight in method.parameters()]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("head", ["plain", "linear", "cosine", "cosine_learned"])
def test_every_head_of_any_network_learns(head):
    method = C2FNet(network_of(decoder="fpn", head=head), C2FNetConfig(cell=8), COUNTS).train()
    loss, notes = step(method, batch(1))
    loss.backward()
    assert torch.isfinite(loss)
    assert {"confident", "vague", "views"} <= notes.keys()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in method.parameters())


def with_mask(given, value):
    return {**given, "mask": torch.full_like(given["mask"], value)}


def test_past_the_beginning_one_class_and_no_label_are_no_trouble():
    method = C2FNet(TinyNetwork(), C2FNetConfig(), COUNTS).train()
    assert torch.isfinite(step(method, with_mask(batch(1), 2))[0])
    nothing = step(method, with_mask(batch(), 255))[0]
    nothing.backward()
    assert nothing == 0
    assert all(weight.grad is None or not weight.grad.any() for weight in method.parameters())


def test_equal_draws_give_equal_bits():
    given = batch()
    method = C2FNet(TinyNetwork(dropout=0), C2FNetConfig(cell=8, group=8), COUNTS).eval()
    assert torch.equal(step(method, given)[0], step(method, given)[0])
    assert not torch.equal(step(method, given)[0], step(method, given, seed=1)[0])


@pytest.mark.parametrize(("ratio", "side"), [(30, 15), (10, 7), (31, 16), (2.5, 7)])
def test_cells_are_half_a_labels_pixel(ratio, side):
    assert C2FNet.configured(C2FNetConfig(), ratio).cell == side
    assert C2FNet.configured(C2FNetConfig(cell=9), ratio).cell == 9


def test_a_label_of_unknown_pixel_size_is_refused():
    with pytest.raises(ProjectError, match="label_gsd"):
        C2FNet.configured(C2FNetConfig(), None)
    assert C2FNet.configured(C2FNetConfig(cell=9), None).cell == 9


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"selecton": "all"}, "did you mean 'selection'"),
        ({"selection": "soft"}, "soft_diagonal"),
        ({"cell": 0}, "'cell' is 0"),
        ({"confident": [0.5, 1.5]}, "confident"),
    ],
)
def test_settings_of_the_wrong_kind(mapping, says):
    with pytest.raises(ProjectError, match=says):
        from_mapping(C2FNetConfig, mapping, "project.yaml")
