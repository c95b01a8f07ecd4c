import pytest
import torch
import torch.nn.functional as F
from tiny_training import TrainingSamples, network_of

from mapmend.core.errors import LabelError, ProjectError
from mapmend.core.settings import from_mapping
from mapmend.losses.bscc import semantic_correlation
from mapmend.losses.change import change_cross_entropy, change_dice
from mapmend.losses.sacl import local_contrast
from mapmend.methods import StepState, clearscd
from mapmend.methods.clearscd import ClearSCD, ClearSCDConfig
from mapmend.train.batches import settle

COUNTS = (4, 4, 4)
PARTS = {"semantic", "bce", "dice", "local", "memory", "bscc"}


def batch(size=2, **how):
    samples = [TrainingSamples(dates=2, **how)[(0, 0, i)] for i in range(size)]
    return settle({key: torch.stack([one[key] for one in samples]) for key in samples[0]}, torch.device("cpu"))


def make(**settings):
    return ClearSCD(
        network_of(ClearSCD), ClearSCDConfig(**{"fresh": 8, "queue": 20, "rotation": 0, **settings}), COUNTS
    )


def step(method, given, at=50):
    state = StepState(at, 100, 0, 1, torch.Generator().manual_seed(0))
    steps = method.training_step({"labelled": given}, state)
    name, loss = next(steps)
    assert name == "loss"
    if loss.requires_grad:
        loss.backward()
    assert list(steps) == []
    return loss.detach(), {name: float(value) for name, value in state.notes.items()}


def without(given, *names, date=None):
    """A batch in which nobody labelled this."""
    hidden = {name: given[name].clone() for name in names}
    for name in names:
        hidden[name][:, date if date is not None and name == "mask" else slice(None)] = 255
    return {**given, **hidden}


def test_pairs_are_turned_before_they_are_learned(monkeypatch):
    asked = []
    monkeypatch.setattr(clearscd, "turned_view", lambda given, generator, degrees: asked.append(degrees) or given)
    step(make(rotation=12.5), batch())
    assert asked == [12.5] and ClearSCDConfig().rotation == 30


def test_the_loss_is_the_published_sum():
    method, given = make().eval(), batch()
    step(method, given)  # so that the memory holds keys
    image, valid, mask, change = given["image"], given["valid"], given["mask"], given["change"]
    before = method.memory.keys.clone(), method.memory.filled.clone()
    loss, notes = step(method, given)
    with torch.no_grad():
        parts = method.network.parts(image, valid[:, :, 0:1])
        output = method.network.pair(image, valid[:, :, 0:1])
        queries = method.projection(parts.features.flatten(0, 1)).view_as(parts.features)
        # an image of one cell of the encoder gets a second one
        both = F.pad(torch.cat([mask, change[:, None]], 1).float(), (0, 32), value=255)
        near = F.interpolate(both, size=(8, 16), mode="nearest").long()
        near_mask, near_change = near[:, :2], near[:, 2]
        expected = {
            "semantic": sum(F.cross_entropy(output.classes[:, t], mask[:, t], ignore_index=255) for t in range(2)),
            "bce": change_cross_entropy(output.change, change),
            "dice": change_dice(output.change, change),
            "local": local_contrast(queries, parts.features, near_mask, 3, torch.Generator().manual_seed(0)),
            "bscc": semantic_correlation(*parts.features.unbind(1), parts.change, counted=near_change != 255),
        }
        method.memory.keys.copy_(before[0]), method.memory.filled.copy_(before[1])
        expected["memory"] = method.memory.contrast(queries, parts.classes.softmax(2), near_mask)
    assert notes == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)
    weights = {"semantic": 1, "bce": 1, "dice": 1, "local": 0.1, "memory": 1, "bscc": 0.1}
    assert loss.item() == pytest.approx(sum(weights[name] * value for name, value in notes.items()), rel=1e-5)


def test_at_first_the_memory_is_only_filled():
    method, given = make(fill=0.2), batch()
    assert step(method, given, at=19)[1].keys() == PARTS - {"memory"}
    assert method.memory.filled.sum() > 0
    assert step(method, given, at=20)[1].keys() == PARTS


