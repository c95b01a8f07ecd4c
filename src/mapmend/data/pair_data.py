"""What a method of two dates is trained and validated on, gathered from prepared sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from mapmend.core.errors import LabelError
from mapmend.data.pairs import PairTrainingSet, PairValidationSet, UnlabelledPairs, pair_parts, pair_sites
from mapmend.data.sites import CHANGE, Prepared, PreparedSite
from mapmend.data.splits import SitePart, split_sites

LABELLED, UNLABELLED = "labelled", "unlabelled"


@dataclass(frozen=True)
class PairData:
    """Samples of pairs.

    Attributes:
        sites: whose images are trained on or validate, both dates of each.
        parts: of the labelled ones.
        training: data sets by loader.
        validation: windows that validate; may be empty.
        counts: trainable labelled pixels per class of the legend.
    """

    sites: tuple[PreparedSite, ...]
    parts: tuple[SitePart, ...]
    training: Mapping[str, Dataset[Any]]
    validation: PairValidationSet
    counts: tuple[int, ...]


def pair_data(
    prepared: Prepared, crop: int, share: float, seed: int, *, unlabelled: bool, change_alone: bool
) -> PairData:
    """Gather the pairs of prepared sites.

    Args:
        prepared: all sites.
        crop: side of a window.
        share: of the labels that validates, as in `split_sites`.
        seed: of all draws.
        unlabelled: whether the method learns from unlabelled pairs too.
        change_alone: whether it learns no classes.

    Raises:
        LabelError: no pair is labelled, or, where they are needed, none is unlabelled; or the legend is not of change.
    """
    legend = prepared.legend
    if change_alone and legend.names != CHANGE.names:
        raise LabelError(
            f"the method learns change alone, and the project's legend is '{legend.name}'", fix="use `legend: change`"
        )
    sites = pair_sites(prepared, labelled=True)
    parts = split_sites(sites, block=crop, share=share, seed=seed)
    pairs = pair_parts(parts)
    labelled = PairTrainingSet(pairs, legend, crop, seed)
    training: dict[str, Dataset[Any]] = {LABELLED: labelled}
    if unlabelled:
        others = pair_sites(prepared, labelled=False)
        training[UNLABELLED] = UnlabelledPairs(others, legend, crop, seed)
        sites = (*sites, *others)
    counts = labelled.change_counts if change_alone else labelled.counts
    return PairData(
        sites,
        parts,
        training,
        PairValidationSet(pairs, legend, crop),
        tuple(int(count) for count in counts),
    )
