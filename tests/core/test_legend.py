import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mapmend.core.errors import LegendError
from mapmend.core.legend import (
    NODATA,
    Crosswalk,
    Legend,
    LegendClass,
    load_crosswalk,
    load_legend,
    shipped_crosswalks,
    shipped_legends,
)

DATA = Path(os.environ.get("MAPMEND_DATA") or Path(__file__).parents[3] / "shared" / "data")
CROSSWALKS = [(source, target) for target in shipped_legends() for source in shipped_crosswalks(target)]
CODES = {
    "nlcd": [11, 12, 21, 22, 23, 24, 31, 41, 42, 43, 51, 52, 71, 72, 73, 74, 81, 82, 90, 95],
    "worldcover": [10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100],
    "corine1": [1, 2, 3, 4, 5],
    "corine2": [11, 12, 13, 14, 21, 22, 23, 24, 31, 32, 33, 41, 42, 51, 52],
    "clc": list(range(1, 45)),
    "dynamic_world": list(range(9)),
    "openearthmap": list(range(1, 9)),
    "hi_ucd": list(range(1, 10)),
    "second": list(range(1, 7)),
    "chesapeake": list(range(1, 7)),
    "chesapeake4": [1, 2, 3, 4],
    "water": [0, 1],
    "change": [0, 1],
}

two = Legend("two", (LegendClass(3, "low vegetation", "#00FF00"), LegendClass(7, "built", "#ff0000")))


def one_line(text):
    return "\n" not in text and text == " ".join(text.split())


class TestShippedLegends:
    def test_every_product_of_the_field_is_there_with_its_codes(self):
        assert CODES.keys() <= set(shipped_legends())
        assert {name: list(load_legend(name).ids) for name in CODES} == CODES

    @pytest.mark.parametrize("name", shipped_legends())
    def test_each_says_what_it_is_and_whose(self, name):
        legend = load_legend(name)
        assert legend.name == name
        assert legend.title and legend.source and legend.licence
        colors = [entry.color for entry in legend.classes]
        assert len(set(colors)) == len(colors)

    @pytest.mark.parametrize(
        ("legend", "code", "name", "rgb"),
        [
            ("nlcd", 11, "open water", (70, 107, 159)),
            ("nlcd", 82, "cultivated crops", (171, 108, 40)),
            ("worldcover", 10, "tree cover", (0, 100, 0)),
            ("worldcover", 95, "mangroves", (0, 207, 117)),
            ("dynamic_world", 0, "water", (65, 155, 223)),
            ("clc", 12, "non-irrigated arable land", (255, 255, 168)),
            ("clc", 44, "sea and ocean", (230, 242, 255)),
            ("openearthmap", 8, "building", (222, 31, 7)),
            ("hi_ucd", 6, "bridge", (255, 181, 197)),
            ("second", 6, "sports field", (255, 0, 0)),
            ("chesapeake", 2, "tree canopy", (38, 115, 0)),
        ],
    )
    def test_names_and_colours_are_the_products(self, legend, code, name, rgb):
        loaded = load_legend(legend)
        index = loaded.index_of(code)
        assert loaded.names[index] == name
        assert loaded.colors[index] == rgb

    def test_codes_without_a_label(self):
        assert 0 in load_legend("nlcd").ignore
        assert load_legend("chesapeake").ignore == (0, 15)
        assert load_legend("dynamic_world").ignore == ()  # 0 is water there
        assert load_legend("water").ignore == ()


