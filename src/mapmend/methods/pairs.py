"""What methods of two dates have in common: a batch's image as networks take it, and how they are judged."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mapmend.methods.method import CHANGE, CLASSES, Batch
from mapmend.nn.pair_network import PairNetwork

CRITERION = "mean of the classes' mIoU and the IoU of change"
"""Of classes and change, the paper's IoU_change + mIoU: what is not labelled is left out."""


def pair_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Image B×2×C×H×W, and valid B×2×1×H×W: a pixel is where all its modalities are."""
    return batch["image"], batch["valid"].all(2, keepdim=True)


def judge_pair(network: PairNetwork, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Label and prediction of both dates' classes, and of change, as in `Method.judge`."""
    output = network.pair(*pair_of(batch))
    assert output.classes is not None
    return {CLASSES: (batch["mask"], output.classes.argmax(2)), CHANGE: (batch["change"], (output.change > 0).long())}
