"""The metric referee: predictions against references in every published convention, streamed window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mapmend.core.classes import NODATA, Legend, LegendClass
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import LegendError, ManifestError
from mapmend.core.grouping import Grouping
from mapmend.core.places import Role, TrainedPlace
from mapmend.raster.trained import TrainedGround
from mapmend.scoring.gathering import MOST_RING, Gathering
from mapmend.scoring.images import Codes, ScoredImage, ScoreInputs, paired
from mapmend.scoring.scores import Scores, Seen

_MOST_CODES = 254
_NO_CHANGE = ("no change", "unchanged")


def score(
    inputs: ScoreInputs,
    legend: Legend | int | None = None,
    *,
    ignore: tuple[int, ...] = (),
    no_change: int | None = None,
    ring: int | None = None,
    prediction_codes: Crosswalk | None = None,
    reference_codes: Crosswalk | None = None,
    grouping: Grouping | None = None,
    trained: Sequence[TrainedPlace] | None = None,
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
        prediction_codes: what the codes of predictions mean in the legend, where they are not its ids.
        reference_codes: the same of references.
        grouping: of the images; each group has a confusion matrix of its own, and counts as one in the means.
        trained: places that the model was trained on; None where nobody knows. If an image is among them, the names of
            the map's figures end in `_transductive`.

    Raises:
        ProjectError: an image's name has no group.
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
    own = Crosswalk(known.name, known, {code: code for code in known.ids} | dict.fromkeys(known.ignore, NODATA))
    codes = Codes(*(_in_legend(one or own, known, ignore) for one in (reference_codes, prediction_codes)))
    every = Gathering(known, masked, inputs.change_prediction is not None, grouping)
    images, notes = paired(inputs.roles())
    if grouping is not None:
        for name in images:
            grouping.group(name, where="--group-by")  # before hours of counting
    roles: dict[str, Role | None] = {}
    ground = TrainedGround(trained) if trained is not None else None
    for name, files in images.items():
        image = ScoredImage(files, codes)
        every.add(name, image, ring)
        roles[name] = ground.role_of(name, image.grid) if ground is not None else None
    seen = None
    if ground is not None:
        trained_on, validated = ([name for name, role in roles.items() if role == one] for one in ("train", "val"))
        seen = Seen(tuple(trained_on), tuple(validated))
        notes = (*notes, *_told(seen, len(images)))
    return every.scores((*notes, *every.notes), by_code=legend is None, seen=seen)


def _in_legend(codes: Crosswalk, legend: Legend, ignore: tuple[int, ...]) -> Crosswalk:
    """The crosswalk to the legend that is scored in, which may have "no change" besides; some codes have no class.

    Raises:
        LegendError: it leads to another legend.
    """
    if codes.target.name != legend.name:
        raise LegendError(f"codes of '{codes.source}' lead to legend '{codes.target.name}', not '{legend.name}'")
    return replace(codes, target=legend, table={**codes.table, **dict.fromkeys(ignore, NODATA)}, mixture={})


def _told(seen: Seen, images: int) -> list[str]:
    """What the reader must know of images that the model has seen."""
    notes = []
    if seen.trained:
        notes.append(
            f"{len(seen.trained)} of {images} images are places that the model was trained on (such as "
            f"{seen.trained[0]}): the figures do not say how well it does elsewhere"
        )
    if seen.validated:
        notes.append(f"by {len(seen.validated)} of {images} images the model was chosen or calibrated")
    return notes


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
