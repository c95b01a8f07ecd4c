"""ClassMix and the image-wise weight against naive loops; the strong view."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mapmend.losses.class_mix import draw_classes, image_weight, pasted
from mapmend.losses.jitter import jitter_and_blur


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def masks():
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.integers(0, 5, (3, 16, 16)))
    mask[0][mask[0] > 2] = 255  # three classes, and pixels without a label
    mask[1] = 4
    mask[2] = 255
    return mask


@pytest.mark.parametrize("seed", range(5))
def test_half_of_the_classes_of_one_image_rounded_up_are_pasted_whole(seed):
    mask = masks()
    chosen = draw_classes(mask, 6, generator(seed))
    assert chosen.sum(1).tolist() == [2, 1, 0]
    paste = pasted(mask, chosen)
    for image in range(3):
        drawn = set(chosen[image].nonzero()[:, 0].tolist())
        assert drawn <= set(mask[image][mask[image] != 255].unique().tolist())
        for at in np.ndindex(16, 16):
            assert bool(paste[image][at]) == (int(mask[image][at]) in drawn)


def test_classes_of_the_whole_batch_are_a_switch():
    chosen = draw_classes(masks(), 6, generator(), of_batch=True)
    assert chosen.sum(1).tolist() == [2, 2, 2]  # of 0, 1, 2 and 4
    assert not chosen[:, [3, 5]].any()


def test_the_draw_differs_from_step_to_step_and_repeats_with_its_seed():
    mask = torch.arange(8).view(1, 2, 4)
    draws = [tuple(draw_classes(mask, 8, generator(seed))[0].tolist()) for seed in range(8)]
    assert len(set(draws)) > 4 and draws[0] == tuple(draw_classes(mask, 8, generator(0))[0].tolist())


def test_the_weight_is_the_share_of_valid_pixels_that_are_sure():
    rng = np.random.default_rng(1)
    probability = torch.from_numpy(rng.dirichlet([0.05] * 4, (3, 9, 9)).transpose(0, 3, 1, 2))
    valid = torch.from_numpy(rng.random((3, 9, 9)) > 0.3)
    valid[2] = False
    found = image_weight(probability, valid, 0.968)
    for image in range(3):
        sure = total = 0
        for at in np.ndindex(9, 9):
            if valid[image][at]:
                total += 1
                sure += float(probability[(image, slice(None), *at)].max()) >= 0.968
        assert float(found[image]) == pytest.approx(sure / max(total, 1))
    assert 0 < found[0] < 1 and found[2] == 0


def test_colours_change_alike_in_a_batch_and_what_is_invalid_stays():
    image = torch.full((2, 3, 12, 12), 100.0)
    image[:, 1] = 60
    valid = torch.ones(2, 1, 12, 12, dtype=torch.bool)
    valid[:, :, :4] = False
    image += torch.randn(1, 3, 12, 12, generator=generator())
    low, high = torch.zeros(3), torch.full((3,), 120.0)
    image[:, :, 11, 11] = 255  # beyond what counts as white: nothing is cut off
    seen = set()
    for seed in range(30):
        draws = torch.rand(7, generator=generator(seed)).tolist()
        jittered, blurred, sigma = draws[0] < 0.5, draws[1] < 0.5, 0.15 + draws[6]
        view = jitter_and_blur(image, valid, low, high, generator(seed))
        torch.testing.assert_close(view[0], view[1])
        assert jittered or blurred or torch.equal(view, image)
        assert torch.equal(view[:, :, :4], image[:, :, :4])
        assert jittered != torch.allclose(view[:, :, 4:].mean((2, 3)), image[:, :, 4:].mean((2, 3)), atol=1.5)
        if blurred and not jittered:
            reach = (0, *[math.ceil(3 * sigma)] * 2)
            how = {"sigma": (0, sigma, sigma), "mode": "nearest", "radius": reach}
            known = valid[0].float().expand(3, -1, -1).numpy()
            smooth, weight = gaussian_filter(image[0].numpy() * known, **how), gaussian_filter(known, **how)
            np.testing.assert_allclose(view[0][:, 4:], smooth[:, 4:] / weight[:, 4:], atol=1e-3)
        seen.add((jittered, blurred))
    assert len(seen) == 4
    assert torch.equal(
        jitter_and_blur(image, valid, low, high, generator(3)), jitter_and_blur(image, valid, low, high, generator(3))
    )


def test_other_numbers_of_bands_have_no_hue():
    image = torch.rand(2, 5, 8, 8) * 100
    view = jitter_and_blur(
        image, torch.ones(2, 1, 8, 8, dtype=torch.bool), torch.zeros(5), torch.full((5,), 100.0), generator(1)
    )
    assert view.shape == image.shape and torch.isfinite(view).all()
