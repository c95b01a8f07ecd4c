import os
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from PIL import Image
from pyproj import Transformer
from tests.data.scenery import UTM, grid

from mapmend.core.errors import ManifestError
from mapmend.core.grid import make_grid
from mapmend.core.sensor import load_sensor
from mapmend.data.leaks import check_leaks, find_leaks, leaks_between
from mapmend.data.overlaps import Place
from mapmend.data.sites import BandStatistics, PreparedImage, PreparedSite
from mapmend.raster.bands import ImageSource

DATA = Path(os.environ.get("MAPMEND_DATA", Path(__file__).parents[3] / "shared" / "data"))
RGB = load_sensor("rgb")


def site(name, on, split="", *, files=(), label="label.tif", reference=None, date=""):
    images = ()
    if files:
        source = ImageSource(tuple(map(str, files)), RGB.band_names, RGB)
        images = (PreparedImage("optical", source, BandStatistics(1, (0.0,), (1.0,), (0.0,), (1.0,), 1.0)),)
    return PreparedSite(name, date, on, images, label=label, split=split, reference=reference)


def chip(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def plain(height, width):
    return make_grid((height, width), Affine.identity(), None)


def test_overlapping_footprints_of_two_splits_are_named_with_their_shared_area():
    big, small = grid(400, 400), grid(200, 200, east=300)  # 100 m of the small one's 200 m lie on the big one
    [leak] = find_leaks([site("a", big, "train"), site("b", small, "test"), site("c", grid(50, 50), "train")])[:1]
    assert (leak.site_a, leak.split_a, leak.site_b, leak.split_b, leak.how) == (
        "a",
        "train",
        "b",
        "test",
        "same ground",
    )
    assert leak.share == pytest.approx(0.5, abs=1e-6) and leak.hectares == pytest.approx(2.0, rel=1e-3)


def test_footprints_are_compared_across_crss_and_the_date_line():
    utm = grid(1000, 1000)
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(500_500, 5_299_500)  # its centre
    inside = make_grid((100, 100), Affine(2e-5, 0, lon, 0, -2e-5, lat), "EPSG:4326")
    beside = make_grid((100, 100), Affine(2e-5, 0, lon + 0.01, 0, -2e-5, lat), "EPSG:4326")
    [leak] = find_leaks([site("a", utm, "train"), site("b", inside, "val"), site("c", beside, "test")])
    assert leak.site_b == "b" and leak.share == pytest.approx(1.0, abs=1e-3)
    east = make_grid((100, 100), Affine(1000, 0, 750_000, 0, -1000, 50_000), "EPSG:32660")  # crosses 180°
    west = make_grid((100, 100), Affine(0.001, 0, -180.0, 0, -0.001, 0.05), "EPSG:4326")
    assert len(find_leaks([site("a", east, "train"), site("b", west, "test")])) == 1


def test_neighbours_and_places_of_one_side_do_not_leak():
    row = [site(f"s{i}", grid(100, 100, east=99.5 * i), ("train", "test")[i % 2]) for i in range(6)]
    assert find_leaks(row) == ()
    assert find_leaks([site("a", grid(100, 100), "train"), site("b", grid(100, 100))]) == ()


def test_a_site_in_two_splits_is_a_leak_at_any_date():
    sites = [site("a", grid(9, 9), "train", date="2018-01-01"), site("a", grid(9, 9), "val", date="2020-01-01")]
    [leak] = find_leaks(sites)
    assert leak.how == "same site" and {leak.split_a, leak.split_b} == {"train", "val"}


def test_a_place_that_only_has_a_reference_judges_and_must_not_lie_on_trained_ground():
    sites = [site("a", grid(100, 100), "train"), site("b", grid(100, 100), label=None, reference="truth.tif")]
    with pytest.raises(ManifestError, match=r"'a' \(train\) and 'b' \(test\) share ground: 100%.*`split`"):
        check_leaks(sites)
    check_leaks([sites[0], site("b", grid(100, 100), label=None)])  # to be mapped, and judged by nothing


def test_a_crop_is_found_inside_the_image_it_was_cut_from(tmp_path):
    whole = noise(0, 512, 768, 3)
    files = {
        "whole": chip(tmp_path / "whole.png", whole),
        "crop": chip(tmp_path / "crop.png", whole[256:384, 448:704]),
        "other": chip(tmp_path / "other.png", noise(1, 128, 128, 3)),
    }
    sites = [
        site("whole", plain(512, 768), "train", files=[files["whole"]]),
        site("crop", plain(128, 256), "test", files=[files["crop"]]),
        site("other", plain(128, 128), "test", files=[files["other"]]),
    ]
    [leak] = find_leaks(sites)
    assert (leak.site_a, leak.site_b, leak.how, leak.share) == ("whole", "crop", "same pixels", 1.0)
    with pytest.raises(ManifestError, match="share pixels"):
        check_leaks(sites)


def test_tiles_without_content_are_not_alike(tmp_path):
    """Black fill, and its seam to white, are the same in many images."""
    fill = np.zeros((2, 192, 192, 3), np.uint8)
    fill[:, :, 100:] = 255
    fill[0, 128:], fill[1, 128:] = noise(0, 64, 192, 3), noise(1, 64, 192, 3)
    files = [chip(tmp_path / f"{i}.png", pixels) for i, pixels in enumerate(fill)]
    assert (
        find_leaks([site(s, plain(192, 192), s, files=[f]) for s, f in zip(("train", "test"), files, strict=True)])
        == ()
    )


def test_the_first_of_many_leaks_is_named_and_the_rest_counted():
    sites = [site(f"t{i}", grid(50, 50, east=50 * i), "train") for i in range(4)] + [site("all", grid(50, 200), "test")]
    with pytest.raises(ManifestError, match=r"'t0' \(train\) and 'all' \(test\).*3 more"):
        check_leaks(sites)


@pytest.mark.skipif(not (DATA / "levir_crops").is_dir(), reason="needs the shared real data (MAPMEND_DATA)")
def test_two_real_crops_are_found_in_their_image():
    def place(folder, name, side, pixels):
        return Place(f"{folder}/{name}", side, plain(pixels, pixels), (str(DATA / folder / "A" / f"{name}.png"),))

    crops = [place("levir_crops", file.stem, "train", 256) for file in (DATA / "levir_crops" / "A").glob("*.png")]
    full = [place("levir_full", file.stem, "test", 1024) for file in (DATA / "levir_full" / "A").glob("*.png")]
    found = {(leak.site_a, leak.site_b) for leak in leaks_between([*full, *crops])}
    assert found == {("levir_full/test_2", f"levir_crops/test_2_0000_0{col}") for col in ("000", "512")}
