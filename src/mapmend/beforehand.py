"""What would stop a project after `prepare`, found before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mapmend.core.errors import LabelError, ProjectError
from mapmend.core.manifest import Row
from mapmend.data.label_checks import check_labels, known_ratio

if TYPE_CHECKING:
    from mapmend.project import Project


def check_beforehand(project: Project, rows: Sequence[Row], references: Sequence[Row]) -> None:
    """Look at every label that a project names.

    Raises:
        LabelError: a label covers nothing of its scene, all have one class, or one's pixel size has to be known.
        GridError, RasterError, VectorError, LegendError: a label does not fit, or cannot be read.
    """
    legends = project.legend, project.score_legend
    check_labels(rows, references, *legends, project.folder, trains="train" in project.steps)
    check_label_pixels(project, rows)


def check_label_pixels(project: Project, rows: Sequence[Row]) -> None:
    """Refuse labels of unknown pixel size where the method needs it.

    Raises:
        LabelError: nothing tells the size of a label's own pixels; or as the method itself says it.
    """
    labelled = [row for row in rows if row.label is not None and row.split != "test"]
    if "train" not in project.steps or not labelled:
        return
    settings = project.train_settings()
    try:
        settings.method.configured(settings.own, None)
    except ProjectError as fault:
        ratios = [known_ratio(row) for row in labelled]
        unknown = [row for row, ratio in zip(labelled, ratios, strict=True) if ratio is None]
        coarse = [row for row in unknown if row.trust == "coarse"]
        known = [ratio for ratio in ratios if ratio is not None]
        if coarse or not known:
            blamed = (coarse or unknown)[0]
            assert blamed.label is not None
            raise LabelError(f"site '{blamed.site}': {fault.what}", where=blamed.label, fix=fault.fix) from None
        settings.method.configured(settings.own, max(known))
