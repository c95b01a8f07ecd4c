"""Methods that learn change alone from labelled and unlabelled pairs."""

import hashlib
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.nn.tiny_networks import card_of, network_of
from tiny_training import TrainingSamples

from mapmend.core.errors import ModelError, ProjectError
from mapmend.core.sensor import Band, Sensor
from mapmend.core.settings import from_mapping
from mapmend.losses.change import change_dice
from mapmend.losses.consistency import class_alignment, pseudo_label_loss
from mapmend.methods import METHODS, StepState
from mapmend.methods.c2f2 import C2F2, C2F2Config
from mapmend.methods.change_views import strong_image, weak_view
from mapmend.methods.pairs import pair_of
from mapmend.methods.supervised_pair import SupervisedPair, SupervisedPairConfig
from mapmend.methods.unimatch import UniMatch, UniMatchConfig, complementary
from mapmend.nn.model_folder import save_model
from mapmend.train.batches import settle

PUBLISHED = {"alike": False, "balanced": False, "start": 0.0}
AS_SEEN = {"scale": (1.0, 1.0), "threshold": 0.5, **PUBLISHED}  # so that a network of random weights teaches
NAMES = ("fpa", "c2f2", "unimatch")


def batch(seed=0, size=2):
    samples = [TrainingSamples(seed, dates=2)[(0, 0, i)] for i in range(size)]
    return settle({key: torch.stack([one[key] for one in samples]) for key in samples[0]}, torch.device("cpu"))


def batches(size=2):
    unlabelled = batch(1, size)
    hidden = {name: torch.full_like(unlabelled[name], 255) for name in ("mask", "change")}
    return {"labelled": batch(0, size), "unlabelled": {**unlabelled, **hidden}}


def student(seed=0):
    return network_of(pair="change", classes=2, seed=seed)


def make(name, **settings):
    kind = METHODS[name]
    aligned = {"centred": False} if name != "unimatch" else {}
    return kind(student(), kind.config_class(**{**AS_SEEN, **aligned, **settings}), (3, 3))


def state(at=0):
    return StepState(at, 10, 0, 1, torch.Generator().manual_seed(0))


def steps(method, given):
    """Losses and notes of a step, without an update."""
    torch.manual_seed(0)
    now = state()
    found = {}
    for name, loss in method.training_step(given, now):
        found[name] = loss
    return found, now.notes


def views(method, given):
    """The views that a step of a fresh state looks at: labelled, weak, and the strong image."""
    now = state()
    labelled = weak_view(given["labelled"], method.config, now)
    weak = weak_view(given["unlabelled"], method.config, now)
    return labelled, weak, strong_image(method.network, weak, method.config, now)


@torch.no_grad()
def expected_of_unlabelled(method, weak, strong):
    network = method.network
    weak_logits = network(weak.image, weak.valid)
    strong_features = network.joined(strong, weak.valid)
    strong_logits = network.at_image(network.head(strong_features), strong)
    return {
        "weak_teaches": pseudo_label_loss(strong_logits, weak_logits, weak.seen, 0.5),
        "alignment": class_alignment(strong_features, weak_logits, weak.seen, 0.5),
    }, weak_logits


def test_fpa_is_the_published_sum():
    method, given = make("fpa").eval(), batches()
    losses, notes = steps(method, given)
    labelled, weak, strong = views(method, given)
    expected, _ = expected_of_unlabelled(method, weak, strong)
    logits = method.network(labelled.image, labelled.valid)
    torch.testing.assert_close(losses["labelled"], F.cross_entropy(logits, labelled.change, ignore_index=255))
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(notes[name], value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["unlabelled"].detach(), sum(expected.values()), rtol=1e-4, atol=1e-6)


