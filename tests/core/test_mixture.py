"""A product's table of mixtures: how much of each class the ground of a code has on average."""

import pytest
import yaml

from mapmend.core.errors import LegendError
from mapmend.core.legend import load_crosswalk, load_legend

TARGET = load_legend("chesapeake4")  # water, tree, low vegetation, built
TABLE = {
    "name": "mine",
    "source": "nlcd",
    "target": "chesapeake4",
    "mapping": {"tree": [41, 43], "built": [22], "low vegetation": [21]},
    "ignore": [12],
    "mixture": {41: [0.92, 0.01, 0.06], 21: [0.42, 0.11, 0.46]},
}


def load(tmp_path, **change):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**TABLE, **change}, sort_keys=False))
    return load_crosswalk(path, TARGET)


def test_rows_are_in_the_legends_order_and_sum_to_one(tmp_path):
    crosswalk = load(tmp_path)
    assert crosswalk.share_codes == (21, 22, 41, 43)
    rows = dict(zip(crosswalk.share_codes, crosswalk.share_rows, strict=True))
    assert rows[41] == pytest.approx((0, 0.92 / 0.99, 0.06 / 0.99, 0.01 / 0.99))
    assert rows[21] == pytest.approx((0, 0.42 / 0.99, 0.46 / 0.99, 0.11 / 0.99))
    assert rows[22] == (0, 0, 0, 1) and rows[43] == (0, 1, 0, 0)  # without a mixture: its class


def test_a_table_without_mixtures_is_known_as_before(tmp_path):
    plain = load(tmp_path, mixture={})
    assert "mixture" not in plain.to_dict()
    assert load(tmp_path).to_dict()["mixture"] == {"21": [0, 0.42, 0.46, 0.11], "41": [0, 0.92, 0.06, 0.01]}


@pytest.mark.parametrize(
    ("mixture", "says"),
    [
        ({41: [0.9, 0.1]}, "mixture of code 41 has 2 shares; give one for each of tree, built, low vegetation"),
        ({41: [0.5, 0.1, 0.1]}, "mixture of code 41 is 0, 0.5, 0.1, 0.1"),
        ({41: [1.2, -0.2, 0.0]}, "mixture of code 41 is"),
        ({42: [0.9, 0.1, 0.0]}, "mixture of code 42, which has no class"),
        ({12: [0.9, 0.1, 0.0]}, "mixture of code 12, which has no class"),
        ({41: "most"}, "mixture"),
    ],
)
def test_tables_that_are_none(tmp_path, mixture, says):
    with pytest.raises(LegendError, match=says):
        load(tmp_path, mixture=mixture)