@pytest.mark.parametrize(
    ("hidden", "zero", "some"),
    [
        ({"names": ("mask",), "date": 0}, set(), {"semantic", "local", "bce", "bscc"}),
        ({"names": ("mask",)}, {"semantic", "local", "memory"}, {"bce", "dice", "bscc"}),
        ({"names": ("change",)}, {"bce", "dice", "bscc"}, {"semantic", "local", "memory"}),
        ({"names": ("mask", "change")}, PARTS, set()),
    ],
    ids=["one date", "change alone", "classes alone", "nothing"],
)
def test_what_is_not_labelled_drops_out(hidden, zero, some):
    method, given = make().train(), batch()
    step(method, given)
    method.zero_grad()
    loss, notes = step(method, without(given, *hidden["names"], date=hidden.get("date")))
    assert torch.isfinite(loss)
    assert {name for name in PARTS if notes[name] == 0} >= zero
    assert all(notes[name] > 0 for name in some)
    gradients = [weight.grad for weight in method.parameters() if weight.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_missing_date_leaves_the_others_cross_entropy():
    method, given = make().eval(), batch()
    _, notes = step(method, without(given, "mask", date=0))
    with torch.no_grad():
        logits = method.network(given["image"][:, 1], given["valid"][:, 1])
    assert notes["semantic"] == pytest.approx(F.cross_entropy(logits, given["mask"][:, 1], ignore_index=255).item())


def test_weights_of_zero_leave_parts_out():
    method = make(local=0.0, memory=0.0, bscc=0.0)
    assert method.memory is None and method.projection is None
    assert step(method, batch())[1].keys() == {"semantic", "bce", "dice"}


def test_the_switches_of_bscc():
    given = without(batch(), "change")
    assert step(make().eval(), given)[1]["bscc"] == 0
    assert step(make(bscc_unlabelled="counted").eval(), given)[1]["bscc"] > 0
    nothing = {**given, "valid": torch.zeros_like(given["valid"])}
    assert step(make(bscc_unlabelled="counted").eval(), settle(nothing, torch.device("cpu")))[1]["bscc"] == 0
    for detach, learns in ((False, True), (True, False)):
        method = make(semantic=0.0, bce=0.0, dice=0.0, local=0.0, memory=0.0, bscc_detach=detach).eval()
        step(method, batch())
        touched = [weight.grad is not None and bool(weight.grad.any()) for weight in method.network.change.parameters()]
        assert any(touched) == learns


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_the_change_is_made_of_what_the_settings_name(space):
    assert ClearSCD.pair(ClearSCDConfig(cvaps_space=space)) == f"cvaps_{space}"


def test_the_projection_and_the_memory_are_not_deployed():
    method = make()
    names = {name.split(".")[0] for name in method.deployed().state_dict()}
    assert names == {"encoder", "decoder", "head", "change"}
    assert any(name.startswith("memory.keys") for name in method.state_dict())  # but saved with a checkpoint


def test_both_maps_and_the_change_are_judged():
    method, given = make().eval(), batch()
    with torch.no_grad():
        found = method.judge(given)
    assert method.judged(("a", "b", "c")) == {"classes": ("a", "b", "c"), "change": ("unchanged", "changed")}
    for label, prediction in found.values():
        assert label.shape == prediction.shape
    assert torch.equal(found["change"][0], given["change"])


def test_labels_of_one_class_are_refused_and_no_class_at_all_is_change_alone():
    network = network_of(ClearSCD)
    with pytest.raises(LabelError, match="fewer than two"):
        ClearSCD(network, ClearSCDConfig(), (0, 5, 0))
    ClearSCD(network, ClearSCDConfig(), (0, 0, 0))


@pytest.mark.parametrize(
    ("mapping", "says"), [({"cvaps_space": "feature"}, "probability"), ({"locall": 1}, "did you mean 'local'")]
)
def test_settings_of_the_wrong_kind(mapping, says):
    with pytest.raises(ProjectError, match=says):
        from_mapping(ClearSCDConfig, mapping, "project.yaml")
