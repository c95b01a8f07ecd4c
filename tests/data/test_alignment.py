"""Resolution alignment and the rest of the source's augmentation: codes kept, label and image aligned, seeded."""

import numpy as np
import pytest
import torch
from tests.data.scenery import grid, halves, image_of, write

from mapmend.core.legend import load_legend
from mapmend.core.manifest import Row
from mapmend.core.sensor import load_sensor
from mapmend.data.alignment import aligned, resolution_alignment
from mapmend.data.prepare import prepare
from mapmend.data.samples import TrainingSet, nearest, resized
from mapmend.data.splits import SitePart
from mapmend.losses.distortion import distorted, distortion
from mapmend.train.batches import unseen_unlabelled


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(side=64, bands=5, size=8):
    """Squares whose value in every band is 40 times their class."""
    cells = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (size, 1, side // 16, side // 16)))
    mask = cells.repeat_interleave(16, 2).repeat_interleave(16, 3)
    image = (40 * mask[:, :, None]).expand(size, 1, bands, side, side).to(torch.uint8)
    return {"image": image, "mask": mask, "valid": torch.ones(size, 1, 1, side, side, dtype=torch.bool)}


def test_codes_are_kept_and_label_and_image_stay_aligned():
    given = batch()
    given["mask"][:, :, :8] = 255
    made = resolution_alignment(1.0)(given, generator())
    assert made["image"].shape == given["image"].shape and made["image"].dtype == torch.float32
    assert set(made["mask"].unique().tolist()) <= {*given["mask"].unique().tolist()}
    known = made["mask"] != 255
    # away from borders, which the blur has moved over, a pixel looks as its class does
    error = (made["image"] - 40.0 * made["mask"][:, :, None]).abs()[:, :, 0][known]
    assert float((error < 12).float().mean()) > 0.6
    shuffled = made["mask"].flip(-1)
    worse = (made["image"] - 40.0 * shuffled[:, :, None]).abs()[:, :, 0][shuffled != 255]
    assert float((error < 12).float().mean()) > float((worse < 12).float().mean()) + 0.2


def test_a_border_in_the_middle_stays_where_it_is():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 32:] = 100
    label = (image[:, 0] > 50).long()
    pixels, valid, maps = aligned(image, torch.ones(1, 1, 64, 64, dtype=torch.bool), {"mask": label}, 1.0, 0.0, 0, 0)
    assert valid.all() and torch.equal(maps["mask"], label)
    assert torch.equal((pixels[:, 0] > 50).long(), label)  # reduced to 22 pixels and back: the middle is the middle
    assert 50 < float(pixels[0, 0, 5, 32]) < 100  # and it has become coarse


def test_objects_become_as_large_or_larger_and_never_smaller():
    image, valid = torch.zeros(1, 1, 60, 60), torch.ones(1, 1, 60, 60, dtype=torch.bool)
    label = torch.zeros(1, 60, 60, dtype=torch.long)
    label[:, 28:32, 28:32] = 1
    for larger, times in ((0.0, 1), (0.5, 2), (1.0, 3)):
        maps = aligned(image, valid, {"mask": label}, 0.5, larger, 0.5, 0.5)[2]
        assert int(maps["mask"].sum()) == (4 * times) ** 2


def test_what_is_invalid_has_no_part_in_the_means():
    image = torch.full((1, 2, 64, 64), 80.0)
    valid = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    image[..., :20], valid[..., :20] = 255, False
    pixels, known, _ = aligned(image, valid, {}, 0.7, 0.4, 0.0, 0.0)
    assert not known.all() and known.any()
    torch.testing.assert_close(pixels[:, :, known[0, 0]], torch.full_like(pixels[:, :, known[0, 0]], 80))


def test_what_becomes_invalid_loses_its_label():
    given = batch(side=32)
    given["valid"][..., ::3] = False  # so thin that no coarser pixel keeps a hole, and some lose all
    given["change"] = given["mask"][:, 0] % 2
    made = unseen_unlabelled(resolution_alignment(1.0)(given, generator()))
    unseen = ~made["valid"].all(2)
    assert (unseen & (given["mask"] != 255)).any()
    assert (made["mask"][unseen] == 255).all() and (made["change"][unseen.any(1)] == 255).all()


def test_a_fifth_of_the_images_is_changed_and_a_seed_repeats_it():
    given = batch(side=32, size=400)
    made = resolution_alignment(0.2)(given, generator(3))
    changed = [not torch.equal(a.float(), b) for a, b in zip(given["image"], made["image"], strict=True)]
    assert 50 < sum(changed) < 110
    again = resolution_alignment(0.2)(given, generator(3))
    assert torch.equal(made["image"], again["image"]) and torch.equal(made["mask"], again["mask"])
    assert resolution_alignment(0)(given, generator()) is given


