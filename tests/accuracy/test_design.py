"""Designs: what a person may write by hand, what must be refused, and that a file says all of it again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapmend.accuracy.design import SampleDesign, Stratum, read_design, write_design
from mapmend.core.errors import SampleError

MINIMAL = {
    "kind": "stratified",
    "strata": [
        {"name": "forest", "pixels": 1000, "samples": 30},
        {"name": "other", "area_ha": 270.0, "samples": 20},
    ],
    "classes": ["forest", "other"],
    "pixel_area_ha": 0.09,
}


def design(**changes):
    values = {
        "kind": "stratified",
        "strata": (Stratum("a", 100, 9.0, 10), Stratum("b", 300, 28.5, 20)),
        "classes": ("water", "land"),
        "class_ids": (3, 7),
        "class_pixels": (100, 300),
        "class_areas_ha": (9.0, 28.5),
        "two_dates": True,
        "rounds": (25, 5),
        "seed": 11,
        "map": {"path": "map.tif", "sha256": "ab", "strata": {"cuts": [3, 20]}},
    }
    return SampleDesign(**{**values, **changes})


def written(folder, **changes):
    content = {**MINIMAL, **changes}
    path = folder / "design.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_a_minimal_file_written_by_hand(tmp_path):
    found = read_design(written(tmp_path))
    assert [(one.name, one.pixels, one.samples) for one in found.strata] == [("forest", 1000, 30), ("other", 3000, 20)]
    assert found.strata[0].area_ha == pytest.approx(90)
    assert found.total_ha == pytest.approx(360)
    assert found.pixel_area_ha == pytest.approx(0.09)
    assert found.sizes == (1000, 3000)
    assert found.weights == (0.25, 0.75)
    assert found.class_ids == (0, 1)
    assert found.class_pixels == () and found.class_areas_ha == ()
    assert found.rounds == (50,)
    assert not found.two_dates


def test_classes_named_by_numbers_are_their_own_ids(tmp_path):
    assert read_design(written(tmp_path, classes=["1", "2"])).class_ids == (1, 2)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = written(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_design(path).kind == "stratified"


def test_a_file_says_all_of_a_design(tmp_path):
    path = tmp_path / "design.json"
    write_design(path, design())
    assert read_design(path) == design()
    assert json.loads(path.read_text())["format"] == "mapmend-sample-design"
    first = path.read_bytes()
    write_design(path, read_design(path))
    assert path.read_bytes() == first


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(1e-3, 1e9)), min_size=1, max_size=6))
def test_sizes_are_areas_in_mean_pixels(parts):
    strata = tuple(Stratum(str(k), pixels, area, 1) for k, (pixels, area) in enumerate(parts))
    found = design(strata=strata, rounds=(len(parts),))
    pixels, area = sum(part[0] for part in parts), sum(part[1] for part in parts)
    assert sum(found.sizes) == pytest.approx(pixels)
    assert found.sizes == pytest.approx([part[1] * pixels / area for part in parts])
    assert sum(found.weights) == pytest.approx(1)


def test_clusters_are_counted_not_weighed():
    found = design(kind="cluster")
    assert found.sizes == (100, 300)


WRONG = [
    ({"kind": "stratifed"}, "unknown kind 'stratifed' of a sample; did you mean 'stratified'?"),
    ({"kind": None}, "has no 'kind'"),
    ({"pixel_area": 0.09}, "unknown key 'pixel_area'; did you mean 'pixel_area_ha'?"),
    ({"strata": [{"name": "a", "pixel": 5, "samples": 1}]}, "unknown key 'pixel' in strata.0; did you mean 'pixels'?"),
    ({"strata": [{"name": "a", "pixels": 5, "samples": 6}]}, "stratum 'a': has 6 samples and 5 pixels"),
    ({"strata": [{"name": "a", "pixels": 0, "samples": 0}]}, "has 0 pixels"),
    ({"strata": [{"name": "a", "pixels": 5, "samples": -1}]}, "has -1 samples"),
    ({"strata": [{"name": "a", "pixels": 5, "samples": 0}]}, "has no samples"),
    ({"strata": [{"name": "a", "samples": 1}]}, "neither 'pixels' nor 'area_ha'"),
    ({"strata": [{"name": "a", "area_ha": -3.0, "samples": 1}]}, "an area of -3 ha"),
    ({"strata": [{"name": "a", "pixels": 5.5, "samples": 1}]}, "'strata.0.pixels' is '5.5'"),
    ({"strata": [{"name": "a", "pixels": 9, "samples": 1}] * 2}, "stratum 'a' is given twice"),
    ({"strata": []}, "has no strata"),
    ({"strata": "all"}, "'strata' is 'all'"),
    ({"kind": "simple"}, "a simple sample has one stratum, not 2"),
    ({"classes": ["forest"]}, "fewer than two classes"),
    ({"classes": ["forest", "forest"]}, "class 'forest' is given twice"),
    ({"class_ids": [1, 1]}, "class id '1' is given twice"),
    ({"class_ids": [1]}, "2 classes and 1 values"),
    ({"class_pixels": [1, -2]}, "class_pixels: has a negative value"),
    ({"classes": ["2", "other"], "class_ids": [1, 2]}, "class '2' has the name that is the id of class 'other'"),
    ({"rounds": [40]}, "rounds of 40 samples, and 50 in the strata"),
    ({"pixel_area_ha": None}, "has no 'pixel_area_ha'"),
    ({"pixel_area_ha": 0}, "a pixel of 0 ha"),
    ({"strata": [{"name": "a", "pixels": 50, "area_ha": 9, "samples": 5}]}, "pixel_area_ha is 0.09, and the strata's"),
    ({"schema_version": 2}, "has schema version 2"),
    ({"format": "geojson"}, "is of the format 'geojson'"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_cannot_be_is_one_line_that_names_the_file(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(SampleError) as fault:
        read_design(path)
    assert message in str(fault.value)
    assert str(fault.value).startswith(str(path))
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"kind": 1, "kind": 2}', b"[" * 10**5, b"3"])
def test_what_is_no_design_is_one_line(tmp_path, content):
    path = tmp_path / "design.json"
    path.write_bytes(content)
    with pytest.raises(SampleError, match=r"design\.json: "):
        read_design(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(SampleError, match="cannot be read"):
        read_design(tmp_path / "none.json")


def test_an_infinite_area_is_refused(tmp_path):
    path = tmp_path / "design.json"
    path.write_text(json.dumps(MINIMAL).replace("270.0", "1e999"))
    with pytest.raises(SampleError, match="finite"):
        read_design(path)


def test_nothing_is_left_of_a_write_that_fails(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SampleError, match="cannot be written"):
        write_design(tmp_path / "file" / "design.json", design())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
