import math

import pytest
import torch

from mapmend.losses.sacl import Memory, draw, local_contrast

K, D = 4, 6


def case(seed=0, batch=2, side=5, classes=(0, 1, 3), ignored=0.2):
    """Features, probabilities and labels of two dates; class 2 is in no batch."""
    generator = torch.Generator().manual_seed(seed)
    queries, keys = (torch.randn(batch, 2, D, side, side, generator=generator) for _ in range(2))
    probability = torch.randn(batch, 2, K, side, side, generator=generator).softmax(2)
    label = torch.tensor(classes)[torch.randint(len(classes), (batch, 2, side, side), generator=generator)]
    label[torch.rand(label.shape, generator=generator) < ignored] = 255
    return queries, keys, probability, label


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(vector):
    length = math.sqrt(sum(value * value for value in vector))
    return [value / max(length, 1e-12) for value in vector]


def dot(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def pixels(feature, label, date=None):
    """(date, class, vector) of every labelled pixel, by loops."""
    found = []
    for b in range(label.shape[0]):
        for t in range(label.shape[1]):
            for y in range(label.shape[2]):
                for x in range(label.shape[3]):
                    c = int(label[b, t, y, x])
                    if c != 255 and date in (None, t):
                        found.append((t, c, feature[b, t, :, y, x].tolist()))
    return found


def local_by_loops(queries, keys, label, temperature=0.1):
    """As published, where every pixel is drawn."""
    asked = pixels(queries, label)
    found = [(t, c, unit(vector)) for t, c, vector in pixels(keys, label)]
    present = sorted({c for _, c, _ in asked})
    total = 0.0
    for c in present:
        own = [vector for _, k, vector in asked if k == c]
        anchor = unit([sum(values) / len(own) for values in zip(*own, strict=True)])
        against = sum(math.exp(dot(anchor, k) / temperature) for _, other, k in found if other != c)
        each = []
        for _, other, k in found:
            if other == c:
                near = math.exp(dot(anchor, k) / temperature)
                each.append(-math.log(near / (near + against)))
        total += sum(each) / len(each)
    return total / len(present)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 3])
def test_local_contrast_is_the_published_sum(seed, batch):
    queries, keys, _, label = case(seed, batch)
    loss = local_contrast(queries, keys, label, K, seeded())
    assert loss.item() == pytest.approx(local_by_loops(queries, keys, label), rel=1e-5)


def test_the_mean_of_projections_is_the_projection_of_the_mean():
    queries, keys, probability, label = case()
    layer = torch.nn.Linear(D, D)
    projected = layer(queries.movedim(2, -1)).movedim(-1, 2)
    memory = Memory(2, K, 8, D, 2)
    memory.enqueue(keys, label, seeded())
    losses = [
        (local_contrast(hidden, keys, label, K, seeded(), **way), memory.contrast(hidden, probability, label, **way))
        for hidden, way in ((projected, {}), (queries, {"project": layer}))
    ]
    torch.testing.assert_close(losses[0], losses[1])
    gradients = [torch.autograd.grad(sum(pair), layer.parameters()) for pair in losses]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_a_draw_takes_each_groups_members_and_no_more_than_asked():
    group = torch.tensor([0, 2, 2, 5, 1, 2, 2, 5, 2, 0])  # 5: in none
    chosen, rank = draw(group, 5, 3, seeded())
    assert sorted(group[chosen].tolist()) == [0, 0, 1, 2, 2, 2]
    assert len(set(chosen.tolist())) == len(chosen)
    for number in (0, 1, 2):
        assert sorted(rank[group[chosen] == number].tolist()) == list(range(int((group[chosen] == number).sum())))


def test_draws_are_even_and_follow_the_generator():
    group = torch.zeros(10, dtype=torch.int64)
    hits = torch.zeros(10)
    generator = seeded(1)
    for _ in range(2000):
        hits[draw(group, 1, 3, generator)[0]] += 1
    assert (hits / 2000 - 0.3).abs().max() < 5 * math.sqrt(0.3 * 0.7 / 2000)
    assert torch.equal(draw(group, 1, 3, seeded(2))[0], draw(group, 1, 3, seeded(2))[0])


def test_queries_and_keys_are_drawn_apart():
    """With one pixel a class, key and anchor come from other places: the loss differs from draw to draw."""
    queries, keys, _, label = case(3)
    values = {local_contrast(queries, keys, label, K, seeded(seed), most=1).item() for seed in range(5)}
    assert len(values) == 5


def test_local_gradients_reach_labelled_queries_and_keys_and_nothing_else():
    queries, keys, _, label = case(1)
    queries.requires_grad_(), keys.requires_grad_()
    local_contrast(queries, keys, label, K, seeded()).backward()
    for feature in (queries, keys):
        moved = feature.grad.abs().sum(2)
        assert (moved[label == 255] == 0).all()
        assert (moved[label != 255] > 0).all()


