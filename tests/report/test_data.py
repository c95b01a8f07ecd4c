import numpy as np
import pytest

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.core.legend import Legend, LegendClass
from mapmend.report.data import Accuracy, ClassAreas, ReportData, SitePanel


def test_other_shapes_and_other_classes_are_refused():
    legend = Legend("one", (LegendClass(1, "all", "#336699"),))
    with pytest.raises(ValueError, match="label is uint8"):
        SitePanel("s", np.ones((4, 4), bool), label=np.ones((4, 5), np.uint8))
    with pytest.raises(ValueError, match="image is"):
        SitePanel("s", np.ones((4, 4), bool), image=np.ones((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="other classes"):
        ReportData("t", legend, accuracy=Accuracy(ConfusionMatrix(["else"])))
    with pytest.raises(ValueError, match="2 areas"):
        ReportData("t", legend, areas=ClassAreas("ha", (1.0, 2.0)))


def test_the_aspect_is_that_of_the_ground():
    valid = np.ones((100, 200), bool)
    assert SitePanel("s", valid).aspect == SitePanel("s", valid, pixel_size=30.0).aspect == 2.0
    assert SitePanel("s", valid, pixel_size=20.0, pixel_height=40.0).aspect == 1.0
