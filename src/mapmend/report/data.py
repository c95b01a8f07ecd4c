"""What a report shows: numbers, words and small pictures, gathered before a page is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.core.legend import Legend
from mapmend.report.change_data import ChangePanel, ChangeReport, Classes
from mapmend.report.estimated import EstimatedAreas
from mapmend.report.reliability import Reliability


@dataclass(frozen=True, eq=False)
class SitePanel:
    """One place, all layers on one grid of H×W pixels (a reduced reading is enough: a page shows some 700 pixels).

    Attributes:
        name: the site.
        valid: H×W bool, False where the image must not be used.
        image: H×W×3 uint8, see `stretch`.
        label: H×W legend ids, 255 where there is none; so are `map` and `reference`.
        map: the new map.
        confidence: H×W uint8, 200·p, 255 where there is none.
        reference: what the map is scored against.
        date: the image's date.
        pixel_size: ground width of a pixel of these arrays in metres, where it is known.
        note: what a reader should know of the site, such as the split it belongs to.
        pixel_height: ground height of a pixel in metres, where it is not its width (degrees, anisotropic grids).
        change: the earlier date, where the site was mapped at two; all else is of the later one.
        sensor: the name of the image's sensor, where the site has several.
        others: name and H×W×3 uint8 picture of up to two further sensors' images.
    """

    name: str
    valid: npt.NDArray[np.bool_]
    image: npt.NDArray[np.uint8] | None = None
    label: Classes | None = None
    map: Classes | None = None
    confidence: Classes | None = None
    reference: Classes | None = None
    date: str = ""
    pixel_size: float | None = None
    note: str = ""
    pixel_height: float | None = None
    change: ChangePanel | None = None
    sensor: str = ""
    others: tuple[tuple[str, npt.NDArray[np.uint8]], ...] = ()

    @property
    def aspect(self) -> float:
        """Width of the place on the ground over its height."""
        height, width = (float(length) for length in self.valid.shape)
        if self.pixel_size is None or self.pixel_height is None:
            return width / height
        return width * self.pixel_size / (height * self.pixel_height)

    def __post_init__(self) -> None:
        for name in ("label", "map", "confidence", "reference"):
            layer = getattr(self, name)
            if layer is not None and (layer.shape != self.valid.shape or layer.dtype != np.uint8):
                raise ValueError(f"{name} is {layer.dtype} {layer.shape}, not uint8 {self.valid.shape}")
        for image in (self.image, *(other for _, other in self.others)):
            if image is not None and (image.shape != (*self.valid.shape, 3) or image.dtype != np.uint8):
                raise ValueError(f"image is {image.dtype} {image.shape}, not uint8 {(*self.valid.shape, 3)}")
        if self.change is not None and self.change.valid.shape != self.valid.shape:
            raise ValueError(f"the earlier date is {self.change.valid.shape}, the later one {self.valid.shape}")


@dataclass(frozen=True)
class CurvePoint:
    """One entry of the training log; what was not measured at this step is left out."""

    step: int
    losses: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    lr: float | None = None


@dataclass(frozen=True)
class ClassAreas:
    """Areas counted per class, in the legend's order and in `unit` ('ha' or 'px')."""

    unit: str
    map: tuple[float, ...]
    label: tuple[float, ...] | None = None
    reference: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Accuracy:
    """Counts against a reference; all metrics on the page are computed from them, so they cannot contradict each other.

    Attributes:
        map: the new map's confusion with the reference.
        label: the label's confusion with the same reference pixels.
        reference: what the reference is and where it was used, in words.
        transductive: whether the model was trained on one of the places; None where nobody knows.
        groups: the map's confusion by group of sites, such as states; empty where none were asked for.
        kind: of the groups.
    """

    map: ConfusionMatrix
    label: ConfusionMatrix | None = None
    reference: str = ""
    transductive: bool | None = None
    groups: Mapping[str, ConfusionMatrix] = field(default_factory=dict)
    kind: str = ""


@dataclass(frozen=True)
class StepTime:
    """How long a step of the run took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class ReportData:
    """One report; every part but title and legend may be missing.

    Attributes:
        title: the project.
        legend: the classes of all maps, areas and counts.
        subtitle: one line below the title.
        created: date or time, as it shall be printed.
        sites: places in the order in which they are shown; the page shows the first few.
        curves: the training log, by step.
        best_step: the step whose weights became the model.
        areas: area of each class; of two dates, at the later one.
        areas_before: area of each class at the earlier date.
        accuracy: counts against a reference; of two dates, at the later one.
        accuracy_before: counts against a reference at the earlier date.
        change: what changed between two dates.
        reliability: how far the model's confidence can be believed.
        estimated: areas and accuracies estimated from a reference sample.
        times: duration of each step.
        notes: what the reader should know.
        warnings: what the reader must know.
        provenance: nested plain values.
    """

    title: str
    legend: Legend
    subtitle: str = ""
    created: str = ""
    sites: tuple[SitePanel, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    best_step: int | None = None
    areas: ClassAreas | None = None
    accuracy: Accuracy | None = None
    times: tuple[StepTime, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, object] = field(default_factory=dict)
    areas_before: ClassAreas | None = None
    accuracy_before: Accuracy | None = None
    change: ChangeReport | None = None
    reliability: Reliability | None = None
    estimated: EstimatedAreas | None = None

    def __post_init__(self) -> None:
        for areas in (self.areas, self.areas_before):
            for name in ("map", "label", "reference") if areas is not None else ():
                values = getattr(areas, name)
                if values is not None and len(values) != len(self.legend):
                    raise ValueError(f"{len(values)} areas ({name}) for {len(self.legend)} classes")
        for accuracy in (self.accuracy, self.accuracy_before):
            for matrix in (accuracy.map, accuracy.label) if accuracy is not None else ():
                if matrix is not None and matrix.names != self.legend.names:
                    raise ValueError("a confusion matrix of other classes than the legend's")
        if self.change is not None:
            if {len(row) for row in (self.change.areas, *self.change.areas)} != {len(self.legend)}:
                raise ValueError(f"areas from class to class that are not {len(self.legend)}×{len(self.legend)}")
            if self.change.accuracy is not None and self.change.accuracy.names != self.legend.names:
                raise ValueError("an accuracy of change of other classes than the legend's")