class TestLegend:
    def test_tables_turn_ids_into_indices_and_back(self):
        assert len(two) == 2
        assert two.lut[[3, 7, 0, 255]].tolist() == [0, 1, NODATA, NODATA]
        assert two.id_lut[[0, 1, 2, 255]].tolist() == [3, 7, NODATA, NODATA]
        assert two.lut.dtype == two.id_lut.dtype == np.uint8
        assert two.colormap() == {3: (0, 255, 0, 255), 7: (255, 0, 0, 255)}

    @pytest.mark.parametrize("given_name", ["low vegetation", "Low_Vegetation", "low-vegetation", "3", 3])
    def test_a_class_is_found_by_name_or_code(self, given_name):
        assert two.index_of(given_name) == 0

    def test_an_unknown_class_names_the_nearest(self):
        with pytest.raises(LegendError, match="no class 'bilt'.*did you mean 'built'"):
            two.index_of("bilt")

    @pytest.mark.parametrize("name", shipped_legends())
    def test_it_survives_plain_values_and_pickling_and_can_be_a_key(self, name):
        legend = load_legend(name)
        assert Legend.from_dict(legend.to_dict()) == legend
        assert pickle.loads(pickle.dumps(legend)) == legend
        assert {legend: 1}[load_legend(name)] == 1

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            ([], "0 classes"),
            ([{"id": 255, "name": "a", "color": "#000000"}], "code 255"),
            ([{"id": -1, "name": "a", "color": "#000000"}], "code -1"),
            ([{"id": 1, "name": "a", "color": "red"}], "color 'red'"),
            ([{"id": 1, "name": "a"}], "color ''"),
            ([{"id": 1, "name": "a", "color": None}], "needs quotes"),
            ([{"id": "x", "name": "a", "color": "#000000"}], "'classes.0.id' is 'x'"),
            ([{"id": 1, "name": " ", "color": "#000000"}], "no name"),
            ([{"id": 1, "name": "a", "colour": "#000000"}], "did you mean 'color'"),
            ([{"name": "a", "color": "#000000"}], "classes.0 has no 'id'"),
            (
                [{"id": 1, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "#000001"}],
                "code '1'.*twice",
            ),
            ([{"id": 1, "name": "a b", "color": "#000000"}, {"id": 2, "name": "A_b", "color": "#000001"}], "twice"),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, classes, message):
        with pytest.raises(LegendError, match=message) as caught:
            load_legend({"name": "mine", "classes": classes})
        assert one_line(str(caught.value))

    def test_an_unknown_key_names_the_nearest(self):
        with pytest.raises(LegendError, match="unknown key 'clases'; did you mean 'classes'"):
            load_legend({"clases": [], "classes": [{"id": 1, "name": "a", "color": "#000000"}]})

    def test_a_code_cannot_be_a_class_and_ignored(self):
        with pytest.raises(LegendError, match="code '1' is given twice"):
            load_legend({"ignore": [1], "classes": [{"id": 1, "name": "a", "color": "#000000"}]})


class TestLoadLegend:
    def test_an_unknown_name_names_the_nearest(self):
        with pytest.raises(LegendError, match="'nlcdd' is unknown; did you mean 'nlcd'"):
            load_legend("nlcdd")

    def test_nothing_near_lists_all(self):
        with pytest.raises(LegendError, match="known: buildings, change, chesapeake, .*worldcover"):
            load_legend("zzzzz")

    def test_a_file_beside_the_project(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("ignore: [0]\nclasses:\n  - {id: 1, name: forest, color: '#00aa00'}\n")
        legend = load_legend("mine.yaml", tmp_path)
        assert (legend.name, legend.names, legend.ignore) == ("mine", ("forest",), (0,))
        assert load_legend(tmp_path / "mine.yaml") == legend

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"classes: [", "not valid YAML"),
            (b"- 1\n- 2\n", "not a mapping"),
            (b"\x89PNG\r\n\x1a\n\x00", "not valid YAML"),
            (b"classes: []\nclasses: []\n", "'classes' is given twice"),
            (b"classes: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
            (b"title: " + b"x" * 2**21, "too large"),
        ],
    )
    def test_a_file_that_holds_none(self, tmp_path, content, message):
        path = tmp_path / "bad.yaml"
        path.write_bytes(content)
        with pytest.raises(LegendError, match=message) as caught:
            load_legend(path)
        assert "bad.yaml" in str(caught.value)
        assert one_line(str(caught.value))

    @pytest.mark.parametrize("name", ["missing.yaml", "."])
    def test_a_path_without_a_file(self, tmp_path, name):
        with pytest.raises(LegendError, match="does not exist|cannot be read"):
            load_legend(tmp_path / name)


