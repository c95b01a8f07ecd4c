"""What is compared with the reference."""

from dataclasses import replace

import numpy as np
from tests.data.scenery import grid, halves, write
from tests.report.test_score import HEIGHT, LEGEND, WIDTH, site

from mapmend.reporting import Shown, score


def labelled(folder, rows):
    """A site whose label knows only its upper rows."""
    label = halves(HEIGHT, WIDTH)
    label[rows:] = 255
    path = write(folder / "label.tif", label, grid(HEIGHT, WIDTH), nodata=255)
    return replace(site(folder, "2020", np.s_[:0, :]), label=path)


def test_a_label_of_some_polygons_is_not_compared_as_if_it_were_a_map(tmp_path):
    raster = write(tmp_path / "map.tif", halves(HEIGHT, WIDTH), grid(HEIGHT, WIDTH), nodata=255)
    sparse = score([Shown(labelled(tmp_path, 6), raster)], LEGEND)
    assert sparse.label is None and "knows 10.0% of its pixels" in sparse.reference
    dense = score([Shown(labelled(tmp_path, 48), raster)], LEGEND)
    assert dense.label.pixels == HEIGHT * WIDTH and dense.map.pixels == HEIGHT * WIDTH
