"""UniMatch on pairs: a weak view teaches two strong ones and a view whose features are dropped; V2's ways by switches.

Yang et al., "Revisiting weak-to-strong consistency in semi-supervised semantic segmentation" (CVPR 2023), in its public
code's form for change: L = ½(L_x + ¼L_s1 + ¼L_s2 + ½L_fp), τ = 0.95, means over the valid pixels, CutMix with one box
for both dates, half of the differences' channels dropped. UniMatch V2 (2024): no view of its own for dropped features;
of half of the pairs the two strong views keep complementary channels instead (`dropout: complementary`, L = ½(L_x +
½L_s1 + ½L_s2)), and a running average of the weights gives the pseudo-labels (`teacher_decay: 0.996`).

Ours: strong views are those of `fpa` and `c2f2` (the published ones jitter colours and blur), so that methods differ in
what they are about, and leave no trace in batch norms' statistics; what CutMix pastes comes from the same batch;
encoder and decoder are a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.consistency import pseudo_label_loss
from mapmend.losses.mixing import cut_mix, draw_boxes
from mapmend.methods.change_views import (
    LOADERS,
    PairView,
    ViewSettings,
    Weight,
    change_network,
    judge_change,
    labelled_loss,
    predict_change,
    statistics_kept,
    strong_image,
    total,
    weak_view,
)
from mapmend.methods.method import Batch, Method, StepState, register
from mapmend.methods.teacher import Teacher
from mapmend.nn.network import Features
from mapmend.nn.pair_network import DATES
from mapmend.nn.spec import CHANGE_ALONE

_DROPPED = 0.5


@settings
class UniMatchConfig(ViewSettings):
    """Settings of `unimatch`; the defaults are its first version's but for how views are made and chosen.

    Attributes:
        dropout: weak, a view of its own whose features are dropped; complementary, the strong views keep channels that
            the other drops (V2); or none.
        teacher_decay: of the running average of the weights that gives pseudo-labels (V2: 0.996); 0 for none.
        mix: whether strong views get a rectangle of another pair.
        dice: weight of the Dice loss of labelled pairs; ours, and 0 is published. For changes that are rare.
    """

    dropout: Literal["weak", "complementary", "none"] = "weak"
    teacher_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mix: bool = True
    dice: Weight = 0.0


@register("unimatch")
class UniMatch(Method):
    """Cross-entropy of labelled pairs; of unlabelled ones, pseudo-labels for two strong views and dropped features."""

    config_class = UniMatchConfig
    config: UniMatchConfig
    loaders = LOADERS
    dates = DATES
    published = ("resnet50", "deeplabv3plus")

    def __init__(self, network: nn.Module, config: UniMatchConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        self.teacher = Teacher(network, config.teacher_decay) if config.teacher_decay else None

    @classmethod
    def pair(cls, config: UniMatchConfig) -> str:
        """Change alone."""
        return CHANGE_ALONE

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """`labelled` and `unlabelled`, each with its half; the latter's parts are noted."""
        view = weak_view(batches["labelled"], self.config, state)
        yield "labelled", labelled_loss(self.network(view.image, view.valid), view, self.config.dice) / 2
        if state.progress < self.config.start:
            return

        view = weak_view(batches["unlabelled"], self.config, state)
        weak_logits, dropped_logits = self._weak(view)
        losses = {}
        if dropped_logits is not None:
            losses["dropped"] = self._taught(dropped_logits, weak_logits, view.seen) / 4
        share = 8 if self.config.dropout == "weak" else 4
        first, second = (self._mixed(view, weak_logits, state) for _ in range(2))
        with statistics_kept(self.network):
            strong_logits = self._strong(first[0], second[0])
        for name, logits, (_, teacher, seen) in zip(("first", "second"), strong_logits, (first, second), strict=True):
            losses[name] = self._taught(logits, teacher, seen) / share
        yield "unlabelled", total(losses, state)

    def after_step(self, state: StepState) -> None:
        """The teacher follows, where there is one."""
        if self.teacher is not None:
            self.teacher.update(self.network, state.step)

    def predict(self, image: Tensor, valid: Tensor) -> Tensor:
        """As in `Method`, of a pair: image B×2×C×H×W, valid B×2×1×H×W → logits B×2×H×W."""
        return predict_change(self.deployed(), image, valid)

    def judge(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """As in `Method`: the map is the change."""
        return judge_change(self.deployed(), batch)

    def _taught(self, logits: Tensor, teacher: Tensor, seen: Tensor) -> Tensor:
        return pseudo_label_loss(logits, teacher, seen, self.config.level(teacher, seen), among_valid=True)

    def _weak(self, view: PairView) -> tuple[Tensor, Tensor | None]:
        """Logits of the weak view that teach, and those of its dropped features, if they are taught."""
        network = change_network(self.network)
        logits = dropped = None
        if self.config.dropout == "weak":
            features = network.differences(view.image, view.valid)
            thinned = on_maps(features, lambda maps: F.dropout2d(maps, _DROPPED))
            both = network.decode(on_both(features, thinned))
            logits, dropped = network.at_image(network.head(both), view.image).chunk(2)
        if self.teacher is not None:
            with torch.no_grad():
                logits = self.teacher.network(view.image, view.valid)
        elif logits is None:
            with torch.no_grad():
                logits = network(view.image, view.valid)
        assert logits is not None
        return logits.detach(), dropped

    def _mixed(self, view: PairView, logits: Tensor, state: StepState) -> tuple[PairView, Tensor, Tensor]:
        """A strong view, and what teaches it and where, with the same rectangles of other pairs."""
        image = strong_image(change_network(self.network), view, self.config, state)
        if not self.config.mix:
            return replace(view, image=image), logits, view.seen
        boxes = draw_boxes(len(image), image.shape[-2], image.shape[-1], state.generator).to(image.device)
        mixed = replace(view, image=cut_mix(image, boxes), valid=cut_mix(view.valid, boxes))
        return mixed, cut_mix(logits, boxes), mixed.seen

    def _strong(self, first: PairView, second: PairView) -> tuple[Tensor, Tensor]:
        """Logits of both strong views, in one pass."""
        network = change_network(self.network)
        image, valid = (torch.cat([getattr(one, name) for one in (first, second)]) for name in ("image", "valid"))
        features = network.differences(image, valid)
        if self.config.dropout == "complementary":
            spared = torch.rand(len(first.image), device=image.device) < _DROPPED
            features = on_maps(features, lambda maps: complementary(maps, spared))
        one, other = network.at_image(network.head(network.decode(features)), image).chunk(2)
        return one, other


def on_maps(features: Features, change: Callable[[Tensor], Tensor]) -> Features:
    """Features with each map changed; a ViT's prefix tokens stay."""
    if isinstance(features, tuple):
        return [change(maps) for maps in features[0]], features[1]
    return [change(maps) for maps in features]


def on_both(features: Features, others: Features) -> Features:
    """Two batches of features as one."""
    if isinstance(features, tuple) and isinstance(others, tuple):
        prefixes = [None if one is None else torch.cat([one, one]) for one in features[1]]
        return [torch.cat(pair) for pair in zip(features[0], others[0], strict=True)], prefixes
    assert isinstance(features, list) and isinstance(others, list)
    return [torch.cat(pair) for pair in zip(features, others, strict=True)]


def complementary(maps: Tensor, spared: Tensor) -> Tensor:
    """Maps (2·B)×C×h×w of two views: each channel doubled in one and dropped in the other, unless the pair is spared.

    Args:
        maps: the first view's B, then the second's.
        spared: B bool.
    """
    mask = 2.0 * (torch.rand(len(spared), maps.shape[1], device=maps.device) < _DROPPED)
    mask = torch.cat([mask, 2 - mask]).where(~torch.cat([spared, spared])[:, None], 1.0)
    return maps * mask[:, :, None, None].to(maps.dtype)