class TestShippedCrosswalks:
    def test_the_ones_that_are_promised(self):
        assert set(CROSSWALKS) >= {
            ("nlcd", "chesapeake4"),
            ("nlcd_mixture", "chesapeake4"),
            ("chesapeake", "chesapeake4"),
            ("worldcover", "chesapeake4"),
            ("dynamic_world", "chesapeake4"),
            ("clc", "corine1"),
            ("clc", "corine2"),
            ("corine2", "corine1"),
            ("mask255", "water"),
            ("mask255", "change"),
        }

    @pytest.mark.parametrize(("source", "target"), CROSSWALKS)
    def test_every_code_of_the_source_has_a_meaning(self, source, target):
        crosswalk = load_crosswalk(source, load_legend(target))
        assert crosswalk.source == source
        if crosswalk.source_legend is not None:
            codes = [*crosswalk.source_legend.ids, *crosswalk.source_legend.ignore]
            assert set(codes) <= crosswalk.table.keys()

    def test_the_literatures_table_of_nlcd(self):
        table = load_crosswalk("nlcd", load_legend("chesapeake4")).table
        assert [code for code in CODES["nlcd"] if table[code] == 1] == [11]
        assert [code for code in CODES["nlcd"] if table[code] == 2] == [41, 42, 43, 90]
        assert {31, 52, 71, 81, 82, 95} <= {code for code in CODES["nlcd"] if table[code] == 3}
        assert [code for code in CODES["nlcd"] if table[code] == 4] == [21, 22, 23, 24]
        assert table[0] == table[12] == NODATA

    def test_the_mixture_table_of_nlcd_is_its_arg_max(self):
        codes = DATA / "chesapeake16" / "codes"
        if not codes.is_dir():
            pytest.skip(f"real data is not at {DATA} (set MAPMEND_DATA)")
        shares = np.loadtxt(codes / "nlcd_mu.txt")  # columns: water, tree, low vegetation, built
        rows = np.loadtxt(codes / "nlcd_to_lr_labels.txt", dtype=int)
        expected = {code: int(shares[row].argmax()) + 1 for code, row in rows if shares[row].any()}
        table = load_crosswalk("nlcd_mixture", load_legend("chesapeake4")).table
        assert {code: meaning for code, meaning in table.items() if meaning != NODATA} == expected

    def test_the_accuracy_of_nlcd_on_real_ground(self):
        rasterio = pytest.importorskip("rasterio")
        folder = DATA / "chesapeake16"
        if not folder.is_dir():
            pytest.skip(f"real data is not at {DATA} (set MAPMEND_DATA)")
        target = load_legend("chesapeake4")
        confusion = np.zeros((256, 256), int)
        for path in sorted((folder / "lc").glob("*.tif")):
            with rasterio.open(path) as truth, rasterio.open(folder / "nlcd" / path.name) as coarse:
                reference = load_crosswalk("chesapeake", target).apply(truth.read(1), where=path)
                label = load_crosswalk("nlcd_mixture", target).apply(coarse.read(1), where=path)
            np.add.at(confusion, (reference, label), 1)
        confusion = confusion[1:5, 1:5]
        hits = confusion.diagonal()
        iou = hits / np.maximum(confusion.sum(0) + confusion.sum(1) - hits, 1)
        assert hits.sum() / confusion.sum() == pytest.approx(0.856, abs=5e-4)
        assert iou[1:] == pytest.approx([0.845, 0.337, 0.022], abs=5e-4)

    def test_barren_counts_as_built_in_the_reference(self):
        crosswalk = load_crosswalk("chesapeake", load_legend("chesapeake4"))
        codes = np.array([1, 2, 3, 4, 5, 6, 15, 0, 255], np.uint8)
        assert crosswalk.apply(codes, where="lc").tolist() == [1, 2, 3, 4, 4, 4, NODATA, NODATA, NODATA]

    def test_corine_in_both_of_its_codings(self):
        clc = load_legend("clc")
        level3 = [111, 112, 121, 122, 123, 124, 131, 132, 133, 141, 142, 211, 212, 213, 221, 222, 223, 231, 241, 242]
        level3 += [243, 244, 311, 312, 313, 321, 322, 323, 324, 331, 332, 333, 334, 335, 411, 412, 421, 422, 423, 511]
        level3 += [512, 521, 522, 523]
        first, second = (load_crosswalk("clc", load_legend(name)) for name in ("corine1", "corine2"))
        codes = np.array(level3, np.int16)
        assert first.apply(codes, where="x").tolist() == [code // 100 for code in level3]
        assert second.apply(codes, where="x").tolist() == [code // 10 for code in level3]
        assert np.array_equal(first.apply(np.array(clc.ids, np.int8), where="x"), first.apply(codes, where="x"))
        assert np.array_equal(second.apply(np.array(clc.ids, np.uint8), where="x"), second.apply(codes, where="x"))
        assert (first.apply(np.array([-128, 48, 999, 990, 995], np.int16), where="x") == NODATA).all()

    def test_level_two_of_corine_becomes_level_one(self):
        crosswalk = load_crosswalk("corine2", load_legend("corine1"))
        codes = np.array(CODES["corine2"], np.uint8)
        assert crosswalk.apply(codes, where="x").tolist() == [code // 10 for code in codes]

    @pytest.mark.parametrize("target", ["water", "change"])
    def test_255_is_a_class_in_a_mask_of_0_and_255(self, target):
        codes = np.array([[0, 255], [255, 0]], np.uint8)
        valid = np.array([[True, True], [False, True]])
        crosswalk = load_crosswalk("mask255", load_legend(target))
        assert crosswalk.apply(codes, valid, where="mask.png").tolist() == [[0, 1], [NODATA, 0]]
        with pytest.raises(LegendError, match="code 127 \\(1 px\\)"):  # a grey edge of a resampled mask
            crosswalk.apply(np.array([0, 127, 255], np.uint8), where="mask.png")


class TestCrosswalk:
    nlcd = load_crosswalk("nlcd", load_legend("chesapeake4"))

    @pytest.mark.parametrize("source", [None, "chesapeake4"])
    def test_without_a_source_codes_are_the_targets(self, source):
        crosswalk = load_crosswalk(source, load_legend("chesapeake4"))
        codes = np.array([0, 1, 2, 3, 4, 255], np.uint8)
        assert crosswalk.apply(codes, where="x").tolist() == [NODATA, 1, 2, 3, 4, NODATA]

    def test_zero_is_a_class_where_the_legend_says_so(self):
        assert load_crosswalk(None, load_legend("water")).apply(np.array([0, 1, 255]), where="x").tolist() == [
            0,
            1,
            255,
        ]

    @pytest.mark.parametrize(
        "dtype",
        ["uint8", "uint16", "int8", "int16", "uint32", "int32", "int64", "float16", "float32", "float64", ">i4"],
    )
    def test_any_number_type_gives_the_same_ids(self, dtype):
        codes = np.array([[11, 41, 95], [23, 0, 12]]).astype(dtype)
        ids = self.nlcd.apply(codes, where="x")
        assert ids.tolist() == [[1, 2, 3], [4, NODATA, NODATA]]
        assert ids.dtype == np.uint8

    @given(
        codes=hnp.arrays(np.int16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)),
        known=st.sets(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=20),
    )
    def test_it_is_a_dictionary_applied_to_every_pixel(self, codes, known):
        listed = sorted(known | set(codes.ravel().tolist()))
        table = {code: (1, 2, 3, 4, NODATA)[i % 5] for i, code in enumerate(listed)}
        crosswalk = Crosswalk("mine", load_legend("chesapeake4"), table)
        expected = [[table[code] for code in row] for row in codes.tolist()]
        for dtype in (np.int16, np.int32, np.float32):
            assert crosswalk.apply(codes.astype(dtype), where="x").tolist() == expected

    def test_what_is_invalid_is_not_looked_at(self):
        codes = np.array([[-99999.0, 11.0], [41.5, np.nan], [3e38, np.inf]], np.float32)
        valid = np.array([[False, True], [False, True], [False, True]])
        ids = self.nlcd.apply(codes, valid, where="x")
        assert ids.tolist() == [[NODATA, 1], [NODATA, NODATA], [NODATA, NODATA]]

    def test_it_leaves_its_input_alone(self):
        codes, valid = np.array([11, 99], np.uint8), np.array([True, False])
        self.nlcd.apply(codes, valid, where="x")
        assert (codes.tolist(), valid.tolist()) == ([11, 99], [True, False])

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
    def test_unknown_codes_are_listed_with_counts_most_frequent_first(self, dtype):
        codes = np.array([11, 99, 99, 99, 61, 41], dtype)
        with pytest.raises(LegendError, match=r"label\.tif: codes 99 \(3 px\), 61 \(1 px\) not in 'nlcd'") as caught:
            self.nlcd.apply(codes, where="label.tif")
        assert one_line(str(caught.value))

    @pytest.mark.parametrize(
        ("dtype", "code"),
        [("int32", 2**20), ("int32", -70000), ("uint32", 2**31), ("float32", 1e30), ("float64", -1e30)],
    )
    def test_codes_beyond_16_bits_are_unknown(self, dtype, code):
        with pytest.raises(LegendError, match=r"\(1 px\) not in"):
            self.nlcd.apply(np.array([11, code], dtype), where="x")

    def test_a_table_of_mixtures_says_what_its_largest_shares_say(self):
        legend = load_legend("chesapeake4")
        crosswalk = load_crosswalk("nlcd_mixture", legend)
        assert set(crosswalk.share_codes) == {code for code, target in crosswalk.table.items() if target in legend.ids}
        for code, shares in zip(crosswalk.share_codes, crosswalk.share_rows, strict=True):
            assert sum(shares) == pytest.approx(1)
            largest = legend.ids[shares.index(max(shares))]
            assert crosswalk.table[code] == largest, code

    def test_the_advice_names_the_crosswalk_that_knows_the_codes(self):
        identity = load_crosswalk(None, load_legend("chesapeake4"))
        with pytest.raises(LegendError, match="name 'nlcd' or 'nlcd_mixture' in `label_legend`"):
            identity.apply(np.array([41, 82, 1], np.uint8), where="x")

    def test_fractions_are_no_codes(self):
        with pytest.raises(LegendError, match=r"label\.tif: 2 px are fractions \(26, 41.5\)|26\.25"):
            self.nlcd.apply(np.array([11, 41.5, 26.25], np.float32), where="label.tif")

    @pytest.mark.parametrize("dtype", ["complex64", "bool", "U3"])
    def test_what_is_not_a_number_is_refused(self, dtype):
        with pytest.raises(LegendError, match="not class codes"):
            self.nlcd.apply(np.zeros(3, dtype), where="x")

    def test_it_is_fast_on_the_types_that_labels_have(self):
        codes = np.resize(np.array([11, 21, 41, 81, 0], np.uint8), (2048, 2048))
        for dtype, seconds in [("uint8", 0.2), ("uint16", 0.2), ("int16", 0.2), ("float32", 1.0)]:
            typed, best = codes.astype(dtype), np.inf
            for _ in range(3):
                start = time.perf_counter()
                self.nlcd.apply(typed, where="x")
                best = min(best, time.perf_counter() - start)
            assert best < seconds

    def test_it_can_be_pickled_hashed_and_told_apart(self):
        again = load_crosswalk("nlcd", load_legend("chesapeake4"))
        assert pickle.loads(pickle.dumps(self.nlcd)) == self.nlcd == again
        assert hash(again) == hash(self.nlcd)
        mixture = load_crosswalk("nlcd_mixture", load_legend("chesapeake4"))
        assert mixture != self.nlcd
        assert mixture.to_dict() != self.nlcd.to_dict() == again.to_dict()

    def test_a_table_must_lead_to_classes_of_the_target(self):
        with pytest.raises(LegendError, match="code 5 becomes 9"):
            Crosswalk("mine", load_legend("chesapeake4"), {5: 9})
        with pytest.raises(LegendError, match="code 70000 is out of range"):
            Crosswalk("mine", load_legend("chesapeake4"), {70000: 1})

    def test_attributes_of_polygons_by_code_or_name(self):
        for value, expected in [(41, 2), ("41", 2), (41.0, 2), ("Mixed Forest", 2), ("built", 4), (None, NODATA)]:
            assert self.nlcd.id_of(value, where="x") == expected
        assert self.nlcd.id_of("perennial ice and snow", where="x") == NODATA
        assert load_crosswalk(None, two).id_of("Low Vegetation", where="x") == 3

    @pytest.mark.parametrize("value", ["bilt", "17", 17])
    def test_an_attribute_that_is_no_class(self, value):
        with pytest.raises(LegendError, match=r"fields\.gpkg"):
            self.nlcd.id_of(value, where="fields.gpkg")


class TestLoadCrosswalk:
    def write(self, folder, text):
        (folder / "cross.yaml").write_text(text)
        return "cross.yaml"

    def test_a_file_beside_the_project(self, tmp_path):
        name = self.write(tmp_path, "mapping:\n  built: [1, 2]\n  low_vegetation: 5\nignore: [0]\n")
        crosswalk = load_crosswalk(name, two, tmp_path)
        assert crosswalk.source == "cross"
        assert crosswalk.apply(np.array([0, 1, 2, 5, 255]), where="x").tolist() == [NODATA, 7, 7, 3, NODATA]

    def test_its_source_may_be_a_legend_beside_it(self, tmp_path):
        (tmp_path / "theirs.yaml").write_text(
            "ignore: [9]\nclasses: [{id: 1, name: roof, color: '#0a0b0c'}, {id: 2, name: lawn, color: '#010203'}]\n"
        )
        name = self.write(tmp_path, "source: theirs.yaml\nmapping: {built: [1], low vegetation: [2]}\n")
        crosswalk = load_crosswalk(name, two, tmp_path)
        assert crosswalk.apply(np.array([1, 2, 9]), where="x").tolist() == [7, 3, NODATA]
        rgb = np.array([[[10, 11, 12], [1, 2, 3]]], np.uint8)
        assert crosswalk.apply(crosswalk.from_colors(rgb, where="x"), where="x").tolist() == [[7, 3]]
        assert crosswalk.id_of("roof", where="x") == 7

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("mapping: {bult: [1]}", "no class 'bult' in legend 'two'; did you mean 'built'"),
            ("mapping: {built: [1], low vegetation: [1]}", "code 1 is given twice"),
            ("mapping: {built: [1]}\nignore: [1]", "code 1 is given twice"),
            ("mapping: {built: [1]}\ntarget: nlcd", "leads to legend 'nlcd', not to 'two'"),
            ("maping: {built: [1]}", "unknown key 'maping'; did you mean 'mapping'|no 'mapping'"),
            ("mapping: {built: one}", "mapping"),
            ("ignore: [1]", "has no 'mapping'"),
        ],
    )
    def test_a_file_that_does_not_fit(self, tmp_path, text, message):
        name = self.write(tmp_path, text)
        with pytest.raises(LegendError, match=message) as caught:
            load_crosswalk(name, two, tmp_path)
        assert "cross.yaml" in str(caught.value)
        assert one_line(str(caught.value))

    def test_the_legends_own_file_says_that_codes_are_its_ids(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("classes: [{id: 4, name: forest, color: '#00aa00'}]")
        mine = load_legend("mine.yaml", tmp_path)
        assert load_crosswalk("mine.yaml", mine, tmp_path) == load_crosswalk(None, mine)
        with pytest.raises(LegendError, match="mine.yaml: is a legend with other classes than 'two'"):
            load_crosswalk("mine.yaml", two, tmp_path)

    def test_an_unknown_source_names_those_that_lead_there(self):
        with pytest.raises(LegendError, match="from 'nlcd_mixtur' .*did you mean 'nlcd_mixture'"):
            load_crosswalk("nlcd_mixtur", load_legend("chesapeake4"))
        with pytest.raises(LegendError, match="from 'nlcd' to legend 'corine1'; known: corine1, clc, corine2"):
            load_crosswalk("nlcd", load_legend("corine1"))


class TestFromColors:
    @pytest.mark.parametrize("name", ["second", "openearthmap", "hi_ucd", "clc", "nlcd", "worldcover"])
    def test_colours_give_back_the_codes(self, name):
        legend = load_legend(name)
        rgb = np.array([legend.colors], np.uint8)
        codes = legend.from_colors(rgb, where="x")
        assert codes.tolist() == [list(legend.ids)]
        assert load_crosswalk(None, legend).apply(codes, where="x").tolist() == [list(legend.ids)]

    def test_white_has_no_label_in_second(self):
        second = load_crosswalk(None, load_legend("second"))
        rgb = np.array([[[255, 255, 255], [0, 0, 255], [128, 128, 128]]], np.uint8)
        assert second.apply(second.from_colors(rgb, where="x"), where="x").tolist() == [[NODATA, 1, 2]]

    def test_what_is_transparent_has_no_label(self):
        rgba = np.array([[[0, 0, 255, 255], [0, 0, 255, 0], [1, 2, 3, 0]]], np.uint8)
        assert load_legend("second").from_colors(rgba, where="x").tolist() == [[1, NODATA, NODATA]]

    def test_unknown_colours_are_named_three_at_most(self):
        rgb = np.array([[[9, 9, 9]] * 5 + [[1, 2, 3]] * 2 + [[7, 7, 7]] * 3 + [[8, 8, 8]] + [[0, 0, 255]]], np.uint8)
        with pytest.raises(LegendError, match=r"#090909 \(5 px\), #070707 \(3 px\), #010203 \(2 px\) and 1 more"):
            load_legend("second").from_colors(rgb, where="label1.png")

    def test_a_colour_of_two_classes_cannot_be_read(self):
        legend = Legend("twins", (LegendClass(1, "a", "#010101"), LegendClass(2, "b", "#010101")))
        with pytest.raises(LegendError, match="color '#010101' is given twice"):
            legend.from_colors(np.ones((1, 1, 3), np.uint8), where="x")

    @pytest.mark.parametrize("image", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3), np.uint16)])
    def test_only_8_bit_colours(self, image):
        with pytest.raises(LegendError, match="not 8-bit colours"):
            load_legend("second").from_colors(image, where="x")

    def test_a_mask_saved_in_colours_stands_for_its_grey_values(self):
        mask = load_crosswalk("mask255", load_legend("change"))
        rgb = np.repeat(np.array([[0, 255]], np.uint8)[..., None], 3, axis=2)
        assert mask.apply(mask.from_colors(rgb, where="x"), where="x").tolist() == [[0, 1]]
        with pytest.raises(LegendError, match="colour image"):
            mask.from_colors(np.array([[[255, 0, 0]]], np.uint8), where="x")
