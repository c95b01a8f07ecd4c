import torch

from mapmend.methods.beliefs import Beliefs
from mapmend.methods.robust_settings import RobustSettings


def beliefs(**settings):
    return Beliefs(RobustSettings(robust="posterior", blur=0.0, **settings), (2, 1, 1))


def test_a_class_that_the_map_has_less_of_than_the_beliefs_gains_no_more_by_being_rare():
    mask = torch.randint(3, (1, 16, 16), generator=torch.Generator().manual_seed(0))
    pulls = []
    for score in (-3.0, -8.0):  # of the last class: some percent of the map, or next to nothing
        logits = torch.tensor([0.0, 0.0, score]).view(1, 3, 1, 1).repeat(1, 1, 16, 16).requires_grad_()
        beliefs(anchor=0).loss(logits, mask, None, None).backward()
        pulls.append(-logits.grad[:, 2].sum().item())
    assert pulls[0] > 0 and pulls[1] < pulls[0] / 50  # its share falls by e⁵ = 148; by that share alone, it would not


def test_what_is_likeliest_is_looked_up_without_being_learned_from():
    mask = torch.tensor([[[0, 1], [2, 255]]])
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1, 0, 0] = 9  # the image speaks strongly against the label there, and says nothing elsewhere
    one = beliefs(doubt=0.3)
    found = one.likeliest(logits, mask, None)
    assert found[0, 0].tolist() == [1, 1] and found[0, 1].tolist() == [2, 255]
    assert not one.mapped.any() and not one.believed.any()
    one.loss(logits, mask, None, None)
    torch.testing.assert_close(one.mapped, logits.softmax(1)[0].flatten(1)[:, :3].mean(1))
    torch.testing.assert_close(one.believed, (0.7 / 3 + 0.3 * torch.tensor([0.5, 0.25, 0.25])))


def test_a_map_of_one_class_is_no_judge_of_labels():
    mask = torch.tensor([[[0, 0, 0, 0], [1, 1, 2, 255]]])
    logits = torch.zeros(1, 3, 2, 4)
    logits[:, 0] = 9
    assert torch.equal(beliefs(doubt=0.9).likeliest(logits, mask, None), mask)
    logits[0, :, 1, 0] = torch.tensor([0.0, 9.0, 0.0])  # one of three would be left: still too few
    assert torch.equal(beliefs(doubt=0.9).likeliest(logits, mask, None), mask)
    logits[0, :, 1, 1] = torch.tensor([0.0, 9.0, 0.0])
    assert beliefs(doubt=0.9).likeliest(logits, mask, None)[0].tolist() == [[0, 0, 0, 0], [1, 1, 0, 255]]
