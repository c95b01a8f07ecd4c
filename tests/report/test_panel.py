import dataclasses

import numpy as np
import pytest
from PIL import Image

from mapmend.core.legend import load_legend
from mapmend.report.panel import draw_panel


def test_the_layers_stand_side_by_side(report, tmp_path):
    data = report("nlcd", side=80, sites=1)
    path = draw_panel(data.sites[0], data.legend, tmp_path / "docs" / "panel.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        five = picture.size
    path = draw_panel(data.sites[0], data.legend, tmp_path / "two.png", kinds=("image", "map"))
    with Image.open(path) as picture:
        two = picture.size
    assert five[0] / five[1] > 2.2 and five[0] > 2.3 * two[0]
    assert five[0] > 1800


def test_class_colours_are_in_the_picture_exactly(report, tmp_path):
    data = report("openearthmap", side=90, sites=1)
    path = draw_panel(data.sites[0], data.legend, tmp_path / "panel.png", kinds=("map",))
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    found = {tuple(colour) for colour in pixels.tolist()}
    site = data.sites[0]
    present = set(np.unique(site.map[site.valid])) - {255}
    assert {data.legend.colors[data.legend.lut[id]] for id in present} <= found


def test_layers_a_site_lacks_are_left_out(report, tmp_path):
    legend = load_legend("openearthmap")
    site = dataclasses.replace(report(side=40, sites=1).sites[0], label=None, confidence=None, reference=None)
    draw_panel(site, legend, tmp_path / "panel.png")
    with pytest.raises(ValueError, match="none of the layers"):
        draw_panel(site, legend, tmp_path / "none.png", kinds=("label",))
    assert not (tmp_path / "none.png").exists()
