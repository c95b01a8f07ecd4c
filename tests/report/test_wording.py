import pytest

from mapmend.report import wording

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.fraction(0.91249), "0.912"),
        (wording.fraction(-0.2), f"{MINUS}0.200"),
        (wording.fraction(None), "n/a"),
        (wording.signed(0.0561), "+0.056"),
        (wording.signed(-0.0561), f"{MINUS}0.056"),
        (wording.signed(-0.0001), "0.000"),
        (wording.percent(0.1234), f"12.3{THIN}%"),
        (wording.count(1234567), f"1{THIN}234{THIN}567"),
        (wording.area(1234567.0, "px"), f"1{THIN}234{THIN}567"),
        (wording.area(12345.67, "ha"), f"12{THIN}346"),
        (wording.area(123.45, "ha"), "123.5"),
        (wording.area(-1.234, "ha"), f"{MINUS}1.23"),
        (wording.area(0.01234, "ha"), "0.0123"),
        (wording.area(0.0, "ha"), "0"),
        (wording.area(None, "ha"), "n/a"),
        (wording.duration(3.14), f"3.1{THIN}s"),
        (wording.duration(59.97), f"1{THIN}min 0{THIN}s"),
        (wording.duration(125.4), f"2{THIN}min 5{THIN}s"),
        (wording.duration(3599.8), f"1{THIN}h 0{THIN}min"),
        (wording.duration(7384), f"2{THIN}h 3{THIN}min"),
        (wording.metric_name("miou"), "Mean IoU"),
        (wording.metric_name("flood_iou"), "flood iou"),
    ],
)
def test_numbers_read_as_in_print(shown, expected):
    assert shown == expected


def test_ink_can_be_read_on_any_class_colour():
    assert wording.readable_on((255, 255, 255)) == "#000000" and wording.readable_on((0, 0, 80)) == "#ffffff"
