import torch

from mapmend.losses.scaled_views import scaled_view, turned_view


def batch(seed=0, size=3, side=48):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(3, (size, 2, side // 8, side // 8), generator=generator)
    mask = cells.repeat_interleave(8, -1).repeat_interleave(8, -2)
    image = (60 * mask[:, :, None]).expand(-1, -1, 3, -1, -1).to(torch.uint8)
    valid = torch.ones(size, 2, 1, side, side, dtype=torch.bool)
    valid[0, 1, :, :16, :16] = False
    change = (mask[:, 0] != mask[:, 1]).long()
    change[1, :8] = 255
    return {"image": image.clone(), "valid": valid, "mask": mask, "change": change, "trust": torch.zeros(size)}


def view(scale, seed=0, given=None):
    return scaled_view(given or batch(), torch.Generator().manual_seed(seed), scale)


def check_together(seen):
    """Colours are those of the classes, and change is where the dates' classes differ."""
    pure = (seen["image"][:, :, 0] / 60).round()
    inner = (seen["image"][:, :, 0] / 60 - pure).abs() < 1e-3  # away from borders, where colours mix
    known = seen["valid"][:, :, 0] & inner & (seen["mask"] != 255)
    assert known.sum() > 1000
    assert (pure.long() == seen["mask"])[known].float().mean() > 0.99
    told = seen["change"] != 255
    differ = (seen["mask"][:, 0] != seen["mask"][:, 1]).long()
    assert torch.equal(differ[told], seen["change"][told])


def test_the_scale_of_one_changes_nothing():
    given = batch()
    assert all(torch.equal(view((1, 1), given=given)[name], given[name]) for name in given)
    same = view((1 + 1e-9, 1 + 1e-9), given=given)
    for name in ("mask", "change", "valid"):
        assert torch.equal(same[name], given[name])
    both = (one["image"].float().where(one["valid"], 0) for one in (same, given))
    torch.testing.assert_close(*both, rtol=0, atol=1e-3)


def test_image_and_labels_of_both_dates_move_together():
    for seed in range(5):
        seen = view((0.5, 2.0), seed)
        check_together(seen)


def test_a_reduced_pair_is_continued_by_its_mirror_image():
    given = batch()
    half = view((0.5, 0.5), given=given)
    for seen, whole in zip(half["change"], given["change"], strict=True):
        small = whole[::2, ::2]
        flipped = torch.cat([torch.cat([small.flip(0), small, small.flip(0)])] * 3, 1)
        flipped[:, :24], flipped[:, 48:] = flipped[:, :24].flip(1), flipped[:, 48:].flip(1)
        rows = flipped.unfold(0, 48, 1).unfold(1, 48, 1)
        agree = (rows == seen).float().mean((-2, -1))
        assert agree.max() > 0.9  # borders may fall on either side
    assert half["valid"][1:].all()
    places = {tuple(one.flatten().tolist()) for one in view((0.5, 0.5))["mask"]}
    assert len(places) == 3


def test_an_enlarged_pair_fills_the_view():
    double = view((2.0, 2.0))
    assert (double["mask"] != 255).all()
    assert double["valid"][1:].all()


def test_junk_under_invalid_pixels_is_not_seen():
    given = batch()
    other = {**given, "image": given["image"].where(given["valid"], 255)}
    one, two = view((0.5, 2.0), 3, given), view((0.5, 2.0), 3, other)
    assert torch.equal(one["image"], two["image"])
    assert not one["valid"][0, 1].all()


def test_turning_moves_image_and_labels_of_both_dates_together():
    for seed in range(5):
        seen = turned_view(batch(seed), torch.Generator().manual_seed(seed), 30.0, share=1.0)
        check_together(seen)


def test_a_pair_is_turned_by_no_more_than_the_angle_and_not_bent():
    height, width = 48, 64
    rows, cols = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    many = 40
    image = torch.stack([cols, rows]).expand(many, 2, 2, height, width).clone()
    given = {
        "image": image,
        "valid": torch.ones(many, 2, 1, height, width, dtype=torch.bool),
        "mask": torch.zeros(many, 2, height, width, dtype=torch.long),
        "change": torch.zeros(many, height, width, dtype=torch.long),
    }
    seen = turned_view(given, torch.Generator().manual_seed(1), 30.0)["image"]
    assert torch.equal(seen[:, 0], seen[:, 1])
    middle = torch.stack([torch.full((), width / 2), torch.full((), height / 2)])
    step_right = seen[:, 0, :, 24, 34] - seen[:, 0, :, 24, 30]  # how the place changes along a row, and down a column
    step_down = seen[:, 0, :, 26, 32] - seen[:, 0, :, 22, 32]
    around = seen[:, 0, :, 23:25, 31:33].mean((-2, -1))
    torch.testing.assert_close(around, middle.expand(many, 2), atol=1e-3, rtol=0)
    for step in (step_right, step_down):
        torch.testing.assert_close(step.norm(dim=1), torch.full((many,), 4.0), atol=1e-3, rtol=0)
    assert (step_right * step_down).sum(1).abs().max() < 1e-2
    angles = torch.rad2deg(torch.atan2(step_right[:, 1], step_right[:, 0]))
    assert angles.abs().max() <= 30.01 and angles.abs().max() > 20 and angles.min() < 0 < angles.max()
    assert 0.3 < (angles.abs() < 1e-3).float().mean() < 0.7
    assert all(torch.equal(turned_view(given, torch.Generator(), 0)[name], given[name]) for name in given)
