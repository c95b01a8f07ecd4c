"""Folders of files with lists that say which of them belong to what."""

import pytest

from mapmend.core.errors import ManifestError
from mapmend.data.scenes import check_files, read_scenes

PAIRS = {
    "image": {"before": "A/{name}.png", "after": "B/{name}.png"},
    "label": "label/{name}.png",
    "label_legend": "mask255",
}


@pytest.fixture
def folder(tmp_path):
    for kind in ("A", "B", "label", "list"):
        (tmp_path / kind).mkdir()
    for name in ("one", "two", "three.5", "four 4"):
        for kind in ("A", "B", "label"):
            (tmp_path / kind / f"{name}.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    "lines",
    [
        "two\none\n",
        "two.png\none.png\n",
        "A/two.png\r\nA/one.png\r\n",
        "/home/me/LEVIR/A/two.png\n\n/home/me/LEVIR/A/one.png",
        "A/two.png B/two.png label/two.png\nA/one.png B/one.png label/one.png\n",
        "A/two.png,B/two.png\nA/one.png,B/one.png\n",
        "\ufefftwo.jpg\none.jpg\n",
    ],
)
def test_a_list_names_files_in_any_usual_way(folder, lines):
    (folder / "list" / "train.txt").write_text(lines, encoding="utf-8")
    rows = read_scenes([{**PAIRS, "list": "list/train.txt", "split": "train"}], folder)
    assert [(row.site, row.sensor) for row in rows] == [
        (name, sensor) for name in ("two", "one") for sensor in ("before", "after")
    ]
    assert rows[1].image == (str(folder / "B" / "two.png"),)
    assert rows[1].label == str(folder / "label" / "two.png")
    assert {row.split for row in rows} == {"train"}
    check_files(rows, "scenes")


def test_names_may_hold_dots_and_blanks(folder):
    (folder / "list" / "train.txt").write_text("three.5\nfour 4\n")
    rows = read_scenes([{"image": "A/{name}.png", "label": "label/{name}.png", "list": "list/train.txt"}], folder)
    assert [row.site for row in rows] == ["three.5", "four 4"]


def test_a_list_for_each_split(folder):
    (folder / "list" / "train.txt").write_text("one\ntwo\n")
    (folder / "list" / "test.txt").write_text("three.5\n")
    rows = read_scenes([{**PAIRS, "split": {"train": "list/train.txt", "test": "list/test.txt"}}], folder)
    assert {row.site: row.split for row in rows} == {"one": "train", "two": "train", "three.5": "test"}


def test_a_name_may_be_that_of_a_folder(tmp_path):
    for name in ("x", "y"):
        (tmp_path / "scenes" / name).mkdir(parents=True)
        (tmp_path / "scenes" / name / "image.tif").touch()
    (tmp_path / "list.txt").write_text("y\nscenes/x/image.tif\n")
    rows = read_scenes([{"image": "scenes/{name}/image.tif", "list": "list.txt"}], tmp_path)
    assert [row.site for row in rows] == ["y", "x"]


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ("one\n\nnine\n", "train.txt, line 3", "there is no A/nine.png"),
        ("one\nA/two.png B/one.png\n", "train.txt, line 2", "'B/one.png' beside 'A/two.png'"),
        ("one\ntwo\none\n", "train.txt, line 3", "line 1 already"),
        ("\n \n", "train.txt", "names nothing"),
        ("bare\n", "train.txt, line 1", "there is no B/bare.png"),
    ],
)
def test_a_list_that_is_wrong_is_one_line_with_file_and_line(folder, lines, place, message):
    (folder / "A" / "bare.png").touch()
    (folder / "list" / "train.txt").write_text(lines)
    with pytest.raises(ManifestError) as caught:
        read_scenes([{**PAIRS, "list": "list/train.txt"}], folder)
    assert f"{folder / 'list'}/{place}: " in str(caught.value)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_name_in_two_splits_is_named_with_both_places(folder):
    (folder / "list" / "train.txt").write_text("one\ntwo\n")
    (folder / "list" / "test.txt").write_text("two\n")
    with pytest.raises(ManifestError, match=r"test\.txt, line 1: 'two' stands in .*train\.txt, line 2 already"):
        read_scenes([{**PAIRS, "split": {"train": "list/train.txt", "test": "list/test.txt"}}], folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**PAIRS, "list": "list/none.txt"}, "no such list"),
        ({**PAIRS, "split": {"trian": "list/train.txt"}}, "did you mean 'train'"),
        ({**PAIRS, "list": "list/train.txt", "split": {"train": "list/train.txt"}}, "leave out `list`"),
        ({**PAIRS, "lst": "list/train.txt"}, "did you mean 'list'"),
        ({"image": "A/one.png", "list": "list/train.txt"}, "no {name}"),
        ({**PAIRS, "list": "A"}, "is not a text file"),
    ],
)
def test_a_wrong_entry_is_one_line(folder, entry, message):
    (folder / "list" / "train.txt").write_text("one\n")
    with pytest.raises(ManifestError) as caught:
        read_scenes([entry], folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_masks_by_class_and_bands_in_a_list(folder):
    [row] = read_scenes(
        [{"site": "x", "image": ["A/one.png", "B/one.png"], "label": {"a": "label/one.png", "b": "label/two.png"}}],
        folder,
    )
    assert row.image == (str(folder / "A/one.png"), str(folder / "B/one.png"))
    assert row.masks == (("a", str(folder / "label/one.png")), ("b", str(folder / "label/two.png")))
    [row] = read_scenes(
        [{"site": "x", "image": "A/one.png", "label": {"a": "label/one.png"}, "label_rest": "b"}], folder
    )
    assert (row.masks, row.label_rest) == ((("a", str(folder / "label/one.png")),), "b")
    with pytest.raises(ManifestError, match=r"label/nine\.png"):
        check_files(read_scenes([{"site": "x", "image": "A/one.png", "label": {"a": "label/nine.png"}}], folder), "x")


def test_a_range_of_names_is_taken_without_a_list(folder):
    rows = read_scenes([{**PAIRS, "first": "one", "last": "three.5", "split": "train"}], folder)
    assert {row.site for row in rows} == {"one", "three.5"}
    assert {row.site for row in read_scenes([{**PAIRS, "last": "one"}], folder)} == {"four 4", "one"}
    with pytest.raises(ManifestError, match="no name lies between 'x' and ''; they go from four 4 to two"):
        read_scenes([{**PAIRS, "first": "x"}], folder)
