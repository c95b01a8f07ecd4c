"""The metric referee: predictions against references in every published convention, streamed window by window."""

from __future__ import annotations

from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import LegendError, ManifestError
from mapmend.scoring.gathering import MOST_RING, Gathering
from mapmend.scoring.images import ScoredImage, ScoreInputs, paired
from mapmend.scoring.scores import Scores

_MOST_CODES = 254
_NO_CHANGE = ("no change", "unchanged")


def score(
    inputs: ScoreInputs,
    legend: Legend | int | None = None,
    *,
    ignore: tuple[int, ...] = (),
    no_change: int | None = None,
    ring: int | None = None,
) -> Scores:
    """Score predictions in every convention.

    Args:
        inputs: the files or folders.
        legend: whose ids the rasters hold; or how many classes there are, 0 to K − 1; None: the codes that occur.
        ignore: codes that mean "no reference", or "no prediction"; nodata and 255 always do.
        no_change: code that stands for no change in rasters that have classes only where there is some; None: the
            legend's ignored class of that name, if it has one.
        ring: pixels, width of Boundary IoU's ring and tolerance of the BF score; 0 leaves both out; None: 2 % and
            0.75 % of each image's diagonal.

    Raises:
        ManifestError: no file has a partner, or not all of them are files or folders.
        GridError: rasters of one image differ in size or place.
        RasterError: a raster cannot be read, or has several bands.
        LegendError: a code that is no class.
    """
    if (inputs.before_prediction is None) != (inputs.before_reference is None):
        raise ManifestError("the earlier date needs both a prediction and a reference", fix="give both or neither")
    two = inputs.before_prediction is not None
    if not two and (inputs.change_prediction is not None or no_change is not None):
        raise ManifestError("change needs two dates", fix="give prediction and reference of the earlier date as well")
    if ring is not None and not 0 <= ring <= MOST_RING:
        raise ManifestError(f"a ring of {ring} pixels", fix=f"give 0 to {MOST_RING}")
    known, masked = legend_of(legend, no_change, two)
    table = {code: code for code in known.ids} | dict.fromkeys((*known.ignore, *ignore), NODATA)
    crosswalk = Crosswalk(known.name, known, table)
    every = Gathering(known, masked, inputs.change_prediction is not None)
    images, notes = paired(inputs.roles())
    for name, files in images.items():
        every.add(name, ScoredImage(files, crosswalk), ring)
    return every.scores((*notes, *every.notes), by_code=legend is None)


def legend_of(legend: Legend | int | None, no_change: int | None, two: bool) -> tuple[Legend, int | None]:
    """The classes that rasters may hold, and the index of no change among them."""
    if not isinstance(legend, Legend):
        size = _MOST_CODES if legend is None else legend
        if not 1 <= size <= _MOST_CODES:
            raise LegendError(f"{size} classes", fix=f"give 1 to {_MOST_CODES}")
        legend = Legend(
            f"codes 0 to {size - 1}", tuple(LegendClass(code, str(code), "#000000") for code in range(size))
        )
    else:
        ids = [one.id for one in legend.ignored if one.name in _NO_CHANGE]
        no_change = ids[0] if two and no_change is None and ids else no_change
    if no_change is not None and not 0 <= no_change < NODATA:
        raise LegendError(f"{no_change} as the code of no change", fix=f"give 0 to {NODATA - 1}")
    if no_change is not None and no_change not in legend.ids:
        extra = LegendClass(no_change, "no change", "#ffffff")
        ignored = tuple(one for one in legend.ignored if one.id != no_change)
        legend = Legend(legend.name, (*legend.classes, extra), ignored=ignored)
    return legend, None if no_change is None else legend.ids.index(no_change)
