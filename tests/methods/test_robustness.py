"""How far a method believes its labels, through `supervised`, which offers all of it."""

import os
import signal

import pytest
import torch
from tiny_training import CLASSES, TinyNetwork, TrainingSamples, ValidationSamples

from mapmend.core.errors import LabelError, ProjectError
from mapmend.core.manifest import TRUSTS
from mapmend.core.preemption import Preempted
from mapmend.core.settings import from_mapping
from mapmend.losses import robust
from mapmend.losses.posterior import belief_likelihood
from mapmend.losses.proportions import proportion_loss, square_cells
from mapmend.methods import StepState
from mapmend.methods.robust_settings import TrustWeights
from mapmend.methods.supervised import Supervised, SupervisedConfig
from mapmend.train.batches import settle
from mapmend.train.config import LoopConfig
from mapmend.train.loop import fit

T = ((0.8, 0.2, 0.0), (0.1, 0.9, 0.0), (0.0, 0.3, 0.7))
CHOICES = {
    "sce": {"robust": "sce"},
    "gce": {"robust": "gce"},
    "bootstrap_soft": {"robust": "bootstrap_soft"},
    "bootstrap_hard": {"robust": "bootstrap_hard"},
    "elr": {"robust": "elr"},
    "forward": {"robust": "forward", "transition": T},
    "posterior": {"robust": "posterior"},
    "correction": {"correction": "objects"},
    "trust": {"trust": {"noisy": 0.5}},
    "proportions": {"ce": 0, "proportions": 1.0, "label_pixel": 8},
    "both": {"proportions": 0.5, "label_pixel": 5.5, "proportions_distance": "squared"},
}
every_choice = pytest.mark.parametrize("settings", CHOICES.values(), ids=CHOICES)


def make(settings, dropout=0.1):
    return Supervised(TinyNetwork(dropout=dropout), from_mapping(SupervisedConfig, settings, "here"), (5, 5, 5))


def batch(size=3, **change):
    samples = [TrainingSamples()[(0, 0, i)] for i in range(size)]
    given = {key: torch.stack([one[key] for one in samples]) for key in samples[0]}
    return settle({**given, **change}, torch.device("cpu"))


def step(method, given, at=0, steps=10):
    state = StepState(at, steps, 0, 1, torch.Generator())
    [(name, loss)] = method.training_step({"labelled": given}, state)
    assert name == "loss"
    return loss, state.notes


def logits_of(method, given):
    with torch.no_grad():
        return method.network(given["image"][:, 0], given["valid"].all(2)).float()


@every_choice
def test_a_batch_teaches_and_one_without_labels_does_not(settings):
    method = make(settings).train()
    loss, _ = step(method, batch())
    loss.backward()
    method.after_step(StepState(0, 10, 0, 1, torch.Generator()))
    gradients = [one.grad for one in method.network.parameters()]
    assert loss.isfinite() and all(one.isfinite().all() for one in gradients)
    assert sum(float(one.abs().sum()) for one in gradients) > 0
    method.zero_grad()
    loss, _ = step(method, batch(mask=torch.full((3, 1, 32, 32), 255)), at=1)
    loss.backward()
    assert loss.item() == 0
    assert all(not one.grad.any() for one in method.network.parameters())


@every_choice
def test_a_stopped_training_goes_on_bit_for_bit(settings, tmp_path):
    def run(out, stop=0):
        def on_step(done, outcome):
            if done == stop:
                os.kill(os.getpid(), signal.SIGUSR1)

        method = make(settings)
        config = LoopConfig(steps=6, batch=2, validate_every=3, workers=0, accelerator="cpu")
        fit(
            method,
            TrainingSamples(0),
            ValidationSamples(2),
            config,
            out,
            classes=CLASSES,
            identity={},
            on_step=on_step,
        )
        return method.state_dict()

    straight = run(tmp_path / "straight")
    with pytest.raises(Preempted):
        run(tmp_path / "stopped", stop=4)
    resumed = run(tmp_path / "stopped")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[key]) for key, tensor in straight.items())


