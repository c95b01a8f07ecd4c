import numpy as np
import pytest

from mapmend.core.error_matrix import read_error_matrix, read_transition, transition_of
from mapmend.core.errors import LabelError

NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
COUNTS = ((66, 0, 5, 4), (0, 55, 8, 12), (1, 0, 153, 11), (2, 1, 9, 313))  # Olofsson et al. 2014, table 8
SIZES = (200_000, 150_000, 3_200_000, 6_450_000)


def write(path, text):
    path.write_text(text)
    return path


def published(path, sizes="pixels", separator=","):
    head = [["map", *NAMES, sizes] if sizes else ["map", *NAMES]]
    lines = [
        [name, *row, size] if sizes else [name, *row] for name, row, size in zip(NAMES, COUNTS, SIZES, strict=True)
    ]
    return write(path, "\n".join(separator.join(map(str, line)) for line in head + lines))


def test_the_worked_row(tmp_path):
    found = read_error_matrix(published(tmp_path / "m.csv")).of(NAMES)
    assert found[0] == pytest.approx([0.7486614, 0, 0.0824971, 0.1688414], abs=1e-7)


def test_it_is_bayes_rule_class_by_class(tmp_path):
    found = read_error_matrix(published(tmp_path / "m.csv", "area", ";")).of(NAMES)
    for truth in range(4):
        joint = [SIZES[label] / sum(SIZES) * COUNTS[label][truth] / sum(COUNTS[label]) for label in range(4)]
        assert found[truth] == pytest.approx([one / sum(joint) for one in joint])
    assert found.sum(1) == pytest.approx(np.ones(4))
    rows = np.array(COUNTS) / np.sum(COUNTS, 1, keepdims=True)
    assert not np.allclose(found, rows) and not np.allclose(found, rows.T)


def test_without_sizes_the_counts_stand_for_the_area(tmp_path):
    found = read_error_matrix(published(tmp_path / "m.csv", "")).of(NAMES)
    assert found[0] == pytest.approx(np.array([66, 0, 1, 2]) / 69)
    shares = np.array(COUNTS) / 640
    assert transition_of(shares) == pytest.approx(found)


def test_the_order_of_the_legend_is_taken(tmp_path):
    found = read_error_matrix(published(tmp_path / "m.csv"))
    order = [2, 0, 3, 1]
    turned = found.of([NAMES[i].upper().replace(" ", "_") for i in order])
    assert turned == pytest.approx(found.matrix[np.ix_(order, order)])


def test_a_class_without_reference_units_is_taken_at_its_word():
    found = transition_of([[10, 0, 0], [2, 8, 0], [1, 4, 0]])
    assert found[2] == pytest.approx([0, 0, 1])
    assert np.isfinite(found).all()


def test_a_transition_matrix_as_it_stands(tmp_path):
    path = write(tmp_path / "t.csv", "\ufeff,a,b\na,0.9,0.1\nb,0.25,0.75\n")
    assert read_transition(path).of(["b", "a"]) == pytest.approx(np.array([[0.75, 0.25], [0.1, 0.9]]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",a,b\na,.9,.2\nb,.2,.8\n", "row 'a' sums to 1.1, not to one"),
        (",a,b\na,66,5\nb,2,90\n", "row 'a' sums to 71, not to one"),
        (",a,b\na,.9,.1\nc,.2,.8\n", "names the rows a, c and the columns a, b"),
        (",a,a\na,.9,.1\na,.2,.8\n", "two of one name"),
        (",a,b\na,.9,x\nb,.2,.8\n", "row 'a' holds 'x'"),
        (",a,b\na,1.1,-.1\nb,.2,.8\n", "row 'a' holds '-.1'"),
        (",a,b\na,nan,.1\nb,.2,.8\n", "row 'a' holds 'nan'"),
        (",a,b\na,.9,.1\nb,.2\n", "is not a table"),
        (".9,.1\n.2,.8\n", "is not a table|no names"),
        ("", "is empty"),
        ("a\n", "is not a table"),
    ],
)
def test_files_that_are_no_transition_matrix(tmp_path, text, says):
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(LabelError, match=says) as fault:
        read_transition(path)
    assert "\n" not in str(fault.value) and str(path) in str(fault.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",a,b,area\na,0,0,5\nb,1,9,5\n", "row 1 has a size and no counts"),
        (",a,b,area\na,1,0,0\nb,1,9,0\n", "sizes of the map's classes do not fit"),
        (",a,b\na,0,0\nb,0,0\n", "no count, or nothing"),
        (",a,b,c\na,1,0,2\nb,1,9,3\n", "names the rows a, b and the columns a, b, c"),
    ],
)
def test_files_that_are_no_error_matrix(tmp_path, text, says):
    with pytest.raises(LabelError, match=says):
        read_error_matrix(write(tmp_path / "m.csv", text))


def test_classes_that_do_not_match_the_legend(tmp_path):
    with pytest.raises(LabelError, match="lacks water and has forest gain") as fault:
        read_error_matrix(published(tmp_path / "m.csv")).of([NAMES[0], "water", *NAMES[2:]])
    assert str(tmp_path) in str(fault.value)
    with pytest.raises(LabelError, match="cannot be read"):
        read_error_matrix(tmp_path / "no.csv")