@pytest.mark.parametrize("label_of", [255, 1])
def test_no_label_or_one_class_is_nothing_to_contrast(label_of):
    queries, keys, probability, label = case(2)
    label = torch.full_like(label, label_of)
    queries.requires_grad_(), keys.requires_grad_()
    memory = Memory(2, K, 16, D, fresh=4)
    loss = local_contrast(queries, keys, label, K, seeded()) + memory.contrast(queries, probability, label)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert queries.grad.abs().max() == 0 and keys.grad.abs().max() == 0


def global_by_loops(memory, queries, probability, label):
    """As published, over the slots that were filled."""
    stored = {}  # class → keys of both dates
    for t in range(2):
        for c in range(K):
            for slot in range(int(memory.filled[t, c])):
                stored.setdefault(c, []).append(memory.keys[t, c, slot].tolist())
    total = 0.0
    for t in range(2):
        each = []
        vectors, shares = pixels(queries, label, t), pixels(probability, label, t)
        for c in sorted({c for _, c, _ in vectors}):
            weights = [1 - share[c] for (_, k, share) in shares if k == c]
            own = [vector for _, k, vector in vectors if k == c]
            if sum(weights) == 0:
                continue
            mean = [sum(w * v for w, v in zip(weights, values, strict=True)) for values in zip(*own, strict=True)]
            q = unit([value / sum(weights) for value in mean])
            near = [1 - dot(q, k) for k in stored.get(c, [])]
            far = [1 + dot(q, k) for other, keys in stored.items() if other != c for k in keys]
            each.append((sum(near) / max(len(near), 1) + sum(far) / max(len(far), 1)) / 2)
        total += sum(each) / max(len(each), 1) / 2
    return total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch", [1, 3])
def test_global_contrast_is_the_published_sum(seed, batch):
    memory = Memory(2, K, 16, D, fresh=4)
    for step in range(5):
        _, keys, _, label = case(10 * seed + step, ignored=0.5)
        memory.enqueue(keys, label, seeded(step))
    assert 0 < memory.filled.sum() < memory.keys[..., 0].numel()
    queries, _, probability, label = case(seed, batch, classes=(0, 1, 2, 3))
    loss = memory.contrast(queries, probability, label)
    assert loss.item() == pytest.approx(global_by_loops(memory, queries, probability, label), rel=1e-5)


def test_a_class_without_any_hardness_is_skipped():
    memory = Memory(2, K, 16, D, fresh=4)
    memory.enqueue(case(0)[1], case(0)[3], seeded())
    queries, _, probability, label = case(5)
    probability[:, :, 1] = 1.0  # class 1 is certain everywhere
    loss = memory.contrast(queries, probability, label)
    assert loss.item() == pytest.approx(global_by_loops(memory, queries, probability, label), rel=1e-5)


def test_only_the_queries_learn_from_the_memory():
    memory = Memory(2, K, 16, D, fresh=4)
    queries, keys, probability, label = case(6)
    memory.enqueue(keys, label, seeded())
    queries.requires_grad_(), probability.requires_grad_()
    memory.contrast(queries, probability, label).backward()
    assert probability.grad is None
    assert not memory.keys.requires_grad
    moved = queries.grad.abs().sum(2)
    assert (moved[label == 255] == 0).all() and (moved[label != 255] > 0).any()


def test_the_memory_wraps_around():
    """Ten steps of three into seven slots: the slots hold the last ones put there, as a ring written one by one has."""
    memory = Memory(2, K, 7, D, fresh=3)
    ring = {}
    for step in range(10):
        label = torch.full((1, 2, 2, 2), 255)
        label[0, 0].flatten()[:3] = 1  # three pixels, just enough
        label[0, 1].flatten()[:2] = 1  # too few
        keys = torch.randn(1, 2, D, 2, 2, generator=seeded(step))
        before = memory.keys.clone()
        memory.enqueue(keys, label, seeded(step))
        written = [slot for slot in range(7) if not torch.equal(before[0, 1, slot], memory.keys[0, 1, slot])]
        assert sorted(written) == sorted((3 * step + i) % 7 for i in range(3))
        ring |= {slot: step for slot in written}
        fresh = {tuple(round(v, 5) for v in unit(vector)) for _, _, vector in pixels(keys, label, 0)}
        assert {tuple(round(v, 5) for v in memory.keys[0, 1, slot].tolist()) for slot in written} == fresh
        assert memory.pointer[0, 1] == 3 * (step + 1) % 7
        assert memory.filled[0, 1] == min(7, 3 * (step + 1))
    assert memory.filled.sum() == 7  # the other date had too few, the other classes none
    assert set(ring.values()) == {7, 8, 9}


def test_keys_are_of_length_one_and_a_queue_takes_no_more_than_it_holds():
    memory = Memory(2, K, 8, D, fresh=8)
    memory.enqueue(5 * case(0, batch=4)[1], case(0, batch=4)[3], seeded())
    lengths = memory.keys.norm(dim=-1)
    assert ((lengths - 1).abs() < 1e-5)[memory.filled[..., None] > torch.arange(8)].all()
    with pytest.raises(ValueError, match="cannot take 9"):
        Memory(2, K, 8, D, fresh=9)