def test_by_default_nothing_is_added_to_a_method():
    method = make({})
    assert all(name.startswith("network.") for name in method.state_dict())
    loss, notes = step(method.eval(), batch())
    expected = robust.cross_entropy(logits_of(method, batch()), batch()["mask"][:, 0])
    assert loss.item() == expected.item() and notes == {}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"robust": "sce", "sce_alpha": 0.5, "sce_beta": 2.0},
            ("symmetric_cross_entropy", {"alpha": 0.5, "beta": 2.0}),
        ),
        ({"robust": "gce", "gce_q": 0.4}, ("generalised_cross_entropy", {"q": 0.4})),
        ({"robust": "bootstrap_soft"}, ("bootstrapping", {"beta": 0.95})),
        ({"robust": "bootstrap_hard", "bootstrap": 0.6}, ("bootstrapping", {"hard": True, "beta": 0.6})),
        ({"robust": "forward", "transition": T}, ("forward_corrected", {"transition": torch.tensor(T)})),
    ],
)
@pytest.mark.parametrize("weights", ["none", [1.0, 2.0, 5.0]])
def test_the_chosen_loss_takes_the_place_of_cross_entropy(settings, expected, weights):
    method = make({**settings, "ce": 2.0, "class_weights": weights}).eval()
    name, how = expected
    weight = None if weights == "none" else torch.tensor(weights)
    value = getattr(robust, name)(logits_of(method, batch()), batch()["mask"][:, 0], weight=weight, **how)
    assert step(method, batch())[0].item() == pytest.approx(2 * value.item(), rel=1e-6)


