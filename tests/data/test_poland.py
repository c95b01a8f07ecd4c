"""OpenEarthMap's folders of Poland with coarse products beside, and the two class maps of the literature."""

import numpy as np
import pytest
from tests.data.scenery import grid, halves, image_of, write

from mapmend.core.errors import ManifestError
from mapmend.core.legend import load_crosswalk, load_legend
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import prepare
from mapmend.data.scenes import read_scenes, with_sensor


@pytest.fixture
def poland(tmp_path):
    for region, images in (("lodzkie", 2), ("pomorskie", 1)):
        for inner in ("images", "labels", "ESA_GLC10", "GLC_FCS30"):
            (tmp_path / region / inner).mkdir(parents=True)
            for number in range(1, images + 1):
                (tmp_path / region / inner / f"{region}_{number}.tif").touch()
    return tmp_path


def rows_of(entry, base, name="scenes"):
    return read_scenes([entry], base, name=name)


def test_every_image_gets_its_products_label(poland):
    rows = rows_of({"poland": ".", "product": "glc_fcs30", "split": "train"}, poland)
    assert [(row.site, row.split) for row in rows] == [
        ("lodzkie_1", "train"),
        ("lodzkie_2", "train"),
        ("pomorskie_1", "train"),
    ]
    assert all("/GLC_FCS30/" in row.label and "/images/" in row.image[0] for row in rows)
    assert {(row.label_legend, row.label_gsd, row.trust) for row in rows} == {("glc_fcs30_bare_built", 30, "coarse")}
    [row] = rows_of({"poland": ".", "classes": "bare_low", "regions": ["pomorskie"]}, poland)
    assert (row.label_legend, row.label_gsd) == ("worldcover_bare_low", 10)


def test_references_are_openearthmaps_labels_where_there_are_any(poland):
    (poland / "lodzkie" / "labels" / "lodzkie_2.tif").unlink()  # those of its test images are not given away
    rows = rows_of({"poland": ".", "classes": "bare_low"}, poland, "reference")
    assert [(row.site, row.label_legend, row.image) for row in rows] == [
        ("lodzkie_1", "openearthmap_bare_low", ()),
        ("pomorskie_1", "openearthmap_bare_low", ()),
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"poland": "nowhere"}, ["no such folder"]),
        ({"poland": "lodzkie"}, ["REGION/images"]),
        ({"poland": ".", "product": "worldcove"}, ["worldcover"]),
        ({"poland": ".", "classes": "bare"}, ["'bare'", "bare_"]),
        ({"poland": ".", "product": "glc_fcs30", "classes": "bare_low"}, ["glc_fcs30", "bare_built", "label_legend"]),
        ({"poland": ".", "product": "from_glc10"}, ["from_glc10"]),
        ({"poland": ".", "regions": "lodskie"}, ["lodskie", "lodzkie"]),
        ({"poland": ".", "split": "trian"}, ["trian", "train"]),
        ({"poland": ".", "region": "lodzkie"}, ["'region'", "regions"]),
    ],
)
def test_what_is_not_there_is_named(poland, entry, words):
    with pytest.raises(ManifestError) as fault:
        rows_of(entry, poland)
    assert all(word in str(fault.value) for word in words), str(fault.value)


def test_an_image_without_its_product_is_named(poland):
    (poland / "lodzkie" / "ESA_GLC10" / "lodzkie_2.tif").unlink()
    with pytest.raises(ManifestError, match="lodzkie_2.tif has no"):
        rows_of({"poland": "."}, poland)


@pytest.mark.parametrize(("classes", "bare"), [("bare_built", "built"), ("bare_low", "low vegetation")])
def test_class_maps_differ_in_bare_land_alone_on_the_reference(classes, bare):
    """The eight classes of OpenEarthMap, one by one."""
    target = load_legend("chesapeake4")
    crosswalk = load_crosswalk(f"openearthmap_{classes}", target)
    names = {0: None, 1: bare, 2: "low vegetation", 3: "built", 4: "built", 5: "tree", 6: "water"}
    names |= {7: "low vegetation", 8: "built"}
    found = crosswalk.apply(np.arange(9, dtype=np.uint8), where="codes")
    expected = [255 if name is None else target.ids[target.index_of(name)] for name in names.values()]
    assert found.tolist() == expected


def test_a_coarse_product_is_prepared_beside_its_image(tmp_path):
    for inner, pixels in (
        ("images", image_of(halves(40, 40))),
        ("ESA_GLC10", np.array([[10, 60], [80, 50]], np.uint8)),
        ("labels", np.where(halves(40, 40) == 1, 5, 1).astype(np.uint8)),
    ):
        size = pixels.shape[-1]
        write(tmp_path / "opolskie" / inner / "opolskie_1.tif", pixels, grid(size, size, 20 / size))
    base, legend, sensors = tmp_path, load_legend("chesapeake4"), {"rgb": load_sensor("rgb")}
    counts = {}
    for classes in ("bare_built", "bare_low"):
        entry = {"poland": ".", "classes": classes}
        rows = with_sensor(rows_of(entry, base), ["rgb"])
        references = rows_of(entry, base, "reference")
        [site] = prepare(rows, sensors, legend, tmp_path / classes, references=references).sites
        counts[classes] = dict(zip(legend.names, site.label_counts, strict=True))
        assert site.label_gsd == 10 and site.label_grid is not None
    quarter = 20 * 20
    assert counts["bare_built"] == {"water": quarter, "tree": quarter, "low vegetation": 0, "built": 2 * quarter}
    assert counts["bare_low"] == {"water": quarter, "tree": quarter, "low vegetation": quarter, "built": quarter}
