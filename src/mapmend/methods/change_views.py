"""What methods of labelled and unlabelled pairs have in common: the views they look at, and how they are judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.change import change_dice
from mapmend.losses.consistency import balanced_thresholds
from mapmend.losses.robust import cross_entropy
from mapmend.losses.scaled_views import scaled_view
from mapmend.losses.strong_views import strong_view
from mapmend.methods.method import CLASSES, Batch, StepState
from mapmend.methods.pairs import pair_of
from mapmend.nn.network import Network, black_and_white
from mapmend.nn.pair_network import ChangeNetwork

Weight = Annotated[float, Field(ge=0)]
Scale = Annotated[float, Field(gt=0)]

LOADERS = ("labelled", "unlabelled")
SCALE = (0.5, 2.0)


@settings
class ViewSettings:
    """How methods look at unlabelled pairs; the same for all of them, so that they can be compared.

    What is published was made for tens of thousands of steps. In some hundred it taught that nothing changes: only what
    is unchanged is ever sure, and operations drawn for each date apart make changes that no label has.

    Attributes:
        scale: the least and largest factor by which a pair is enlarged; its margin counts nothing.
        cut: side in pixels of the grey square in a strong view; 0 for none.
        alike: whether both dates of a strong view go through the same photometric operations; ours, and false, each
            through its own, is published.
        threshold: τ, the probability from which a prediction teaches another view.
        balanced: whether a class that is harder to be sure of teaches from less than τ, so that of each class as large
            a share teaches; ours, and false is published.
        start: share of the steps during which unlabelled pairs are not looked at; ours, and 0 is published.
    """

    scale: tuple[Scale, Scale] = SCALE
    cut: Annotated[int, Field(ge=0)] = 16
    alike: bool = True
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.95
    balanced: bool = True
    start: Annotated[float, Field(ge=0, lt=1)] = 0.3

    def level(self, teacher: Tensor, seen: Tensor) -> float | Tensor:
        """From which probability the logits B×K×H×W of a view teach, in one number or by class; seen is B×H×W."""
        return balanced_thresholds(teacher, seen, self.threshold) if self.balanced else self.threshold


@dataclass(frozen=True)
class PairView:
    """A batch of pairs as a network takes it.

    Attributes:
        image: B×2×C×H×W.
        valid: B×2×1×H×W bool.
        change: B×H×W int64; 255 where nobody knows, or a date is invalid.
        mask: B×2×H×W int64; 255 likewise.
    """

    image: Tensor
    valid: Tensor
    change: Tensor
    mask: Tensor

    @property
    def seen(self) -> Tensor:
        """B×H×W bool: where both dates are valid."""
        return self.valid[:, :, 0].all(1)


def weak_view(batch: Batch, config: ViewSettings, state: StepState) -> PairView:
    """The batch at a random scale."""
    view = scaled_view(batch, state.generator, config.scale)
    image, valid = pair_of(view)
    seen = valid[:, :, 0]
    return PairView(image, valid, view["change"].masked_fill(~seen.all(1), 255), view["mask"].masked_fill(~seen, 255))


def strong_image(network: Network, view: PairView, config: ViewSettings, state: StepState) -> Tensor:
    """A view's image under photometric operations; black and white are 2.5 σ from the mean.

    Published for 8-bit images, whose range is known; here it follows from the bands' statistics.
    """
    low, high = black_and_white(network)
    return strong_view(view.image, view.valid, low, high, state.generator, cut=config.cut, alike=config.alike)


def labelled_loss(logits: Tensor, view: PairView, dice: float, bce: float = 1.0) -> Tensor:
    """What a labelled view teaches the logits B×2×H×W of unchanged and changed: cross-entropy and Dice, weighted.

    Published without Dice; where little changes, some hundred steps of cross-entropy find nothing.
    """
    loss = bce * cross_entropy(logits, view.change)
    return loss + dice * change_dice(logits[:, 1] - logits[:, 0], view.change) if dice else loss


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms norm by the batch, and remember nothing of it: the network is to map images, and no strong views."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def change_network(network: nn.Module) -> ChangeNetwork:
    """As its type has it."""
    return cast(ChangeNetwork, network)


def predict_change(network: nn.Module, image: Tensor, valid: Tensor) -> Tensor:
    """Logits B×2×H×W of a pair; image B×2×C×H×W, valid B×2×1×H×W."""
    logits: Tensor = network(image, valid)
    return logits


def judge_change(network: nn.Module, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Label and prediction of the change, the map that these methods make; as in `Method.judge`."""
    return {CLASSES: (batch["change"], predict_change(network, *pair_of(batch)).argmax(1))}


def total(losses: Mapping[str, Tensor], state: StepState) -> Tensor:
    """The losses' sum; each is noted."""
    for name, loss in losses.items():
        state.note(name, loss)
    return torch.stack(list(losses.values())).sum()
