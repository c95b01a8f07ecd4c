import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mapmend.losses.strong_views import OPERATIONS, strong_view

SEEN = torch.ones(24, 20, dtype=torch.bool)


def picture(seed=0, bands=3, shape=(24, 20)):
    """8-bit values that do not reach black or white."""
    return torch.randint(20, 200, (bands, *shape), generator=torch.Generator().manual_seed(seed))


def as_pil(pixels):
    return Image.fromarray(pixels.movedim(0, -1).numpy().astype(np.uint8))


def as_tensor(image):
    return torch.from_numpy(np.asarray(image).astype(np.float32)).movedim(-1, 0)


def operated(name, pixels, seen, magnitude):
    """An operation on one date C×H×W."""
    return OPERATIONS[name](pixels[None], seen[None, None], magnitude)[0]


@pytest.mark.parametrize("magnitude", [1, 5, 9])
@pytest.mark.parametrize(
    ("name", "pil", "within"),
    [
        ("autocontrast", lambda image, m: ImageOps.autocontrast(image), 1.0),
        ("brightness", lambda image, m: ImageEnhance.Brightness(image).enhance(0.9 * m / 10 + 0.05), 1.0),
        ("posterize", lambda image, m: ImageOps.posterize(image, int(m * 4 / 10) + 4), 0.01),
        ("solarize", lambda image, m: ImageOps.solarize(image, 256 - int(m * 256 / 10)), 0.01),
        ("identity", lambda image, m: image, 0.01),
        ("equalize", lambda image, m: ImageOps.equalize(image), 3.0),
    ],
)
def test_operations_are_those_of_the_library_that_was_published_with(name, pil, within, magnitude):
    pixels = picture(shape=(160, 160))  # in a small picture the library's equalisation divides whole numbers
    ours = 255 * operated(name, pixels / 255, torch.ones(160, 160, dtype=torch.bool), magnitude)
    theirs = as_tensor(pil(as_pil(pixels), magnitude))
    assert (ours - theirs).abs().max() <= within


def test_sharpness_is_that_librarys_inside_the_edges():
    pixels = picture(1)
    ours = 255 * operated("sharpness", pixels / 255, SEEN, 4)
    smooth = as_tensor(as_pil(pixels).filter(ImageFilter.SMOOTH))
    theirs = smooth + (pixels - smooth) * (0.9 * 0.4 + 0.05)
    assert (ours - theirs)[:, 1:-1, 1:-1].abs().max() <= 1


def test_color_and_contrast_go_to_grey():
    pixels = picture(2) / 255
    for name, grey in (("color", pixels.mean(0, keepdim=True)), ("contrast", pixels.mean())):
        view = operated(name, pixels, SEEN, 4)
        torch.testing.assert_close(view, grey + (pixels - grey) * 0.41)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("bands", [1, 3, 7])
def test_what_is_invalid_has_no_say(name, bands):
    """Except beside it, where a smoothed pixel sees its neighbours, which strong_view sets to black."""
    pixels = picture(3, bands) / 255
    seen = SEEN.clone()
    seen[:8] = False
    views = [operated(name, pixels.where(seen, junk), seen, 5) for junk in (0.0, 1.0)]
    torch.testing.assert_close(views[0][:, 9:], views[1][:, 9:])
    assert torch.isfinite(operated(name, pixels, SEEN & False, 5)).all()
    assert torch.isfinite(operated(name, torch.full_like(pixels, 0.5), SEEN, 5)).all()


def view_of(image, seed=0, cut=16, low=0.0, high=255.0, **how):
    bands = image.shape[-3]
    valid = torch.ones_like(image[..., :1, :, :], dtype=torch.bool)
    bounds = (torch.full((bands,), value) for value in (low, high))
    return strong_view(image, valid, *bounds, torch.Generator().manual_seed(seed), cut=cut, **how)


def test_each_date_of_each_pair_is_drawn_apart():
    image = picture()[None, None].repeat(3, 2, 1, 1, 1)
    view = view_of(image)
    assert view.shape == image.shape
    flat = view.flatten(0, 1)
    assert all(not torch.equal(flat[0], other) for other in flat[1:])
    assert torch.equal(view, view_of(image)) and not torch.equal(view, view_of(image, 1))


def test_dates_alike_differ_by_nothing_but_what_differed():
    image = picture()[None, None].repeat(12, 2, 1, 1, 1)
    view = view_of(image, cut=0, alike=True)
    assert torch.equal(view[:, 0], view[:, 1])
    assert len({tuple(one.flatten().tolist()) for one in view[:, 0]}) > 6  # each pair is drawn apart
    cut = view_of(image, alike=True)
    assert not torch.equal(cut[:, 0], cut[:, 1])  # but squares lie elsewhere at each date


@pytest.mark.parametrize("name", ["autocontrast", "contrast", "equalize"])
def test_dates_alike_share_what_is_measured(name):
    """A pair is one image as high as both."""
    dates = torch.stack([picture(4), picture(5) // 2]) / 255
    seen = torch.ones(2, 1, 24, 20, dtype=torch.bool)
    seen[0, :, :5] = False
    whole = operated(name, torch.cat([dates[0], dates[1]], 1), torch.cat([seen[0, 0], seen[1, 0]]), 5)
    torch.testing.assert_close(OPERATIONS[name](dates, seen, 5), torch.stack(whole.chunk(2, 1)))


def test_one_grey_square_of_sixteen_pixels():
    image = torch.full((40, 3, 24, 20), 50)
    for view in view_of(image, cut=16):
        grey = (view - 127).abs().amax(0) < 0.5
        rows, cols = (torch.unique(axis) for axis in grey.nonzero(as_tuple=True))
        assert grey.sum() == len(rows) * len(cols)  # a rectangle
        assert 8 <= len(rows) <= 16 and 8 <= len(cols) <= 16
    assert torch.equal(view_of(image, cut=0)[0].std((1, 2)), torch.zeros(3))


def test_stored_units_do_not_matter():
    image = picture()[None].float()
    view = view_of(image.repeat(20, 1, 1, 1))
    radar = view_of(image.repeat(20, 1, 1, 1) / 10 - 30, low=-30.0, high=-4.5)
    apart = ((radar + 30) * 10 - view).abs() > 0.1  # a value at a threshold may fall on its other side
    assert apart.float().mean() < 0.01
