import pytest
import torch
import torch.nn.functional as F

from mapmend.losses.cells import cell_features, gather_cells

CLASSES, CHANNELS = 3, 5


def case(seed=0, batch=2, height=11, width=14, labelled=0.6):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(CLASSES, (batch, height, width), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) > labelled] = 255
    mask[0, :4, :4] = 255  # a cell without a label
    probability = torch.rand(batch, CLASSES, height, width, generator=generator).softmax(1)
    feature = 3 * torch.randn(batch, CHANNELS, height, width, generator=generator)
    return mask, probability, feature


def pixels_of(mask, image, row, col, side, reach=0):
    """Labelled pixels of a cell, or of the cells up to `reach` around it."""
    rows = range(max(row - reach, 0) * side, min((row + 1 + reach) * side, mask.shape[1]))
    cols = range(max(col - reach, 0) * side, min((col + 1 + reach) * side, mask.shape[2]))
    return [(image, r, c) for r in rows for c in cols if mask[image, r, c] != 255]


def test_means_over_labelled_pixels_by_hand():
    mask, probability, feature = case()
    cells = gather_cells(mask, probability, feature, 4, (1, 3))
    at = 0
    for image in range(2):
        for row in range(3):
            for col in range(4):
                pixels = pixels_of(mask, image, row, col, 4)
                assert bool(cells.kept[image, row, col]) == bool(pixels)
                if not pixels:
                    continue
                labels = [int(mask[pixel]) for pixel in pixels]
                shares = [labels.count(k) / len(labels) for k in range(CLASSES)]
                assert cells.mixture[at].tolist() == pytest.approx(shares)
                assert shares[int(cells.label[at])] == max(shares)
                assert bool(cells.pure[at]) == (len(set(labels)) == 1)
                p = torch.stack([probability[i, :, r, c] for i, r, c in pixels]).mean(0)
                torch.testing.assert_close(cells.prediction[at], p)
                for scale, reach in enumerate((0, 1)):
                    around = pixels_of(mask, image, row, col, 4, reach)
                    z = torch.stack([F.normalize(feature[i, :, r, c], dim=0) for i, r, c in around]).mean(0)
                    torch.testing.assert_close(cells.features[scale, at], z)
                at += 1
    assert len(cells) == at < 24
    torch.testing.assert_close(cell_features(feature, mask, 4), cells.features[0])


def test_what_has_no_label_has_no_say():
    mask, probability, feature = case(1)
    here = (mask != 255)[:, None]
    one = gather_cells(mask, probability, feature, 4)
    other = gather_cells(mask, probability.where(here, 7.0), feature.where(here, 1e5), 4)
    for name in ("mixture", "prediction", "features", "kept"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name))


def test_values_of_cells_at_pixels():
    mask, probability, feature = case(2)
    cells = gather_cells(mask, probability, feature, 4)
    values = torch.arange(1.0, len(cells) + 1)
    pixels = cells.at_pixels(values, 11, 14)
    assert pixels.shape == (2, 11, 14)
    assert not pixels[0, :4, :4].any()
    at = {tuple(place): value for place, value in zip(cells.kept.nonzero().tolist(), values.tolist(), strict=True)}
    for image, row, col in ((0, 0, 5), (0, 10, 13), (1, 7, 8)):
        assert pixels[image, row, col] == at[image, row // 4, col // 4]


def test_between_centres_is_linear_and_sees_no_cell_that_was_left_out():
    mask = torch.zeros(1, 4, 16, dtype=torch.int64)
    mask[:, :, 8:12] = 255
    cells = gather_cells(mask, torch.ones(1, 2, 4, 16), torch.ones(1, 1, 4, 16), 4)
    wide = cells.between_centres(torch.tensor([[0.0], [1.0], [5.0]]), 4, 16)[0, 0, 0]
    torch.testing.assert_close(wide[2:6], torch.tensor([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(wide[6:9], torch.ones(3))  # beyond the second centre: the third cell is none
    torch.testing.assert_close(wide[12:], torch.full((4,), 5.0))
