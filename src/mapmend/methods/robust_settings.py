"""How far labels are believed, as a user says it: settings that any method's may be built on."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from mapmend.core.errors import ProjectError
from mapmend.core.grid import COARSER
from mapmend.core.settings import settings

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Matrix = tuple[tuple[Share, ...], ...]
Robust = Literal["none", "sce", "gce", "bootstrap_soft", "bootstrap_hard", "elr", "forward", "mixture", "posterior"]
C = TypeVar("C", bound="RobustSettings")

CROSSWALK = "crosswalk"  # what `transition` says for the one that the mixtures of classes imply


@settings
class TrustWeights:
    """What a pixel counts in the losses, by the trust of its label in the manifest; 0 leaves it out.

    Attributes:
        reference: weight of labels that are known to be right.
        noisy: weight of labels with errors.
        coarse: weight of labels of larger pixels.
        outdated: weight of labels of an earlier date.
        pseudo: weight of labels that a model made.
    """

    reference: Weight = 1.0
    noisy: Weight = 1.0
    coarse: Weight = 1.0
    outdated: Weight = 1.0
    pseudo: Weight = 1.0


@settings
class RobustSettings:
    """How far labels are believed; by default, at their word.

    Attributes:
        robust: the loss of a pixel: none (cross-entropy), sce (symmetric), gce (generalised), bootstrap_soft,
            bootstrap_hard, elr (early-learning regularisation towards the teacher), forward (corrected by how the
            label's product errs, see `error_matrix`), mixture (cross-entropy against the mixture of classes that
            the label's crosswalk tells of each code), or posterior (what the label is after the image has been looked
            at: it is a belief, see `doubt`).
        sce_alpha: share of cross-entropy in sce.
        sce_beta: share of reverse cross-entropy, in which −4 stands for the logarithm of 0.
        published_variant: sce as the code released with its use on land cover computes it, which is sce_alpha +
            sce_beta times cross-entropy; to reproduce figures (1 and 2 there).
        gce_q: 0 to 1, from cross-entropy to mean absolute error.
        bootstrap: share of the label in bootstrapping; .95 (soft) or .8 (hard) where none is given.
        elr: λ of elr.
        doubt: share of a pixel's belief that posterior does not give to its label but to all classes as they are
            frequent; where the label's crosswalk has a mixture of classes for its code, that is the belief.
        blur: standard deviation, in pixels of the image, of how far off a pixel's label may lie, by which posterior
            blurs its beliefs; None: that of a place within the label's own pixel, side / √12, where labels are coarse,
            and 0 where they are not.
        anchor: weight of the cross-entropy against the beliefs themselves beside posterior: a map that is sure of one
            class everywhere contradicts no likelihood, and would learn nothing more.
        error_matrix: CSV of the product's published error matrix, rows = map, columns = reference, with the sizes of
            the map's classes in a last column `area` if they were strata; for forward.
        transition: in its place P(label | truth) itself, rows = truth: a CSV, rows in the legend's order, or crosswalk
            for what the mixtures of classes of the label's crosswalk imply.
        correction: objects: once training accuracy rises no slower any more, the teacher corrects whole objects of
            labels whose trust is not reference.
        correction_sure: mean probability over an object from which the teacher is believed.
        teacher_decay: of the running average that teaches elr and correction.
        proportions: weight of the class proportions of the label's own pixels.
        proportions_distance: kl or squared.
        label_pixel: side of the label's own pixels in pixels of the image; None is what the data say.
        trust: what labels of each kind of trust count.
        confidence_weight: whether a pixel counts as much as its label is sure, where the manifest has a
            `label_confidence`.
    """

    robust: Robust = "none"
    sce_alpha: Weight = 0.1
    sce_beta: Weight = 1.0
    published_variant: bool = False
    gce_q: Annotated[float, Field(gt=0, le=1)] = 0.7
    bootstrap: Share | None = None
    elr: Weight = 3.0
    doubt: Annotated[float, Field(ge=0, lt=1)] = 0.2
    blur: Weight | None = None
    anchor: Weight = 0.1
    error_matrix: str = ""
    transition: str | Matrix = ""
    correction: Literal["none", "objects"] = "none"
    correction_sure: Annotated[float, Field(gt=0, le=1)] = 0.8
    teacher_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    proportions: Weight = 0.0
    proportions_distance: Literal["kl", "squared"] = "kl"
    label_pixel: Annotated[float, Field(gt=1)] | None = None
    trust: TrustWeights = TrustWeights()
    confidence_weight: bool = False


def with_label_pixel(config: C, label_ratio: float | None) -> C:
    """Settings with the side of the label's own pixels filled in, where a loss needs it, and with what follows from it.

    Args:
        config: of a method.
        label_ratio: the label's pixel in pixels of the image; None if unknown.

    Raises:
        ProjectError: nobody knows it, or the label is as fine as the image.
    """
    if config.blur is None:
        side = config.label_pixel or label_ratio or 1.0
        config = replace(config, blur=side / 12**0.5 if side > COARSER else 0.0)
    if not config.proportions or config.label_pixel is not None:
        return config
    if label_ratio is None:
        raise unknown_label_pixel()
    if label_ratio <= 1:
        raise ProjectError("`proportions` of labels that are as fine as the image", fix="leave `proportions` out")
    return replace(config, label_pixel=label_ratio)


def sees_label_pixels(config: RobustSettings) -> bool:
    """Whether batches shall tell of the label's own pixels, or of what its product holds in each."""
    told = config.robust in ("mixture", "posterior") or config.transition == CROSSWALK
    return bool(config.proportions) or told


def unknown_label_pixel() -> ProjectError:
    """The fault of a label whose own pixel size nobody gives."""
    return ProjectError(
        "`proportions` needs the pixel size of the labels, which is not known",
        fix="give the manifest a `label_gsd`, or the step a `label_pixel`, in pixels of the image",
    )
