import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mapmend.core.errors import SensorError
from mapmend.core.sensor import Band, QARule, Sensor, check_fit, load_sensor, shipped_sensors


class TestShippedCards:
    def test_the_ones_that_are_promised(self):
        assert {"naip", "sentinel2", "sentinel1", "landsat", "rgb", "png"} <= set(shipped_sensors())

    @pytest.mark.parametrize("name", shipped_sensors())
    def test_each_says_what_it_is_and_whose(self, name):
        card = load_sensor(name)
        assert card.name == name
        assert card.title and card.licence and card.dtypes
        if card.kind == "optical":
            assert all(band.wavelength_nm and 400 < band.wavelength_nm < 2500 for band in card.bands)

    @pytest.mark.parametrize("name", shipped_sensors())
    def test_it_survives_json_and_pickling_and_can_be_a_key(self, name):
        card = load_sensor(name)
        assert Sensor.from_dict(json.loads(json.dumps(card.to_dict()))) == card
        assert pickle.loads(pickle.dumps(card)) == card
        assert {card: 1}[load_sensor(name)] == 1

    def test_naip_is_red_green_blue_near_infrared(self):
        naip = load_sensor("naip")
        assert naip.band_names == ("red", "green", "blue", "nir")
        assert (naip.gsd, naip.dtypes, naip.nodata) == (1, ("uint8",), None)

    def test_sentinel2_reflectance_since_baseline_4(self):
        card = load_sensor("sentinel2")
        for number in (1000, 1001, 11_000):
            assert number * card.scale + card.offset == pytest.approx((number - 1000) / 10_000)
        assert (card.gsd, card.nodata, card.dtypes[0]) == (10, 0, "uint16")
        assert "B8A" in card.band_names and "B10" not in card.band_names  # level 2A has no cirrus band
        level1 = load_sensor("sentinel2_l1c")
        assert len(level1.bands) == 13
        assert level1.qa is None

    def test_landsat_reflectance(self):
        card = load_sensor("landsat")
        # the product guide's ends of valid reflectance, 7273 and 43636, stand for 0 and 1
        assert 7273 * card.scale + card.offset == pytest.approx(0, abs=1e-5)
        assert 43636 * card.scale + card.offset == pytest.approx(1, abs=1e-4)
        assert card.nodata == 0

    def test_sentinel1_is_in_decibels(self):
        card = load_sensor("sentinel1")
        assert (card.band_names, card.kind, card.unit, card.dtypes) == (("vv", "vh"), "radar", "dB", ("float32",))


class TestLoadSensor:
    def test_bands_select_by_product_name_common_name_or_without_the_zero(self):
        card = load_sensor({"card": "sentinel2", "bands": ["red", "B3", "b02", "nir", "B8A"]})
        assert card.band_names == ("B04", "B03", "B02", "B08", "B8A")
        assert card.bands[0].wavelength_nm == 665
        assert card.qa == load_sensor("sentinel2").qa

    def test_a_generic_card_takes_any_number_of_new_names(self):
        assert load_sensor({"card": "png", "bands": ["vv"]}).band_names == ("vv",)
        nine = [f"b{i}" for i in range(9)]
        assert load_sensor({"card": "png", "bands": nine}).band_names == tuple(nine)

    def test_other_keys_replace_the_cards(self):
        card = load_sensor({"card": "sentinel2", "offset": 0, "nodata": None, "dtypes": ["float32"]})
        assert (card.offset, card.nodata, card.dtypes) == (0, None, ("float32",))
        assert card.scale == load_sensor("sentinel2").scale

    def test_all_of_a_card_in_the_project(self):
        card = load_sensor({"name": "drone", "bands": ["red", {"name": "edge", "wavelength_nm": 717}], "gsd": 0.05})
        assert card.bands == (Band("red"), Band("edge", 717))
        assert (card.kind, card.scale, card.dtypes) == ("generic", 1, ())

    def test_a_file_beside_the_project_may_build_on_a_card(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("card: naip\nbands: [nir, red]\ngsd: 0.6\n")
        card = load_sensor("mine.yaml", tmp_path)
        assert (card.name, card.band_names, card.gsd) == ("mine", ("nir", "red"), 0.6)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("sentinel3", "'sentinel3' is unknown; did you mean 'sentinel"),
            ("zzz", "known: landsat, .*naip"),
            ({"card": "napi"}, "did you mean 'naip'"),
            ({"card": "naip", "bands": ["redd"]}, "no band 'redd'; did you mean 'red'"),
            ({"card": "sentinel2", "bands": ["B10"]}, "no band 'B10'"),
            ({"card": "naip", "scle": 2}, "unknown key 'scle'; did you mean 'scale'"),
            ({"card": "naip", "bands": []}, "not a list of names"),
            ({"card": "naip", "bands": "red"}, "not a list of names"),
            ({"card": "png", "bands": ["a", "A"]}, "band 'a' is given twice"),
            ({"card": 3}, "'card' is not a name"),
            ({"name": "x"}, "no 'bands'"),
            ({"name": "x", "bands": ["a"], "kind": "lidar"}, "'kind' is 'lidar'"),
            ({"name": "x", "bands": ["a"], "dtypes": ["unit8"]}, "did you mean 'uint8'"),
            ({"name": "x", "bands": ["a"], "scale": 0}, "scale"),
            ({"name": "x", "bands": ["a"], "valid_range": [5, 5]}, "valid_range is empty"),
            ({"name": "x", "bands": [{"name": "a", "wavelenght_nm": 5}]}, "did you mean 'wavelength_nm'"),
            ({"name": "x", "bands": ["a"], "qa": {"kind": "bits", "band": "q", "invalid": [64]}}, "qa lists"),
        ],
    )
    def test_what_does_not_fit_is_one_line(self, spec, message):
        with pytest.raises(SensorError, match=message) as caught:
            load_sensor(spec)
        assert "\n" not in str(caught.value)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(SensorError, match="does not exist"):
            load_sensor(tmp_path / "none.yaml")

    def test_nan_as_nodata_leaves_cards_equal(self):
        plain = {"name": "x", "bands": ["a"], "nodata": math.nan}
        assert load_sensor(plain) == load_sensor(plain)


