import numpy as np
import pytest
from tests.sampling.small_maps import LEGEND, class_map, classes, from_to_folder, write

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import LegendError, SampleError
from mapmend.sampling.counting import UnitArea, count
from mapmend.sampling.frame import Frame
from mapmend.sampling.inputs import MapReader, open_map
from mapmend.sampling.population import population_of
from mapmend.sampling.strata import (
    StrataRule,
    by_change,
    by_class,
    by_transition,
    single,
    with_risk,
    without_empty,
)

K = len(LEGEND)


def seen(source):
    reader = MapReader(source)
    area = UnitArea(reader.grid)
    tally = count(reader, area)
    return reader, area, tally, population_of(tally, source, reader.known)


def sizes(source, make):
    reader, area, tally, population = seen(source)
    rule = make(population)
    return dict(zip(rule.names, Frame(reader, area, rule, tally).pixels.tolist(), strict=True))


def moves(shape=(80, 90)):
    """From-to codes: mostly stable, a large transition, two small ones."""
    random = np.random.default_rng(4)
    codes = [0, K + 1, 2 * K + 2, 2 * K + 0, 0 * K + 3, 1 * K + 3, 255]
    return random.choice(codes, shape, p=[0.5, 0.1, 0.2, 0.08, 0.002, 0.001, 0.117]).astype(np.uint8)


def test_a_stratum_per_transition_that_is_large_enough(tmp_path):
    codes = moves()
    source = open_map(from_to_folder(tmp_path / "change", codes))
    assert source.two_dates
    found = sizes(source, lambda population: by_transition(population, 0.05))
    number = {name: int((codes == code).sum()) for name, code in (("a", 0), ("b", K + 1), ("c", 2 * K + 2))}
    assert found == {
        "forest (unchanged)": number["a"],
        "gain (unchanged)": number["b"],
        "crop (unchanged)": number["c"],
        "crop → forest": int((codes == 2 * K).sum()),
        "other change": int(np.isin(codes, (3, K + 3)).sum()),
    }
    assert "gain → water" in sizes(source, lambda population: by_transition(population, 0))
    assert sizes(source, by_change) == {
        "unchanged": sum(number.values()),
        "changed": int(np.isin(codes, (2 * K, 3, K + 3)).sum()),
    }


def test_names_of_changes_stand_for_their_codes(tmp_path):
    _, _, _, population = seen(open_map(from_to_folder(tmp_path / "change", moves())))
    for name, codes in (
        ("change", {3, K + 3, 2 * K}),
        ("crop -> forest", {2 * K}),
        ("5 > 1", {2 * K}),
        ("Water", {3, K + 3}),
    ):
        assert {population.codes[at] for at in population.members(name)} == codes
    with pytest.raises(SampleError, match="no pixel of 'water -> crop'"):
        population.members("water -> crop")
    with pytest.raises(LegendError, match="did you mean 'forest'"):
        population.members("forrest")


def test_from_to_codes_of_sixteen_bits(tmp_path):
    legend = Legend("many", tuple(LegendClass(i, f"class {i}", "#000000") for i in range(20)))
    codes = np.random.default_rng(0).choice([0, 21, 399, 380, 65535], (70, 60)).astype(np.uint16)
    folder = from_to_folder(tmp_path / "change", codes, legend)
    steps = np.random.default_rng(1).choice([0, 200, 255], codes.shape).astype(np.uint8)
    probability = write(tmp_path / "p.tif", steps)
    plain = sizes(open_map(folder), by_class)
    assert plain == sizes(open_map(folder, probability=probability), by_class)
    assert plain["class 19 → class 0"] == int((codes == 380).sum()) and len(plain) == 4


def risky(tmp_path, shape=(200, 250)):
    """Omissions of `gain` lie where its probability is high."""
    random = np.random.default_rng(2)
    array = classes(shape)
    likely = random.random(shape) < 0.04
    steps = np.where(likely, random.integers(60, 160, shape), random.integers(0, 2, shape)).astype(np.uint8)
    steps[array == 2] = random.integers(120, 200, int((array == 2).sum()))
    steps[:5] = 255
    source = class_map(tmp_path, array)
    return open_map(source.path, LEGEND, probability=write(tmp_path / "p.tif", steps)), array, steps


def test_a_stratum_of_omission_risk(tmp_path):
    source, array, steps = risky(tmp_path)
    reader, area, tally, population = seen(source)
    rule, plan = with_risk(population, by_class(population), "gain", 500, 10)
    assert plan.cuts and plan.gain > 0.2
    found = dict(zip(rule.names, Frame(reader, area, rule, tally).pixels.tolist(), strict=True))
    others, known = np.isin(array, (1, 5, 9)), steps <= 200
    above = {name: pixels for name, pixels in found.items() if name.startswith("omission risk of gain")}
    assert sum(above.values()) == int((others & known & (steps >= plan.cuts[0])).sum())
    assert found["forest"] == int(((array == 1) & ~(known & (steps >= plan.cuts[0]))).sum())
    assert sum(found.values()) == int(np.isin(array, (1, 2, 5, 9)).sum())
    assert StrataRule.from_dict(rule.to_dict()).names == rule.names
    assert (StrataRule.from_dict(rule.to_dict()).table() == rule.table()).all()


def test_strata_without_pixels_are_left_out(tmp_path):
    array, steps = np.full((50, 60), 1, np.uint8), np.zeros((50, 60), np.uint8)
    array[:10], steps[:10] = 9, 150
    array[10:12] = 2
    source = open_map(write(tmp_path / "m.tif", array), LEGEND, probability=write(tmp_path / "p.tif", steps))
    reader, area, tally, population = seen(source)
    rule = StrataRule(
        ("forest", "gain", "water", "risk"),
        {code: split for code, split in with_cut(by_class(population), cut=100, into=3).items()},
    )
    pixels = Frame(reader, area, rule, tally).pixels
    assert pixels.tolist() == [38 * 60, 120, 0, 600]
    kept = without_empty(rule, pixels)
    assert kept.names == ("forest", "gain", "risk")
    assert Frame(reader, area, kept, tally).pixels.tolist() == [38 * 60, 120, 600]


def with_cut(rule, cut, into):
    from mapmend.sampling.strata import Split

    return {code: split if code == 2 else Split((*split.strata, into), (cut,)) for code, split in rule.splits.items()}


def test_strata_that_cannot_be_made_are_refused(tmp_path):
    source, *_ = risky(tmp_path)
    _, _, _, population = seen(source)
    for make in (by_change, lambda population: by_transition(population, 0.05)):
        with pytest.raises(SampleError, match="need a from-to map"):
            make(population)
    with pytest.raises(SampleError, match="'gain' shares a stratum with other classes"):
        with_risk(population, single(population), "gain", 500, 10)
    with pytest.raises(LegendError, match="did you mean 'gain'"):
        with_risk(population, by_class(population), "gian", 500, 10)
    with pytest.raises(SampleError, match="does not say how its strata were made"):
        StrataRule.from_dict({"names": ["a"]})
