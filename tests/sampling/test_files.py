import geopandas
import numpy as np
import pytest
import shapely

from mapmend.core.errors import SampleError
from mapmend.sampling.files import read_sample, read_samples

HEAD = "id,stratum,inclusion_probability,x,y,round,reference,interpreter"
ROWS = ["1,forest,0.01,500005.5,4000005,1,forest,Ada", '2,"gain, new",0.2,500015.25,4000015,2,3,Ada']


def written(tmp_path, text, name="sample.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def csv_of(rows=ROWS, head=HEAD):
    return "\n".join([head, *rows]) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace('"gain, new"', "gain§ new").replace(",", "\t").replace("§", ","),
        lambda text: text.replace('"gain, new"', "gain§ new").replace(",", ";").replace(".", ",").replace("§", ","),
        lambda text: text.replace(HEAD, HEAD.title()) + "\n\n",
    ],
    ids=["plain", "windows", "bom", "tab", "semicolon and decimal comma", "capitals and empty lines"],
)
def test_a_csv_is_read_however_it_was_saved(tmp_path, change):
    table = read_sample(written(tmp_path, change(csv_of())))
    assert table.ids.tolist() == [1, 2] and table.rounds.tolist() == [1, 2]
    assert table.strata == ("forest", "gain, new") and table.references == ("forest", "3")
    np.testing.assert_array_equal(table.x, [500005.5, 500015.25])
    np.testing.assert_array_equal(table.probabilities, [0.01, 0.2])
    assert table.interpreters == ("Ada", "Ada") and table.references_before is None and table.longitude is None


def test_a_line_break_inside_a_cell_and_other_columns(tmp_path):
    table = read_sample(written(tmp_path, 'id,x,y,reference,Remark\n7,1,2,water,"two\nlines"\n8,3,4,,\n'))
    assert table.others == {"remark": ("two\nlines", "")} and table.references == ("water", "")
    assert table.rounds.tolist() == [1, 1] and table.strata is None and table.probabilities is None


@pytest.mark.parametrize("driver,name", [("GPKG", "a.gpkg"), ("GeoJSON", "a.geojson")])
def test_points_of_a_gis_file(tmp_path, driver, name):
    frame = geopandas.GeoDataFrame(
        {"id": [1, 2, 3], "reference": ["forest", None, "2"], "code": [1.5, 2.0, None]},
        geometry=shapely.points([(10.5, 50.25), (11, 51), (12, 52)]),
        crs="EPSG:4326",
    )
    frame.to_file(tmp_path / name, driver=driver, layer="other")
    if driver == "GPKG":
        frame[:2].to_file(tmp_path / name, driver=driver, layer="sample")
    table = read_sample(tmp_path / name)
    assert len(table) == (2 if driver == "GPKG" else 3), "the layer `sample` goes before others"
    assert table.references[:2] == ("forest", "") and table.others["code"][:2] == ("1.5", "2")
    assert table.x[:2].tolist() == [10.5, 11] and table.y[:2].tolist() == [50.25, 51]


def test_two_interpreters_in_two_files_and_no_third_answer(tmp_path):
    first = written(tmp_path, csv_of(), "ada.csv")
    second = written(tmp_path, csv_of().replace("Ada", "Bob"), "bob.csv")
    assert read_samples([first, second]).interpreters == ("Ada", "Ada", "Bob", "Bob")
    with pytest.raises(SampleError, match="bob.csv, row 2: point 1 .*second time with the interpreter 'Bob'"):
        read_samples([first, second, second])
    moved = written(tmp_path, csv_of().replace("Ada", "Cid").replace("500005.5", "500007.5"), "cid.csv")
    with pytest.raises(SampleError, match="cid.csv, row 2: point 1 lies elsewhere"):
        read_samples([first, moved])


FAULTS = {
    "no such column": (
        csv_of(head=HEAD.replace("reference", "referenz")),
        "sample.csv: has no column 'reference'; did",
    ),
    "column twice": (csv_of(head=HEAD.replace("round", "x")), "two columns 'x'"),
    "no coordinate": (csv_of().replace("500015.25", "far"), "row 3: 'x' is 'far', no number"),
    "empty coordinate": (csv_of().replace("4000015", ""), "row 3: 'y' is empty"),
    "not finite": (csv_of().replace("4000015", "nan"), "row 3: 'y' is 'nan', no number"),
    "fraction of an id": (csv_of().replace("\n1,", "\n1.5,"), "row 2: 'id' is '1.5', no whole number"),
    "probability": (csv_of().replace("0.01", "0"), "row 2: inclusion_probability is 0"),
    "short row": (csv_of().replace(",forest,Ada", ""), "row 2: has 6 cells under 8"),
    "twice": (csv_of([ROWS[0], ROWS[0]]), "row 3: point 1 is there a second time with the interpreter 'Ada', first in"),
    "no rows": (HEAD + "\n", "holds no points"),
    "empty": ("", "is empty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_file_and_row(tmp_path, fault):
    text, message = FAULTS[fault]
    with pytest.raises(SampleError, match=message) as caught:
        read_sample(written(tmp_path, text))
    assert "\n" not in str(caught.value) and "sample.csv" in str(caught.value)


def test_other_encodings_and_files_are_refused(tmp_path):
    with pytest.raises(SampleError, match="UTF-16"):
        read_sample(written(tmp_path, csv_of(), encoding="utf-16"))
    with pytest.raises(SampleError, match="is not text in UTF-8"):
        read_sample(written(tmp_path, csv_of().replace("Ada", "Zoë"), encoding="latin-1"))
    with pytest.raises(SampleError, match=r"missing.csv: does not exist|missing.csv: .*not"):
        read_sample(tmp_path / "missing.csv")
    lines = geopandas.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    lines.to_file(tmp_path / "a.gpkg")
    with pytest.raises(SampleError, match="other geometries than points"):
        read_sample(tmp_path / "a.gpkg")
