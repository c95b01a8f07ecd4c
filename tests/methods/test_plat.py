import torch
import torch.nn.functional as F
from tiny_training import TinyNetwork, TrainingSamples

from mapmend.methods import StepState
from mapmend.methods.plat import Plat, PlatConfig
from mapmend.train.batches import settle


def test_the_second_head_learns_where_the_first_agrees_with_the_label():
    sample = TrainingSamples(labelled=0.8)[(0, 0, 0)]
    given = settle({key: value[None] for key, value in sample.items()}, torch.device("cpu"))
    method = Plat(TinyNetwork(dropout=0), PlatConfig(first=0.3), (5, 5, 5)).eval()
    torch.nn.init.normal_(method.first.weight)
    state = StepState(0, 10, 0, 1, torch.Generator())
    [(_, loss)] = method.training_step({"labelled": given}, state)
    image, valid, mask = given["image"][:, 0], given["valid"][:, 0], given["mask"][:, 0]
    feature = method.network.decoded(image, valid)
    first, second = method.first(feature), method.network.head(feature)
    agreed = (first.argmax(1) == mask) & (mask != 255)
    assert 0 < agreed.sum() < (mask != 255).sum()
    expected = 0.3 * F.cross_entropy(first, mask, ignore_index=255)
    expected = expected + 0.7 * F.cross_entropy(second.movedim(1, -1)[agreed], mask[agreed])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(method.predict(image, valid), second)
    assert float(state.notes["agreed"]) == float(agreed.sum() / (mask != 255).sum())
