import numpy as np
import pytest

from mapmend.accuracy.change import ChangeAccuracy
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.change_data import ChangeReport
from mapmend.report.change_tables import checked_transitions, class_changes, from_to_table, largest_transitions
from mapmend.report.data import ReportData
from mapmend.report.flow import draw_flow

LEGEND = Legend("four", tuple(LegendClass(10 * i, f"class_{i}", f"#00{i}{i}00") for i in range(4)))
AREAS = ((5.0, 2.0, 0.0, 0.0), (1.0, 7.0, 0.5, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 0.0))


def report(areas=AREAS, **more):
    return ChangeReport("ha", areas, patches=4, **more)


def test_gain_and_loss_by_hand():
    rows = {row.entry.id: row for row in class_changes(report(), LEGEND)}
    assert list(rows) == [0, 10, 20]
    assert [(row.before, row.after, row.loss, row.gain, row.net) for row in rows.values()] == [
        (7.0, 6.0, 2.0, 1.0, -1.0),
        (8.5, 9.0, 1.5, 2.0, 0.5),
        (3.0, 3.5, 0.0, 0.5, 0.5),
    ]
    assert max(max(row.loss_share, row.gain_share) for row in rows.values()) == 1


def test_the_largest_transitions_come_first_and_shares_make_one():
    listed = largest_transitions(report(patches_of=((0, 2, 0, 0), (1, 0, 1, 0), (0,) * 4, (0,) * 4)), LEGEND)
    assert [(row.before.id, row.after.id, row.area, row.patches) for row in listed.rows] == [
        (0, 10, 2.0, 2),
        (10, 0, 1.0, 1),
        (10, 20, 0.5, 1),
    ]
    assert sum(row.share for row in listed.rows) == pytest.approx(1) and listed.others == 0


def test_many_transitions_are_cut_and_the_rest_is_summed():
    legend = Legend("many", tuple(LegendClass(i, f"c{i}", "#123456") for i in range(16)))
    areas = np.random.default_rng(0).uniform(0.1, 9, (16, 16))
    change = ChangeReport("ha", tuple(map(tuple, areas.tolist())), 9, patches_of=((1,) * 16,) * 16)
    listed = largest_transitions(change, legend)
    total = areas.sum() - np.trace(areas)
    assert len(listed.rows) + listed.others == 16 * 15
    assert sum(row.area for row in listed.rows) + listed.others_area == pytest.approx(total)
    assert listed.others_patches == listed.others
    assert min(row.area for row in listed.rows) >= listed.others_area / listed.others


def test_the_from_to_tables_margins_are_the_two_maps():
    table = from_to_table(report(), LEGEND)
    assert [entry.id for entry in table.classes] == [0, 10, 20]
    assert table.before == (7.0, 8.5, 3.0) and table.after == (6.0, 9.0, 3.5) and table.total == 18.5
    assert [[cell.area for cell in row] for row in table.cells] == [[5, 2, 0], [1, 7, 0.5], [0, 0, 3]]
    assert all(cell.kept == (i == j) for i, row in enumerate(table.cells) for j, cell in enumerate(row))
    assert table.cells[0][1].shade == 1 and table.cells[0][0].shade == 0


def test_areas_on_the_map_stand_beside_those_in_truth():
    accuracy = ChangeAccuracy(LEGEND.names, "ha")
    truth = [np.array([row], np.uint8) for row in ([0, 0, 1, 2], [1, 1, 2, 2])]
    mapped = [np.array([row], np.uint8) for row in ([0, 0, 1, 2], [1, 0, 1, 3])]
    accuracy.update(tuple(truth), tuple(mapped), np.array([[1.0, 2.0, 4.0, 8.0]]))
    rows = checked_transitions(report(accuracy=accuracy), LEGEND)
    assert [(row.before.id, row.after.id, row.map, row.truth, row.difference) for row in rows] == [
        (20, 30, 8.0, 0.0, 8.0),
        (10, 20, 0.0, 4.0, -4.0),
        (0, 10, 1.0, 3.0, -2.0),
    ]
    assert checked_transitions(report(), LEGEND) == []


def test_bars_and_ribbons_are_areas_on_one_scale():
    flow = draw_flow(AREAS, "ha", LEGEND)
    left = {bar.full: bar.height for bar in flow.left}
    right = {bar.full: bar.height for bar in flow.right}
    scale = left["0 class 0"] / 2.0
    assert left == pytest.approx({"0 class 0": 2 * scale, "10 class 1": 1.5 * scale})
    assert right == pytest.approx({"10 class 1": 2 * scale, "0 class 0": scale, "20 class 2": 0.5 * scale})
    assert sum(left.values()) == pytest.approx(sum(right.values()))
    assert {one.title for one in flow.ribbons} == {
        "class 0 to class 1: 2.00 ha",
        "class 1 to class 0: 1.00 ha",
        "class 1 to class 2: 0.50 ha",
    }
    assert flow.merged == 0 and "class 0 to class 1 2.00 ha" in flow.alt


def test_small_flows_are_drawn_as_one_and_names_never_overlap():
    legend = Legend(
        "many", tuple(LegendClass(i, f"a class of the number {i} and a long name", "#123456") for i in range(20))
    )
    areas = np.random.default_rng(1).uniform(0, 1, (20, 20)) ** 9 * 1e5
    flow = draw_flow(areas.tolist(), "ha", legend)
    assert flow.merged > 100 and len(flow.ribbons) <= 19
    for bars in (flow.left, flow.right):
        places = [bar.text_y for bar in bars]
        assert min(np.diff(places)) >= 14 and max(places) <= flow.height and all(len(bar.name) <= 27 for bar in bars)
        assert all(later.y >= bar.y + bar.height for bar, later in zip(bars, bars[1:], strict=False))
    total = areas.sum() - np.trace(areas)
    smallest = flow.left[-1]
    assert smallest.full == f"{flow.merged} smaller changes"
    assert sum(bar.height for bar in flow.left) / smallest.height == pytest.approx(
        total / float(smallest.area.split(" ha")[0].replace("\N{NARROW NO-BREAK SPACE}", "")), rel=1e-3
    )


def test_no_change_has_no_chart():
    assert draw_flow(np.eye(4).tolist(), "ha", LEGEND) is None


def test_tables_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="not 4×4"):
        ReportData("t", LEGEND, change=report(((1.0,),)))
    with pytest.raises(ValueError, match="other classes"):
        ReportData("t", LEGEND, change=report(accuracy=ChangeAccuracy(("a",), "ha")))
