from pathlib import Path

import pytest

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import Row, format_manifest, parse_manifest
from mapmend.data.scenes import check_files, read_scenes


@pytest.fixture
def folder(tmp_path):
    for kind in ("s1", "s2", "mask"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        for name in ("0001", "0002"):
            (tmp_path / "train" / kind / f"{name}.png").touch()
    return tmp_path


def test_a_pattern_makes_one_row_per_file_and_sensor(folder):
    pattern = {
        "site": "train-{name}",
        "image": {"optical": "train/s2/{name}.png", "radar": "train/s1/{name}.png"},
        "label": "train/mask/{name}.png",
        "split": "train",
    }
    rows = read_scenes([pattern], folder)
    assert [(r.site, r.sensor) for r in rows] == [
        (f"train-{n}", s) for n in ("0001", "0002") for s in ("optical", "radar")
    ]
    assert rows[3].image == (str(folder / "train/s1/0002.png"),)
    assert rows[3].label == str(folder / "train/mask/0002.png")
    check_files(rows, "scenes")


def test_bands_in_files_share_one_name(folder):
    rows = read_scenes([{"sensor": "x", "image": "train/s1/{name}.png;train/s2/{name}.png"}], folder)
    assert rows[0].image == (str(folder / "train/s1/0001.png"), str(folder / "train/s2/0001.png"))


def test_a_pattern_without_a_name_is_one_scene(folder):
    rows = read_scenes([{"site": "here", "image": "train/s1/0001.png"}], folder)
    assert [row.site for row in rows] == ["here"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"image": "nowhere/{name}.tif"}, "no file matches 'nowhere/{name}.tif'"),
        ({"imge": "train/s1/{name}.png"}, "did you mean 'image'"),
        ({"image": "train/s1/{name}.png", "trust": "cors"}, "did you mean 'coarse'"),
        ({"image": "train/s1/{name}.png", "split": "tran"}, "did you mean 'train'"),
        ({"image": "train/s1/{name}.png", "date": "31.7.2024"}, "is not YYYY-MM-DD, YYYY-MM"),
        ({"image": "train/s1/{name}.png", "site": "a/{name}"}, "cannot name a folder"),
    ],
)
def test_a_wrong_pattern_is_one_line(folder, pattern, message):
    with pytest.raises(ManifestError, match=".*") as caught:
        read_scenes([pattern], folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_survive_the_way_through_csv_and_parquet(tmp_path):
    import pandas as pd

    rows = (
        Row(
            "a",
            "2024-07-31",
            "naip",
            ("/x/a.tif", "/x/b.tif"),
            None,
            "/x/l.gpkg",
            "nlcd",
            "class",
            label_gsd=30.0,
            trust="coarse",
            split="train",
        ),
        Row("b", image=("/x/c.tif",)),
    )
    text = format_manifest(rows)
    assert parse_manifest(text, where="m", folder=Path("/")) == rows
    (tmp_path / "m.csv").write_text("\ufeff" + text)
    assert read_scenes("m.csv", tmp_path) == rows
    pd.read_csv(tmp_path / "m.csv", encoding="utf-8-sig").to_parquet(tmp_path / "m.parquet")
    assert read_scenes("m.parquet", tmp_path) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site,image\n", "has no rows"),
        ("site,imag\na,b\n", "did you mean 'image'"),
        ("image\nb\n", "has no column 'site'"),
        ("site,image\na,b\na,c\n", "given twice"),
        ("site,image\na\n", "another number of columns"),
        ("site,image,label_gsd\na,b,x\n", "not a number"),
    ],
)
def test_a_wrong_manifest_is_one_line(text, message):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, where="scenes.csv", folder=Path())
    assert message in str(caught.value)
    assert str(caught.value).startswith("scenes.csv")


def test_a_missing_file_is_named_before_any_work(folder):
    rows = read_scenes([{"image": "train/s1/{name}.png", "label": "train/masks/{name}.png"}], folder)
    with pytest.raises(ManifestError, match=r"masks/0001\.png"):
        check_files(rows, "scenes")


@pytest.mark.parametrize("dates", [["2011-05-22", "2014", "2020-03"], ["t1", "t2", "t3"], ["t01", "t02", "t10"], [""]])
def test_dates_are_taken_as_far_as_they_are_known_and_sort_as_texts(dates):
    text = "site,date,image\n" + "".join(f"a,{date},{date}.tif\n" for date in reversed(dates))
    rows = parse_manifest(text, where="m", folder=Path())
    assert sorted(row.date for row in rows) == dates


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["t1", "2014"], "'2014' and 't1', whose order is unknown"),
        (["t2", "t10"], "write t01, t02"),
        (["2014", "2014-05"], "'2014' and '2014-05', whose order is unknown"),
        (["2014-13"], "date '2014-13' is not"),
        (["20140731"], "date '20140731' is not"),
        (["tomorrow"], "date 'tomorrow' is not"),
        (["t1", "t1"], "given twice"),
    ],
)
def test_dates_without_an_order_are_refused(dates, message):
    text = "site,date,image\n" + "".join(f"a,{date},{number}.tif\n" for number, date in enumerate(dates))
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, where="scenes.csv", folder=Path())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_masks_by_class_come_from_a_manifest():
    text = "site,image,label\na,a.tif,changed=c.bmp;unchanged=u.bmp\nb,b.tif,year=2020/b.tif\n"
    rows = parse_manifest(text, where="m", folder=Path("/x"))
    assert rows[0].masks == (("changed", "/x/c.bmp"), ("unchanged", "/x/u.bmp"))
    assert rows[0].label_files == ("/x/c.bmp", "/x/u.bmp")
    assert rows[1].masks == () and rows[1].label_files == ("/x/year=2020/b.tif",)
    assert parse_manifest(format_manifest(rows), where="m", folder=Path("/")) == rows


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        ("label,label_rest", "l.gpkg,other", "label_class"),
        ("label_class", "house", "no label"),
        ("label,label_class,label_field", "l.gpkg,house,kind", "leave out `label_field`"),
        ("label,label_legend", "a=a.tif;b=b.tif,nlcd", "leave out `label_legend`"),
        ("label,label_class", "a=a.tif;b=b.tif,a", "several masks and `label_class`"),
    ],
)
def test_a_label_told_in_two_ways_is_refused(columns, values, message):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(f"site,image,{columns}\na,a.tif,{values}\n", where="scenes.csv", folder=Path())
    assert message in str(caught.value) and "line 2" in str(caught.value)


def test_years_and_time_stamps_in_parquet_are_dates(tmp_path):
    import pandas as pd

    table = pd.DataFrame({"site": ["a", "b"], "image": ["a.tif", "b.tif"], "date": [2011, None]})
    table.to_parquet(tmp_path / "m.parquet")
    assert [row.date for row in read_scenes("m.parquet", tmp_path)] == ["2011", ""]
    table["date"] = pd.to_datetime(["2011-05-22", "2012-01-01"])
    table.to_parquet(tmp_path / "m.parquet")
    assert [row.date for row in read_scenes("m.parquet", tmp_path)] == ["2011-05-22", "2012-01-01"]
