import pytest

from mapmend.core.thinning import evenly


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(0, 3, []), (2, 3, [0, 1]), (3, 3, [0, 1, 2]), (9, 3, [0, 4, 8]), (10, 4, [0, 3, 6, 9]), (5, 1, [0])],
)
def test_the_choice_runs_evenly_from_the_first_to_the_last(count, most, expected):
    assert evenly(range(count), most) == expected
