"""FPA: unlabelled pairs teach by what their weak view says for certain, and features of one class are aligned.

Zhang et al., IEEE TGRS 2023; it is C²F² without another task's model, and its ablation here. Published: a ResNet-50
with deep stem and PSP of the features' difference (`preset: published`), SGD with momentum at 1e-3 in the encoder and
1e-2 elsewhere, 80 passes over the unlabelled pairs, batches of 8 and 8. Ours: the encoder is a choice, the loop's AdamW
takes SGD's place, labelled batches are drawn anew in every step (the public code repeats the same augmented ones), the
strong view's black and white follow from the bands' statistics, features are aligned about their mean (`centred`), and
what `ViewSettings` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mapmend.core.settings import settings
from mapmend.losses.consistency import class_alignment, pseudo_label_loss
from mapmend.methods.change_views import (
    LOADERS,
    ViewSettings,
    Weight,
    change_network,
    judge_change,
    labelled_loss,
    predict_change,
    strong_image,
    total,
    weak_view,
)
from mapmend.methods.method import Batch, Method, StepState, register
from mapmend.nn.pair_network import DATES
from mapmend.nn.spec import CHANGE_ALONE


@settings
class FPAConfig(ViewSettings):
    """Settings of `fpa`; the defaults are the published ones but for how views are made and chosen.

    Attributes:
        weak_teaches: weight of what the weak view teaches the strong one.
        alignment: weight of the class-aware feature alignment.
        centred: whether features are aligned as they lie about their mean; ours, and false is published. Features of
            few channels are best aligned, as published, when all point the same way, whatever their class.
        dice: weight of the Dice loss of labelled pairs; ours, and 0 is published. For changes that are rare.
    """

    weak_teaches: Weight = 1.0
    alignment: Weight = 1.0
    centred: bool = True
    dice: Weight = 0.0


@register("fpa")
class FPA(Method):
    """Cross-entropy of labelled pairs; of unlabelled ones, pseudo-labels of the weak view and feature alignment."""

    config_class = FPAConfig
    config: FPAConfig
    loaders = LOADERS
    dates = DATES
    published = ("resnet50s", "psp")

    @classmethod
    def pair(cls, config: FPAConfig) -> str:
        """Change alone."""
        return CHANGE_ALONE

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """`labelled` and `unlabelled`, which share no graph; the latter's parts are noted."""
        network, config = change_network(self.network), self.config
        view = weak_view(batches["labelled"], config, state)
        yield "labelled", labelled_loss(network(view.image, view.valid), view, config.dice)
        if state.progress < config.start:
            return

        view = weak_view(batches["unlabelled"], config, state)
        strong = strong_image(network, view, config, state)
        # one pass for both views: batch norms see them together
        features = network.joined(torch.cat([view.image.float(), strong]), torch.cat([view.valid, view.valid]))
        weak_logits, strong_logits = network.at_image(network.head(features), view.image).chunk(2)
        level = config.level(weak_logits, view.seen)
        losses = {
            "weak_teaches": config.weak_teaches * pseudo_label_loss(strong_logits, weak_logits, view.seen, level),
            "alignment": config.alignment
            * class_alignment(features.chunk(2)[1], weak_logits, view.seen, level, centred=config.centred),
        }
        yield "unlabelled", total(losses, state)

    def predict(self, image: Tensor, valid: Tensor) -> Tensor:
        """As in `Method`, of a pair: image B×2×C×H×W, valid B×2×1×H×W → logits B×2×H×W."""
        return predict_change(self.deployed(), image, valid)

    def judge(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """As in `Method`: the map is the change."""
        return judge_change(self.deployed(), batch)
