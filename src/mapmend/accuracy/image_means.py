"""Means over images, beside the pooled metrics: an image counts as one, however many pixels it has."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics

CONVENTION = "computed per image over the classes present in its reference or its prediction, then averaged over images"
_METRICS = ("oa", "kappa", "miou", "mf1")


class ImageMeans:
    """Gathers the metrics of single images.

    Attributes:
        values: metric → what each image has, without those where it is undefined.
        images: how many have a reference.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {name: [] for name in _METRICS}
        self.images = 0

    def add(self, image: ConfusionMatrix) -> None:
        """Take in one whole image; one without any reference does not count."""
        found = map_metrics(image)
        self.images += found.pixels > 0
        for name in _METRICS:
            value = getattr(found, name)
            if value is not None:
                self.values[name].append(value)

    def __add__(self, other: Self) -> Self:
        """The images of both."""
        total = type(self)()
        total.images = self.images + other.images
        total.values = {name: [*self.values[name], *other.values[name]] for name in _METRICS}
        return total


@dataclass(frozen=True)
class ImageMetrics:
    """Means over images; None where no image has the figure.

    Attributes:
        images: how many have a reference.
        oa_image: overall accuracy.
        kappa_image: Cohen's kappa, over the images where it is defined.
        miou_image: each image's mean IoU over the classes present in either of its rasters.
        mf1_image: each image's mean F1 over the same classes.
    """

    images: int
    oa_image: float | None
    kappa_image: float | None
    miou_image: float | None
    mf1_image: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with the convention the figures follow."""
        return {"convention": CONVENTION, **asdict(self)}


def image_metrics(means: ImageMeans) -> ImageMetrics:
    """The means of all images gathered."""
    mean = {
        f"{name}_image": math.fsum(values) / len(values) if values else None for name, values in means.values.items()
    }
    return ImageMetrics(images=means.images, **mean)
