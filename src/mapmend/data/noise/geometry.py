"""Objects in the wrong place or of the wrong shape: shifted, eroded, dilated, rotated."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from mapmend.core.legend import NODATA
from mapmend.core.settings import settings
from mapmend.data.noise.injecting import Truth, injector
from mapmend.data.noise.objects import Places, nearest_of, objects_by_class, repaint, smaller_classes

Pixels = Annotated[int, Field(ge=0)]
Index = Annotated[int, Field(ge=0, le=254)]


@injector("shift")
@settings
class Shift:
    """The label lies beside the image.

    Attributes:
        least: shortest shift in pixels.
        most: longest one; length and direction are drawn.
        of: all of the label as one, or each of its objects by itself.
        classes: whose objects move; all but the commonest class where none is named.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    least: Pixels = 1
    most: Pixels = 3
    of: Literal["all", "objects"] = "all"
    classes: tuple[Index, ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """The label, moved; what enters from outside is what lies at the edge."""
        label = truth.label
        if self.of == "objects":
            classes = smaller_classes(label, self.classes)
            moved = []
            for index, (rows, cols) in objects_by_class(label, classes):
                down, right = self._draw(rng)
                moved.append((index, (rows + down, cols + right)))
            return repaint(label, classes, moved), None
        down, right = self._draw(rng)
        height, width = label.shape
        rows, cols = np.clip(np.arange(height) - down, 0, height - 1), np.clip(np.arange(width) - right, 0, width - 1)
        moved_label = label[rows][:, cols]
        return np.where(moved_label == NODATA, label, moved_label), None

    def _draw(self, rng: np.random.Generator) -> tuple[int, int]:
        length, angle = rng.uniform(self.least, max(self.most, self.least)), rng.uniform(0, 2 * np.pi)
        down, right = round(length * np.sin(angle)), round(length * np.cos(angle))
        if self.least and not (down or right):  # rounded away
            return 0, self.least
        return down, right


@injector("erosion")
@settings
class Erosion:
    """Objects are drawn too small.

    Attributes:
        least: fewest pixels that an object loses on each side.
        most: most of them; drawn once a label.
        classes: that shrink; all but the commonest where none is named.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    least: Pixels = 5
    most: Pixels = 14
    classes: tuple[Index, ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """What is lost goes to the nearest other class; the label's own edge erodes nothing."""
        label = truth.label
        reach = int(rng.integers(self.least, max(self.most, self.least) + 1))
        out = label.copy()
        for index in smaller_classes(label, self.classes):
            others = (label != index) & (label != NODATA)
            if others.any():
                ring = (label == index) & (ndimage.distance_transform_edt(~others) <= reach)
                out[ring] = nearest_of(label, others)[ring]
        return out, None


@injector("dilation")
@settings
class Dilation:
    """Objects are drawn too large.

    Attributes:
        least: fewest pixels that an object gains on each side.
        most: most of them; drawn once a label.
        classes: that grow; all but the commonest where none is named.
    """

    measures: ClassVar[Literal["gained"]] = "gained"
    least: Pixels = 5
    most: Pixels = 15
    classes: tuple[Index, ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """Where several grow towards a place, the nearest gets it; none takes from another that grows."""
        label = truth.label
        reach = int(rng.integers(self.least, max(self.most, self.least) + 1))
        growing = np.isin(label, smaller_classes(label, self.classes))
        if not growing.any():
            return label, None
        reached = ndimage.distance_transform_edt(~growing) <= reach
        return np.where(reached & (label != NODATA), nearest_of(label, growing), label), None


@injector("rotation")
@settings
class Rotation:
    """Objects are turned about their middles.

    Attributes:
        most: degrees, the largest turn to either side.
        classes: whose objects turn; all but the commonest where none is named.
    """

    measures: ClassVar[Literal["lost"]] = "lost"
    most: Annotated[float, Field(gt=0, le=180)] = 30.0
    classes: tuple[Index, ...] = ()

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, None]:
        """Each object by an angle of its own."""
        label = truth.label
        classes = smaller_classes(label, self.classes)
        turned = []
        for index, places in objects_by_class(label, classes):
            turned.append((index, _turned(places, np.deg2rad(rng.uniform(-self.most, self.most)))))
        return repaint(label, classes, turned), None


def _turned(places: Places, angle: float) -> Places:
    """An object's pixels after a turn, without holes: every place that comes from inside of it."""
    rows, cols = places
    middle = rows.mean(), cols.mean()
    reach = int(np.ceil(np.hypot(rows - middle[0], cols - middle[1]).max())) + 1
    top, left = int(middle[0]) - reach, int(middle[1]) - reach
    side = 2 * reach + 2
    inside = np.zeros((side, side), bool)
    inside[rows - top, cols - left] = True
    down, right = np.indices((side, side)) + np.array([top - middle[0], left - middle[1]])[:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    from_row = np.rint(cos * down + sin * right + middle[0]).astype(int) - top
    from_col = np.rint(cos * right - sin * down + middle[1]).astype(int) - left
    within = (from_row >= 0) & (from_row < side) & (from_col >= 0) & (from_col < side)
    within[within] = inside[from_row[within], from_col[within]]
    new_rows, new_cols = np.nonzero(within)
    return new_rows + top, new_cols + left