def test_the_target_of_early_learning_is_the_average_of_the_weights():
    method = make({"robust": "elr", "teacher_decay": 0.9}, dropout=0.0)
    before = {name: one.clone() for name, one in method.network.named_parameters()}
    with torch.no_grad():
        for one in method.network.parameters():
            one.add_(1.0)
    method.after_step(StepState(50, 100, 0, 1, torch.Generator()))
    for name, one in method.robustness.teacher.network.named_parameters():
        torch.testing.assert_close(one, before[name] + 0.1)
        assert not one.requires_grad
    method.eval()
    teacher = method.robustness.teacher.network
    t = teacher(batch()["image"][:, 0], batch()["valid"].all(2)).softmax(1)
    expected = robust.early_learning(logits_of(method, batch()), batch()["mask"][:, 0], t)
    assert step(method, batch())[0].item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_teacher_begins_without_a_trace_of_the_beginning_and_never_trains():
    method = make({"robust": "elr"}).train()
    assert not method.robustness.teacher.network.training
    with torch.no_grad():
        for one in method.network.parameters():
            one.add_(1.0)
    method.after_step(StepState(0, 100, 0, 1, torch.Generator()))
    for one, other in zip(method.robustness.teacher.network.parameters(), method.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_trust_weighs_each_image_of_a_batch():
    given = batch(trust=torch.tensor([TRUSTS.index(name) for name in ("reference", "coarse", "pseudo")]))
    method = make({"trust": {"coarse": 0.25, "pseudo": 0.0}}).eval()
    logits, mask = logits_of(method, given), given["mask"][:, 0]
    each = [robust.cross_entropy(logits[i : i + 1], mask[i : i + 1]) * (mask[i] != 255).sum() for i in range(2)]
    expected = (each[0] + 0.25 * each[1]) / (mask[:2] != 255).sum()
    assert step(method, given)[0].item() == pytest.approx(expected.item(), rel=1e-5)
    two_dates = {key: torch.cat([one, one.flip(0)], 1) if key != "trust" else one for key, one in given.items()}
    assert step(method, two_dates)[0].isfinite()


def test_every_trust_of_the_manifest_has_a_weight():
    assert tuple(TrustWeights.__dataclass_fields__) == TRUSTS


def test_proportions_take_the_labels_own_pixels_and_the_products_shares():
    given = batch()
    cells = square_cells(32, 32, 7.3, (2, 1)).expand(3, 1, 32, 32)
    shares = torch.randint(1, 67, (3, 1, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    method = make({"ce": 0.0, "proportions": 2.0, "label_pixel": 4}).eval()
    logits, mask = logits_of(method, given), given["mask"][:, 0]
    plain = step(method, given)[0].item()
    assert plain == pytest.approx(2 * proportion_loss(logits, mask, square_cells(32, 32, 4).expand(mask.shape)).item())
    exact = step(method, {**given, "cell": cells, "shares": shares})[0].item()
    told = shares[:, 0].float()
    expected = proportion_loss(logits, mask, cells[:, 0], shares=told / told.sum(1, keepdim=True))
    assert exact == pytest.approx(2 * expected.item(), rel=1e-5)


def test_a_mixture_stands_in_for_the_label_pixel_by_pixel():
    shares = torch.randint(1, 67, (3, 1, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    given = {**batch(), "shares": shares}
    method = make({"robust": "mixture"}).eval()
    labelled = given["mask"][:, 0] != 255
    told = shares[:, 0].double().movedim(1, -1)[labelled]
    log_p = logits_of(method, given).double().log_softmax(1).movedim(1, -1)[labelled]
    expected = -((told / told.sum(1, keepdim=True)) * log_p).sum() / len(log_p)
    assert step(method, given)[0].item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(ProjectError, match="no label has a table of mixtures"):
        step(method, batch())
    assert Supervised.sees_label_pixels(method.config) and not Supervised.sees_label_pixels(SupervisedConfig())


def test_a_belief_is_the_products_mixture_or_a_doubted_label():
    given = batch()
    mask, labelled = given["mask"][:, 0], given["mask"][:, 0] != 255
    one = torch.nn.functional.one_hot(mask.where(labelled, 0), 3).movedim(-1, 1).float()
    doubted = 0.7 * one + 0.3 * torch.tensor([0.5, 0.25, 0.25]).view(1, 3, 1, 1)
    shares = torch.randint(60, 67, (3, 1, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    shares[..., :16] = (200 * one[:, None, ..., :16]).to(torch.uint8)  # of a place whose product has no table
    told = shares[:, 0] / shares[:, 0].sum(1, keepdim=True)
    mixed = torch.cat([doubted[..., :16], told[..., 16:]], 3)
    for change, prior in (({}, doubted), ({"shares": shares}, mixed)):
        method = Supervised(TinyNetwork(dropout=0), SupervisedConfig(robust="posterior", doubt=0.3), (10, 5, 5)).eval()
        logits = logits_of(method, given)
        means = [shares.movedim(1, -1)[labelled].mean(0) for shares in (logits.softmax(1), prior)]
        expected = belief_likelihood(logits, mask, prior, torch.maximum(*means)) + 0.1 * robust.mixture_cross_entropy(
            logits, mask, prior
        )
        torch.testing.assert_close(step(method, {**given, **change})[0], expected)


def test_a_map_that_is_sure_of_one_class_is_not_held_for_learned():
    given = batch()
    with torch.no_grad():
        classifier = (network := TinyNetwork(dropout=0)).head
        classifier.bias.copy_(torch.tensor([30.0, 0.0, 0.0]))
    for anchor, moves in ((0.0, False), (0.1, True)):
        method = Supervised(network, SupervisedConfig(robust="posterior", anchor=anchor), (5, 5, 5)).eval()
        method.zero_grad()
        step(method, given)[0].backward()
        assert (float(classifier.bias.grad.abs().max()) > 0.01) == moves


def test_a_crosswalks_mixtures_tell_how_its_labels_err():
    """T_kj: of all the ground that is k by the mixtures of the labels seen so far, the share that is labelled j."""
    method = make({"robust": "forward", "transition": "crosswalk"}).train()
    table = torch.tensor([[180, 10, 10], [20, 150, 30], [0, 100, 100]], dtype=torch.uint8)
    counts = torch.zeros(3, dtype=torch.float64)
    for _ in range(2):
        given = batch()
        mask = given["mask"].where(given["mask"] != 255, 0)
        step(method, {**given, "shares": table[mask].movedim(-1, 2)})
        counts += torch.bincount(given["mask"][given["mask"] != 255], minlength=3)
    joint = counts[:, None] * table.double() / 200
    torch.testing.assert_close(method.robustness.transition.double(), (joint / joint.sum(0)).T, rtol=1e-5, atol=1e-6)
    with pytest.raises(ProjectError, match="no label has a table of mixtures"):
        step(method, batch())


def test_the_labels_pixel_size_is_filled_in_where_it_is_needed():
    config = SupervisedConfig(proportions=1.0)
    assert Supervised.configured(config, 30.0).label_pixel == 30
    assert Supervised.configured(SupervisedConfig(proportions=1.0, label_pixel=9.0), 30.0).label_pixel == 9
    assert Supervised.configured(SupervisedConfig(), None).label_pixel is None
    for ratio, says in ((None, "needs the pixel size of the labels"), (1.0, "as fine as the image")):
        with pytest.raises(ProjectError, match=says):
            Supervised.configured(config, ratio)
    with pytest.raises(ProjectError, match="needs the pixel size of the labels"):
        step(make({"proportions": 1.0}), batch())


def test_beliefs_are_blurred_by_the_spread_of_a_place_within_the_labels_pixel():
    for config, ratio, blur in (
        (SupervisedConfig(), 30.0, 30 / 12**0.5),
        (SupervisedConfig(label_pixel=9.0), 30.0, 9 / 12**0.5),
        (SupervisedConfig(blur=2.0), 30.0, 2.0),
        (SupervisedConfig(), 1.0, 0.0),
        (SupervisedConfig(), None, 0.0),
    ):
        assert Supervised.configured(config, ratio).blur == pytest.approx(blur)
    given = batch()
    sharp, soft = (
        Supervised(TinyNetwork(dropout=0), SupervisedConfig(robust="posterior", blur=blur), (5, 5, 5)).eval()
        for blur in (0.0, 3.0)
    )
    soft.network.load_state_dict(sharp.network.state_dict())
    losses = [float(step(method, given)[0].detach()) for method in (sharp, soft)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-4)


def test_a_matrix_is_read_from_the_file_that_is_named(tmp_path):
    (tmp_path / "m.csv").write_text("map,dark,bright,middle,area\ndark,9,0,1,50\nbright,1,8,1,20\nmiddle,0,2,8,30\n")
    method = make({"robust": "forward", "error_matrix": "m.csv"})
    with pytest.raises(ProjectError, match="has not read its matrix"):
        step(method, batch())
    method.meet(CLASSES, tmp_path)
    joint = [[45, 0, 5], [2, 16, 2], [0, 6, 24]]  # rows map, in the file's order dark, bright, middle
    order = (0, 2, 1)
    for i, truth in enumerate(order):
        column = [joint[label][truth] for label in order]
        expected = [one / sum(column) for one in column]
        assert method.robustness.transition[i].tolist() == pytest.approx(expected)
        assert method.config.transition[i] == pytest.approx(expected)  # so that a training is known by it
    step(method, batch())[0].backward()
    with pytest.raises(LabelError, match="other classes than the legend"):
        make({"robust": "forward", "error_matrix": "m.csv"}).meet(("dark", "middle", "water"), tmp_path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"robust": "forward"}, "with no matrix given"),
        ({"robust": "gce", "error_matrix": "m.csv"}, "'robust: gce' with error_matrix given"),
        ({"robust": "forward", "error_matrix": "m.csv", "transition": T}, "error_matrix and transition given"),
        ({"robust": "forward", "transition": [[1, 0], [0, 1]]}, "not 3 rows of 3 shares"),
        ({"robust": "forward", "transition": [[0.9, 0, 0], [0, 1, 0], [0, 0, 1]]}, "that sum to one"),
        ({"robust": "mixture", "correction": "objects"}, "no objects to correct"),
        ({"robust": "posterior", "correction": "objects"}, "no objects to correct"),
        ({"robust": "gce", "transition": "crosswalk"}, "'robust: gce' with transition given"),
        ({"robust": "gce", "label_smoothing": 0.1}, "has no label_smoothing"),
        ({"robust": "gcee"}, "'robust' is 'gcee'"),
        ({"trust": {"nosy": 0.1}}, "did you mean 'noisy'"),
        ({"trust": {"noisy": -1}}, "'trust.noisy' is -1"),
    ],
)
def test_settings_that_do_not_go_together(settings, says):
    with pytest.raises(ProjectError, match=says):
        make(settings)


def test_forward_correction_learns_the_truth_where_cross_entropy_learns_the_label():
    """Three in ten of class 0 are labelled 2, and more of class 1: the label's best guess of 1 is 2."""
    truth = torch.arange(3).repeat_interleave(1000)
    t = torch.tensor([[0.7, 0.0, 0.3], [0.0, 0.45, 0.55], [0.0, 0.0, 1.0]])
    labels = torch.cat([torch.multinomial(row, 1000, True, generator=torch.Generator().manual_seed(1)) for row in t])
    image = torch.nn.functional.one_hot(truth, 3).float()
    found = {}
    for name in ("plain", "forward"):
        layer = torch.nn.Linear(3, 3)
        optimiser = torch.optim.Adam(layer.parameters(), 0.1)
        for _ in range(300):
            logits = layer(image).T[None, :, :, None]
            given = labels[None, :, None]
            loss = (
                robust.cross_entropy(logits, given) if name == "plain" else robust.forward_corrected(logits, given, t)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found[name] = layer(torch.eye(3)).argmax(1).tolist()
    assert found == {"plain": [0, 2, 2], "forward": [0, 1, 2]}