def test_c2f2_is_the_published_sum():
    method, given = make("c2f2").eval(), batches()
    losses, notes = steps(method, given)
    labelled, weak, strong = views(method, given)
    expected, weak_logits = expected_of_unlabelled(method, weak, strong)
    network = method.network

    @torch.no_grad()
    def fused(view):
        """G and the secondary decoder, date by date."""
        said = []
        for date in range(2):
            image, valid = view.image[:, date], view.valid[:, date]
            features = method.phi(image, valid)
            said.append(method.attention(network.at_image(method.reduce(features), image)))
        beside = F.pad(torch.cat(said, 1), (0, 32, 0, 0), mode="replicate")  # an image of one cell gets a second
        return method.secondary(network.joined(view.image, view.valid), beside)[..., :32]

    expected["fused_teaches"] = pseudo_label_loss(weak_logits, fused(weak), weak.seen, 0.5)
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(notes[name], value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["unlabelled"].detach(), sum(expected.values()), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        both = [network(labelled.image, labelled.valid), fused(labelled)]
    terms = [F.cross_entropy(logits, labelled.change, ignore_index=255) for logits in both]
    torch.testing.assert_close(losses["labelled"].detach(), sum(terms), rtol=1e-4, atol=1e-6)


def touched(module):
    return any(weight.grad is not None and bool(weight.grad.any()) for weight in module.parameters())


def test_the_secondary_decoder_learns_from_labels_alone_and_the_student_nothing_from_it():
    method, given = make("c2f2").train(), batches()
    others = (method.secondary, method.attention, method.reduce)
    generator = method.training_step(given, state())
    _, labelled = next(generator)
    labelled.backward()
    assert all(touched(module) for module in others)
    method.zero_grad()
    _, unlabelled = next(generator)
    unlabelled.backward()
    assert not any(touched(module) for module in others)
    assert touched(method.network)

    # of the labelled cross-entropies, the student feels its own alone
    gradients = []
    for kind, settings in ((METHODS["fpa"], {}), (C2F2, {})):
        method = kind(student(), kind.config_class(**AS_SEEN, **settings), (3, 3)).eval()
        next(method.training_step(given, state()))[1].backward()
        gradients.append([weight.grad for weight in method.network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def digest(module):
    parts = [tensor.numpy().tobytes() for tensor in module.state_dict().values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_phi_never_changes():
    method, given = make("c2f2").train(), batches()
    before = digest(method.phi)
    assert not any(module.training for module in method.phi.modules())
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    student_before = digest(method.network)
    for _, loss in method.training_step(given, state()):
        loss.backward()
    optimiser.step()
    assert digest(method.phi) == before
    assert digest(method.network) != student_before
    assert not any(parameter.requires_grad for parameter in method.phi.parameters())


def land_cover(folder, bands=("rgb.red", "rgb.green", "rgb.blue"), classes=("water", "tree", "built", "soil")):
    network = network_of(bands=len(bands), classes=len(classes)).eval()
    return save_model(folder / "phi", network, card_of(network, bands, classes)), network


def test_phi_may_be_a_model_folder_whose_bands_are_found_by_name(tmp_path):
    folder, network = land_cover(tmp_path, bands=("rgb.blue", "rgb.red"))
    method = make("c2f2", phi=str(folder))
    method.bands = ("rgb.red", "rgb.green", "rgb.blue")
    method.meet(("unchanged", "changed"), tmp_path)
    image, valid = batch()["image"][:, 0], batch()["valid"][:, 0]
    with torch.no_grad():
        said = method.phi.at_image(method.phi(image, valid), image)
        torch.testing.assert_close(said, network(image[:, [2, 0]], valid))
    assert method.secondary.classify.in_channels == 32 + 2 * 4
    losses, _ = steps(method.train(), batches())
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize(
    ("phi", "told"),
    [("phi", "reads bands nir.b8"), ("nowhere", "not a model folder"), ("timm:resnet81", "did you mean 'resnet18'")],
)
def test_a_phi_that_does_not_fit_is_one_line(tmp_path, phi, told):
    land_cover(tmp_path, bands=("nir.b8", "rgb.red", "rgb.blue"))
    method = make("c2f2", phi=phi)
    method.bands = ("rgb.red", "rgb.green", "rgb.blue")
    with pytest.raises(ModelError, match=told) as caught:
        method.meet((), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_phi_of_other_units_is_refused(tmp_path):
    network = network_of(bands=3, classes=3).eval()
    bands = ("s1.vv", "s1.vh", "s1.angle")
    card = Sensor("s1", (Band("vv"), Band("vh"), Band("angle")), kind="radar", unit="dB")
    save_model(tmp_path / "phi", network, card_of(network, bands, sensors={"s1": card.to_dict()}))
    method = make("c2f2", phi="phi")
    method.bands = bands
    for change, told in (({}, ""), ({"unit": "power"}, "'s1' with unit dB, and the image's has power")):
        method.sensors = {"s1": replace(card, **change)}
        if told:
            with pytest.raises(ModelError, match=told):
                method.meet((), tmp_path)
        else:
            method.meet((), tmp_path)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_phi_may_be_a_backbone(tmp_path, name):
    method = make("c2f2", phi=f"timm:{name}", phi_weights="none")
    method.meet((), tmp_path)
    losses, _ = steps(method.train(), batches())
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_deployed_is_the_student_alone(name):
    method = make(name)
    assert method.deployed() is method.network
    assert {key.split(".")[0] for key in method.deployed().state_dict()} == {"encoder", "decoder", "head"}


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_fresh_and_follow_the_state(name):
    method, given = make(name, scale=(0.5, 2.0)).eval(), batches()
    first, again = (float(steps(method, given)[0]["unlabelled"].detach()) for _ in range(2))
    assert first == again
    now = StepState(1, 10, 0, 1, torch.Generator().manual_seed(1))
    other = dict(method.training_step(given, now))["unlabelled"]
    assert float(other.detach()) != first


def test_what_is_invalid_teaches_nothing_at_any_scale():
    method, given = make("fpa", scale=(0.5, 0.5)).eval(), batches()
    for loader in ("labelled", "unlabelled"):
        given[loader]["valid"][:, 1, :, :8] = False
        view = weak_view(given[loader], method.config, state())
        assert not view.seen.all() and view.seen.any()
        assert (view.change[~view.seen] == 255).all()
        assert (view.mask[~view.valid[:, :, 0]] == 255).all()


@pytest.mark.parametrize("name", NAMES)
def test_unlabelled_pairs_wait_for_their_start(name):
    method, given = make(name, start=0.5).eval(), batches()
    assert steps(method, given)[0].keys() == {"labelled"}
    losses = dict(method.training_step(given, state(5)))
    assert losses.keys() == {"labelled", "unlabelled"}


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_is_never_sure_teaches_where_classes_are_balanced(name):
    """The network calls half of the pixels unchanged, with p up to 0.9, and half changed, with p up to 0.6."""
    given = batches()
    taught = {}
    for balanced in (False, True):
        method = make(name, threshold=0.7, balanced=balanced)
        logits = torch.zeros(1, 2, 2, 4)
        logits[0, 0, 0] = torch.tensor([0.5, 1.0, 1.5, 2.2])
        logits[0, 1, 1] = torch.tensor([0.1, 0.2, 0.3, 0.4])
        level = method.config.level(logits, torch.ones(1, 2, 4, dtype=torch.bool))
        p, likeliest = logits.softmax(1).max(1)
        level = torch.as_tensor(level).expand(2)
        taught[balanced] = [int((p[likeliest == one] >= level[one]).sum()) for one in range(2)]
        assert all(torch.isfinite(loss) for loss in steps(method, given)[0].values())
    assert taught == {False: [3, 0], True: [3, 3]}


def test_unimatch_is_the_published_sum():
    method, given = make("unimatch", mix=False).eval(), batches()
    losses, notes = steps(method, given)
    now = state()
    labelled = weak_view(given["labelled"], method.config, now)
    weak = weak_view(given["unlabelled"], method.config, now)
    first, second = (strong_image(method.network, weak, method.config, now) for _ in range(2))
    network = method.network
    with torch.no_grad():
        supervised = F.cross_entropy(network(labelled.image, labelled.valid), labelled.change, ignore_index=255)
        teacher = network(weak.image, weak.valid)
        parts = [
            pseudo_label_loss(network(one, weak.valid), teacher, weak.seen, 0.5, among_valid=True)
            for one in (first, second)
        ]
    torch.testing.assert_close(losses["labelled"].detach(), supervised / 2)
    torch.testing.assert_close(notes["first"], parts[0] / 8, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(notes["second"], parts[1] / 8, rtol=1e-4, atol=1e-6)
    assert notes["dropped"] > 0
    torch.testing.assert_close(losses["unlabelled"].detach(), sum(notes.values()))


def test_unimatchs_mixture_is_the_same_in_image_and_pseudo_label():
    method, given = make("unimatch").eval(), batches(4)
    weak = weak_view(given["unlabelled"], method.config, state())
    logits = weak.image[:, 0, :2].float()  # so that the pseudo-label tells where a pixel came from
    own = replace(weak, image=torch.cat([weak.image, weak.image[:, :, :1]], 2))
    view, mixed, seen = method._mixed(own if own.image.shape[2] == 3 else weak, logits, state())
    moved = (mixed != logits).any(1)
    assert moved.any()
    elsewhere = logits.roll(-1, 0)
    assert ((mixed == elsewhere) | (mixed == logits)).all()
    assert torch.equal(mixed[moved[:, None].expand_as(mixed)], elsewhere[moved[:, None].expand_as(mixed)])
    valid = weak.valid.roll(-1, 0)
    for date in range(2):
        assert torch.equal(view.valid[:, date, 0][moved], valid[:, date, 0][moved])
    assert torch.equal(seen, view.valid[:, :, 0].all(1))


def test_the_second_versions_switches():
    method, given = make("unimatch", dropout="complementary", teacher_decay=0.9).train(), batches()
    losses, notes = steps(method, given)
    assert notes.keys() == {"first", "second"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    before = digest(method.teacher)
    with torch.no_grad():
        next(method.network.parameters()).add_(1)
    method.after_step(state(5))
    assert digest(method.teacher) != before
    assert UniMatch(student(), UniMatchConfig(), (3, 3)).teacher is None


def test_complementary_channels_add_up():
    maps = torch.rand(8, 50, 2, 2) + 1
    spared = torch.tensor([True, False, True, False])
    torch.manual_seed(0)
    dropped = complementary(maps, spared)
    share = (dropped / maps)[..., 0, 0]
    torch.testing.assert_close(share[:4] + share[4:], torch.full((4, 50), 2.0))
    assert (share[0] == 1).all() and (share[2] == 1).all()
    assert set(share[1].round().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("change", ["features", "cvaps_probability", "cvaps_logit", "only"])
def test_the_supervised_peer_learns_every_kind_of_change(change):
    config = SupervisedPairConfig(change=change)
    pair = SupervisedPair.pair(config)
    network = network_of(pair=pair, classes=2 if change == "only" else 3)
    method = SupervisedPair(network, config, (3, 3) if change == "only" else (3, 3, 3)).train()
    given = {"labelled": batch()}
    losses, _ = steps(method, given)
    losses["loss"].backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())
    judged = method.judged(("a", "b", "c"))
    assert set(judged) == set(method.eval().judge(given["labelled"]))


def test_strong_views_leave_no_trace_in_the_statistics_that_map():
    method, given, seen = make("unimatch", dropout="none").train(), batches(), []
    norm = next(one for one in method.network.modules() if isinstance(one, torch.nn.BatchNorm2d))
    norm.register_forward_hook(lambda module, inputs, _: seen.append((module.momentum, inputs[0].detach())))
    before = norm.running_mean.clone()
    list(method.training_step(given, state()))
    assert [momentum for momentum, _ in seen] == [0.1, 0.1, 0.0] and norm.momentum == 0.1
    expected = before
    for _, maps in seen[:2]:
        expected = 0.9 * expected + 0.1 * maps.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, expected)


@pytest.mark.parametrize(("name", "half"), [("supervised_pair", 1), ("fpa", 1), ("unimatch", 0.5)])
def test_a_dice_loss_of_labelled_pairs_is_added_on_request(name, half):
    given, kind = batches(), METHODS[name]
    only = {"change": "only", "bce": 2.0} if name == "supervised_pair" else {}
    losses = {}
    for dice in (0.0, 0.7):
        method = kind(student(), kind.config_class(**only, dice=dice, scale=(1, 1)), (3, 3)).eval()
        losses[dice] = next(method.training_step(given, state()))[1]
    view = given["labelled"]
    logits = method.network(*pair_of(view))
    expected = 0.7 * half * change_dice(logits.diff(dim=1)[:, 0], view["change"])
    assert expected > 0.01
    torch.testing.assert_close(losses[0.7] - losses[0.0], expected, atol=1e-5, rtol=1e-4)


def test_the_supervised_peer_is_fpas_labelled_half():
    given = batches()
    peer = SupervisedPair(student(), SupervisedPairConfig(change="only"), (3, 3)).eval()
    other = METHODS["fpa"](student(), METHODS["fpa"].config_class(), (3, 3)).eval()
    loss = next(peer.training_step({"labelled": given["labelled"]}, state()))[1]
    torch.testing.assert_close(loss, next(other.training_step(given, state()))[1])


@pytest.mark.parametrize(
    ("kind", "mapping", "says"),
    [
        (C2F2Config, {"phis": "x"}, "did you mean 'phi'"),
        (C2F2Config, {"threshold": 0}, "threshold"),
        (UniMatchConfig, {"dropout": "strong"}, "complementary"),
        (SupervisedPairConfig, {"change": "feature"}, "features"),
    ],
)
def test_settings_of_the_wrong_kind(kind, mapping, says):
    with pytest.raises(ProjectError, match=says):
        from_mapping(kind, mapping, "project.yaml")
