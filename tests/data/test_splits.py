import numpy as np
import pytest
from affine import Affine
from PIL import Image
from tests.data.scenery import grid, halves, write
from tests.data.test_leaks import chip, noise, plain, site

from mapmend.core.grid import Window, full_window, make_grid
from mapmend.data.splits import split_sites, with_fewer_labels
from mapmend.raster.placement import to_pixels


def labelled(folder, name, ids, on, **more):
    return site(name, on, label=write(folder / f"{name}{more.get('date', '')}.tif", ids, on, nodata=255), **more)


def validated(parts):
    return {part.site.name for part in parts if part.blocks}


def test_sites_on_the_same_ground_fall_on_the_same_side(tmp_path):
    """Ten sites, of which pairs overlap: no draw tears a pair apart, and every draw holds something out."""
    sites = [
        labelled(tmp_path, f"s{i}", halves(64, 64), grid(64, 64, east=1000 * (i // 2) + 32 * (i % 2)))
        for i in range(10)
    ]
    draws = [validated(split_sites(sites, block=64, share=0.2, seed=seed)) for seed in range(8)]
    for held in draws:
        assert len(held) == 2
        assert all((f"s{2 * i}" in held) == (f"s{2 * i + 1}" in held) for i in range(5))
    assert len({frozenset(held) for held in draws}) > 1


def test_images_of_the_same_pixels_fall_on_the_same_side(tmp_path):
    whole = noise(0, 128, 256, 3)
    pixels = {f"s{i}": noise(i + 1, 128, 128, 3) for i in range(6)} | {"left": whole[:, :128], "whole": whole}
    sites = [
        site(name, plain(*image.shape[:2]), files=[chip(tmp_path / f"{name}.png", image)])
        for name, image in pixels.items()
    ]
    for seed in range(8):
        held = validated(split_sites(sites, block=64, share=0.3, seed=seed))
        assert held and ("left" in held) == ("whole" in held)


def test_the_dates_of_a_site_fall_on_the_same_side(tmp_path):
    sites = [
        labelled(tmp_path, f"s{i}", halves(64, 64), grid(64, 64, east=1000 * i), date=date)
        for i in range(6)
        for date in ("2018-01-01", "2023-01-01")
    ]
    for part in (parts := split_sites(sites, block=64)):
        assert part.trains != bool(part.blocks)
    assert all(sum(p.site.name == name and bool(p.blocks) for p in parts) == 2 for name in validated(parts))


@pytest.mark.parametrize("seed", range(10))
def test_blocks_are_drawn_where_labels_are_and_labels_are_left_to_train_on(tmp_path, seed):
    ids = np.full((640, 640), 255, np.uint8)
    ids[70:80, 70:80], ids[330:340, 200:210], ids[600:610, 600:610] = 1, 2, 1  # three small polygons in 100 blocks
    one = labelled(tmp_path, "sparse", ids, grid(640, 640))
    [part] = split_sites([one], block=64, share=0.2, seed=seed)
    assert len(part.blocks) == 1
    assert (ids[part.blocks[0].slices] != 255).any()
    outside = ~part.excluded(full_window(one.grid))
    assert (ids[outside] != 255).any()


def test_a_rare_class_is_both_trained_on_and_validated(tmp_path):
    ids = np.ones((512, 512), np.uint8)
    ids[10:20, 10:20] = ids[500:510, 500:510] = 2  # in 2 of 64 blocks
    one = labelled(tmp_path, "rare", ids, grid(512, 512))
    shown = 0
    for seed in range(6):
        [part] = split_sites([one], block=64, share=0.2, seed=seed)
        held = part.excluded(full_window(one.grid))
        assert (ids[~held] == 2).any()
        shown += any((ids[block.slices] == 2).any() for block in part.blocks)
    assert shown == 6


def test_labels_in_a_single_block_are_all_trained_on(tmp_path):
    ids = np.full((256, 256), 255, np.uint8)
    ids[10:20, 10:20] = 1
    [part] = split_sites([labelled(tmp_path, "one", ids, grid(256, 256))], block=64)
    assert part.blocks == () and part.trains


def test_blocks_of_one_site_are_not_trained_on_by_another_on_the_same_ground(tmp_path):
    """Two sites of another CRS and pixel size share ground: every validating pixel's place is left out of both."""
    first = labelled(tmp_path, "utm", halves(256, 256), grid(256, 256, 2.0))
    degrees = make_grid((500, 600), Affine(1e-5, 0, 9.0, 0, -1e-5, 47.8525), "EPSG:4326")
    second = labelled(tmp_path, "degrees", halves(500, 600), degrees)
    parts = split_sites([first, second], block=64, share=0.3)
    assert all(part.trains and part.blocks for part in parts)
    for own, other in (parts, parts[::-1]):
        for block in own.blocks:
            rows, cols = np.mgrid[block.row : block.row_end, block.col : block.col_end] + 0.5
            x, y = to_pixels(own.site.grid, other.site.grid, cols.ravel(), rows.ravel())
            height, width = other.site.grid.shape
            inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
            assert other.excluded(full_window(other.site.grid))[y[inside].astype(int), x[inside].astype(int)].all()


def test_of_few_images_that_share_pixels_none_validates(tmp_path):
    whole = noise(0, 256, 512, 3)
    Image.fromarray(halves(256, 512)).save(tmp_path / "label.png")
    sites = [
        site(name, plain(*image.shape[:2]), files=[chip(tmp_path / f"{name}.png", image)], label="unread.tif")
        for name, image in {"whole": whole, "left": whole[:, :256]}.items()
    ]
    assert not validated(split_sites(sites, block=64))


def test_the_buffer_is_counted_in_pixels_of_the_site(tmp_path):
    [part] = split_sites([labelled(tmp_path, "a", halves(256, 256), grid(256, 256, 5.0))], block=64, share=0.1)
    [first, *_] = part.blocks
    excluded = part.excluded(Window(first.row - 9, first.col, 9, 1))[:, 0]
    assert part.buffer == 8 and excluded.tolist() == [False] + [True] * 8


def test_fewer_labels_are_part_of_more(tmp_path):
    sites = [
        labelled(tmp_path, f"s{i}", halves(64, 64), grid(64, 64, east=1000 * i), date=date)
        for i in range(20)
        for date in ("2018-01-01", "2023-01-01")
    ]
    judging = [labelled(tmp_path, name, halves(64, 64), grid(64, 64), split=name) for name in ("val", "test")]

    def kept(share, seed):
        fewer = with_fewer_labels([*sites, *judging], share, seed)
        assert [(site.name, site.date, site.images) for site in fewer[:40]] == [
            (site.name, site.date, site.images) for site in sites
        ]
        assert all(site.label is not None for site in fewer[40:])
        dates = [site.name for site in fewer[:40] if site.label is not None]
        assert all(dates.count(name) == 2 for name in dates)
        assert all(site.label_files == () and site.label_counts == () for site in fewer if site.label is None)
        return set(dates)

    for seed in range(3):
        shares = [kept(share, seed) for share in (0.01, 0.05, 0.1, 0.2, 0.4, 1.0)]
        assert [len(names) for names in shares] == [1, 1, 2, 4, 8, 20]
        assert all(few <= more for few, more in zip(shares, shares[1:], strict=False))
    assert kept(0.4, 0) != kept(0.4, 1)
