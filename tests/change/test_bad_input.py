import numpy as np
import pytest
from affine import Affine

from mapmend.change.job import change_maps
from mapmend.change.settings import ChangeSettings
from mapmend.core.errors import GridError, JobError, LegendError, ManifestError, MapmendError, ProjectError, RasterError
from mapmend.core.settings import from_mapping

WATER = np.full((6, 8), 7, np.uint8)


def refused(inputs, legend, out, settings=None):
    """The one line of the refusal; nothing is left behind."""
    with pytest.raises(MapmendError) as caught:
        change_maps(inputs, legend, out, settings)
    assert not out.exists() and "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (("2020-01-01", "2020-01-01"), "both dates are 2020-01-01"),
        (("2021-05-01", "2020-01-01"), "the earlier date 2021-05-01 comes after 2020-01-01"),
    ],
)
def test_dates_in_the_wrong_order(dates, said, write_pair, legend, tmp_path):
    pair = write_pair({"before": WATER, "after": WATER}, date_before=dates[0], date_after=dates[1])
    fault = refused(pair, legend, tmp_path / "out")
    assert isinstance(fault, ManifestError) and str(fault) == f"site 'here': {said}; give the earlier date first"


def test_unknown_dates_are_no_fault(write_pair, legend, tmp_path):
    change_maps(
        write_pair({"before": WATER, "after": WATER}, date_before="2020-01-01", date_after=""), legend, tmp_path
    )


def test_two_grids(write_pair, legend, tmp_path):
    before = write_pair({"before": WATER, "after": WATER})
    for role, layers, named in (
        ("after", {"after": np.full((6, 9), 7, np.uint8)}, {}),
        ("after", {"after": WATER}, {"transform": Affine(10, 0, 900000, 0, -10, 4000000)}),
        ("probability", {"probability": np.zeros((5, 8), np.uint8)}, {}),
    ):
        layers = {"before": WATER, "after": WATER, **layers}
        other = {name: array for name, array in layers.items() if name == role}
        inputs = write_pair({"before": WATER, "after": WATER})
        moved = write_pair({"old": other[role]}, before=inputs.before, after=inputs.after, **named)
        fault = refused(_with(before, role, moved.old), legend, tmp_path / "out")
        assert isinstance(fault, GridError) and "map both dates on one grid" in str(fault)
        assert "8 × 6 px" in str(fault) and f"{other[role].shape[1]} × {other[role].shape[0]} px" in str(fault)


def _with(inputs, role, path):
    return type(inputs)(**{**vars(inputs), role: path})


def test_a_class_outside_the_legend(write_pair, legend, tmp_path):
    wrong = WATER.copy()
    wrong[2, 3] = 9
    fault = refused(write_pair({"before": WATER, "after": wrong}), legend, tmp_path / "out")
    assert isinstance(fault, LegendError) and "after.tif: code 9 (1 px) not in 'three'" in str(fault)


def test_files_that_cannot_be_read(write_pair, legend, tmp_path):
    pair = write_pair({"before": WATER, "after": WATER})
    missing = refused(_with(pair, "after", str(tmp_path / "none.tif")), legend, tmp_path / "out")
    assert isinstance(missing, RasterError) and "does not exist" in str(missing)
    (tmp_path / "text.tif").write_text("no raster")
    assert isinstance(refused(_with(pair, "before", str(tmp_path / "text.tif")), legend, tmp_path / "out"), RasterError)


@pytest.mark.parametrize("kind", ["float", "above"])
def test_what_is_no_probability(kind, write_pair, legend, tmp_path):
    wrong = np.full((6, 8), 0.5, np.float32) if kind == "float" else np.full((6, 8), 201, np.uint8)
    fault = refused(write_pair({"before": WATER, "after": WATER, "probability": wrong}), legend, tmp_path / "out")
    assert isinstance(fault, RasterError) and "round(200·p)" in str(fault)


def test_nothing_in_common(write_pair, legend, tmp_path):
    left, right = WATER.copy(), WATER.copy()
    left[:, :4], right[:, 4:] = 255, 255
    fault = refused(write_pair({"before": left, "after": right}), legend, tmp_path / "out")
    assert isinstance(fault, RasterError) and "has no valid pixel in common with" in str(fault)


def test_a_folder_that_is_not_its_own(write_pair, legend, tmp_path):
    pair = write_pair({"before": WATER, "after": WATER})
    with pytest.raises(JobError, match="holds the maps that are to be compared; choose another"):
        change_maps(pair, legend, tmp_path / "in")
    (tmp_path / "map").mkdir()
    for text in ('{"windows": 3}', "[]", "{"):
        (tmp_path / "map" / "mapmend.json").write_text(text)
        with pytest.raises(JobError, match="holds another job's results"):
            change_maps(pair, legend, tmp_path / "map")
        assert (tmp_path / "map" / "mapmend.json").read_text() == text


@pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")
def test_hectares_without_a_place(write_pair, legend, tmp_path):
    pair = write_pair({"before": WATER, "after": WATER}, crs=None, transform=Affine.identity())
    fault = refused(pair, legend, tmp_path / "out", ChangeSettings(mmu_ha=0.5))
    assert isinstance(fault, GridError) and "hectares are unknown; use mmu_pixels" in str(fault)


def test_settings_that_make_no_sense():
    with pytest.raises(ProjectError, match="mmu_ha and mmu_pixels are both given; give one"):
        ChangeSettings(mmu_ha=1, mmu_pixels=3)
    for wrong in ({"threshold": 1.5}, {"mmu_ha": 0}, {"mmu_pixels": -1}, {"mmu": 3}):
        with pytest.raises(ProjectError):
            from_mapping(ChangeSettings, wrong, "change")
    with pytest.raises(ProjectError, match="both given"):
        from_mapping(ChangeSettings, {"mmu_ha": 1, "mmu_pixels": 3}, "change")