def test_distortion_is_drawn_for_each_image_and_turns_no_hue_of_other_bands():
    given = {"image": torch.full((6, 1, 3, 8, 8), 100, dtype=torch.uint8), "valid": torch.ones(6, 1, 1, 8, 8)}
    change = distortion((90.0,) * 3, (40.0,) * 3, applied=True)
    made = change(given, generator())["image"]
    assert made.shape == (6, 1, 3, 8, 8) and len({round(float(one[0, 0, 0, 0]), 3) for one in made}) > 3
    assert torch.equal(made, change(given, generator())["image"])
    assert distortion((90.0,), (40.0,), applied=False)(given, generator()) is given
    grey = torch.full((3, 2, 2), 0.5)
    torch.testing.assert_close(distorted(grey, [1, 0, 1, 0, 0, 1, 0, 0, 1.0]), grey)  # hue alone: grey stays grey
    torch.testing.assert_close(distorted(grey, [0, 1.0, 1, 0, 0, 1, 0, 1, 0]), grey + 32 / 255)


def sites(tmp_path, ids):
    write(tmp_path / "i.tif", image_of(ids), grid(*ids.shape))
    write(tmp_path / "l.tif", ids, grid(*ids.shape), nodata=255)
    row = Row("here", sensor="rgb", image=(str(tmp_path / "i.tif"),), label=str(tmp_path / "l.tif"))
    legend = load_legend({"name": "two", "classes": [{"id": n, "name": f"c{n}", "color": "#aa5500"} for n in (1, 2)]})
    prepared = prepare([row], {"rgb": load_sensor("rgb")}, legend, tmp_path / "out")
    return [SitePart(prepared.sites[0], trains=True)], legend


def test_windows_of_other_scales_keep_codes_and_alignment(tmp_path):
    ids = halves(128, 192)
    parts, legend = sites(tmp_path, ids)
    scaled = TrainingSet(parts, legend, 64, 0, scale=(0.5, 2.0))
    noise = []
    for step in range(12):
        sample = scaled[step, 0, 0]
        assert sample["image"].shape == (1, 3, 64, 64) and sample["image"].dtype == torch.float32
        assert set(sample["mask"].unique().tolist()) <= {0, 1, 255}
        known = sample["mask"][0] != 255
        looks = (sample["image"][0].mean(0) > 90).long()  # the classes are 60 and 120 bright
        assert (looks == sample["mask"][0])[known].float().mean() > 0.97
        noise.append(float((sample["image"][0] - 60 * (1 + looks))[:, known].std()))
    assert max(noise) < 9 and max(noise) - min(noise) > 1  # 10 as it is, less where windows are reduced or enlarged
    plain, whole = TrainingSet(parts, legend, 64, 0), TrainingSet(parts, legend, 64, 0, scale=(1, 1))
    assert torch.equal(plain[3, 0, 0]["image"], whole[3, 0, 0]["image"])


def test_a_window_resized_is_the_mean_of_its_valid_pixels_and_the_nearest_label():
    image, valid = np.full((2, 8, 8), 50, np.uint8), np.ones((1, 8, 8), bool)
    image[:, :, 4:], valid[:, :, 4:] = 0, False
    label = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4), 2, 0), 2, 1)
    for side in (4, 16):
        values, known, codes = resized(image, valid, label, side)
        np.testing.assert_allclose(values[:, known[0]], 50, rtol=1e-5)
        assert known[0, 0, 0] and not known[0, 0, -1]
        np.testing.assert_array_equal(codes, nearest(label, side))
    np.testing.assert_array_equal(nearest(label, 4), np.arange(16).reshape(4, 4))


@pytest.mark.parametrize("most", [0.75, 1.0])
def test_windows_of_almost_one_class_are_drawn_again(tmp_path, most):
    ids = np.ones((256, 256), np.uint8)
    ids[:, 200:] = 2
    parts, legend = sites(tmp_path, ids)
    drawn = TrainingSet(parts, legend, 64, 0, most_of_class=most)
    mixed = 0
    for step in range(40):
        mask = drawn[step, 0, 0]["mask"]
        counts = torch.bincount(mask[mask != 255], minlength=2)
        mixed += float(counts.max() / counts.sum()) <= 0.75
    assert (mixed > 25) == (most < 1)
