"""Semi-supervised semantic change: ClearSCD, to which unlabelled pairs say what their weak view shows for certain.

Ours: ClearSCD (`clearscd`) learns from the labelled pairs, and the machinery of views of C²F² (`fpa`, `c2f2`) is put on
all of its heads. Of an unlabelled pair, the classes of either date and the change that the weak view calls certain are
what the strong view is taught.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.consistency import pseudo_label_loss
from mapmend.methods.change_views import (
    LOADERS,
    Scale,
    ViewSettings,
    Weight,
    statistics_kept,
    strong_image,
    total,
    weak_view,
)
from mapmend.methods.clearscd import ClearSCD, ClearSCDConfig
from mapmend.methods.method import Batch, StepState, register
from mapmend.methods.teacher import Teacher
from mapmend.nn.pair_network import DATES, PairNetwork


@settings
class SemiClearSCDConfig(ClearSCDConfig, ViewSettings):
    """Settings of `clearscd_semi`: those of `clearscd` for labelled pairs, and of the views of unlabelled ones.

    Attributes:
        classes_taught: weight of the classes that weak views teach strong ones.
        change_taught: weight of the change that they teach.
        teacher_decay: of the running average of the weights that looks at weak views; 0 for the network itself.
        scale: as in `ViewSettings`; unlabelled pairs are not enlarged, since labelled ones are not: what a network says
            of sizes that it was not taught is often wrong.
    """

    classes_taught: Weight = 1.0
    change_taught: Weight = 1.0
    teacher_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    scale: tuple[Scale, Scale] = (1.0, 1.0)


@register("clearscd_semi")
class SemiClearSCD(ClearSCD):
    """ClearSCD on labelled pairs; on unlabelled ones, pseudo-labels of both dates' classes and of the change."""

    config_class = SemiClearSCDConfig
    config: SemiClearSCDConfig
    loaders = LOADERS

    def __init__(self, network: nn.Module, config: SemiClearSCDConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        self.teacher = Teacher(network, config.teacher_decay) if config.teacher_decay else None

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """`loss` of the labelled pairs as in `clearscd`, then `unlabelled`, which shares no graph with it."""
        yield from super().training_step(batches, state)
        if state.progress < self.config.start:
            return
        view = weak_view(batches["unlabelled"], self.config, state)
        with torch.no_grad():
            looks = self._network if self.teacher is None else cast(PairNetwork, self.teacher.network)
            weak = looks.pair(view.image, view.valid)
        with statistics_kept(self._network):
            strong = self._network.pair(strong_image(self._network, view, self.config, state), view.valid)
        level, (told, learned) = self.config.level, (cast(Tensor, one.classes) for one in (weak, strong))
        seen = [view.valid[:, date, 0] for date in range(DATES)]
        each = (
            pseudo_label_loss(learned[:, date], told[:, date], seen[date], level(told[:, date], seen[date]))
            for date in range(DATES)
        )
        weak_change = _two(weak.change)
        losses = {
            "classes_taught": self.config.classes_taught * torch.stack(list(each)).mean(),
            "change_taught": self.config.change_taught
            * pseudo_label_loss(_two(strong.change), weak_change, view.seen, level(weak_change, view.seen)),
        }
        yield "unlabelled", total(losses, state)

    def after_step(self, state: StepState) -> None:
        """The teacher follows, where there is one."""
        if self.teacher is not None:
            self.teacher.update(self.network, state.step)


def _two(logit: Tensor) -> Tensor:
    """Logits B×2×H×W of unchanged and changed."""
    return torch.stack([torch.zeros_like(logit), logit], 1)