class TestQARule:
    def test_classes_of_sentinel2(self):
        rule = load_sensor("sentinel2").qa
        valid = rule.valid(np.arange(12, dtype=np.uint8))
        assert [code for code in range(12) if valid[code]] == [2, 4, 5, 6, 7, 11]

    @pytest.mark.parametrize(
        ("code", "valid"),
        [
            (21824, True),  # clear land, the most frequent number of the product guide
            (21952, True),  # clear water
            (1, False),  # fill
            (22280, False),  # cloud, high confidence
            (23888, False),  # cloud shadow
            (54596, False),  # cirrus
        ],
    )
    def test_bits_of_landsat_8(self, code, valid):
        assert load_sensor("landsat").qa.valid(np.array([[code]], np.uint16)).tolist() == [[valid]]

    @given(
        codes=hnp.arrays(np.uint16, st.integers(1, 30)),
        bits=st.sets(st.integers(0, 15), min_size=1).map(sorted),
    )
    def test_any_listed_bit_rules_a_pixel_out(self, codes, bits):
        valid = QARule("bits", "qa", tuple(bits)).valid(codes)
        # in binary digits, written out: the last is bit 0
        expected = [all(f"{code:016b}"[15 - bit] == "0" for bit in bits) for code in codes.tolist()]
        assert valid.tolist() == expected

    def test_codes_stored_as_floats(self):
        rule = QARule("classes", "SCL", (3,))
        assert rule.valid(np.array([3.0, 4.0, np.nan], np.float32)).tolist() == [False, True, False]


class TestCheckFit:
    def test_what_fits_passes(self):
        check_fit(load_sensor("naip"), where="x", count=4, dtype="uint8", low=0, high=255)
        check_fit(load_sensor("sentinel1"), where="x", count=2, dtype="float32", low=-38.2, high=14.0)
        check_fit(load_sensor({"name": "any", "bands": ["a"]}), where="x", dtype="float64", low=-1e9, high=1e9)

    @pytest.mark.parametrize(
        ("card", "given_values", "message"),
        [
            ("naip", {"count": 3}, r"a\.tif: has 3 bands, sensor card 'naip' wants 4 \(red, green, blue, nir\)"),
            ("naip", {"dtype": "uint16"}, r"a\.tif: holds uint16, sensor card 'naip' wants uint8"),
            ("sentinel2", {"dtype": "float32"}, "holds float32, .* wants uint16 or int16"),
            ("sentinel1", {"low": 0.0001, "high": 3.2}, "linear backscatter"),
            ("sentinel1", {"low": -9999, "high": 3.2}, "has values -9999 to 3.2, outside the -100 to 60"),
            ("landsat", {"low": -5}, "has values -5 to \\?, outside"),
        ],
    )
    def test_what_does_not_is_one_line(self, card, given_values, message):
        with pytest.raises(SensorError, match=message) as caught:
            check_fit(load_sensor(card), where="a.tif", **given_values)
        assert "\n" not in str(caught.value)
        assert caught.value.fix
