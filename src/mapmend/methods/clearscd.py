"""ClearSCD: both dates' maps and the change between them, held together by contrast across dates and by correlation.

Tang et al., "The ClearSCD model: Comprehensively leveraging semantics and change relationships for semantic change
detection in high spatial resolution remote sensing imagery" (ISPRS J. 211, 2024). The paper states the parts (a shared
network with semantic heads, deep CVAPS, SACL, BSCC) and that change is found in probability space; numbers that it does
not give are its public code's: all weights, the queues' sizes, margin, temperature.

Ours: pretrained weights are really loaded (the code's switch for it does nothing); batches of one class, one pair or
one labelled date need no special case, and without a label a term is 0; pixels that are invalid or whose change nobody
knows are left out of BSCC; the memory's never-filled slots are masked; epochs are a share of the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.bscc import semantic_correlation
from mapmend.losses.change import change_cross_entropy, change_dice
from mapmend.losses.robust import cross_entropy
from mapmend.losses.sacl import Memory, local_contrast
from mapmend.losses.scaled_views import turned_view
from mapmend.methods.method import CHANGE, CHANGE_NAMES, CLASSES, Batch, Method, StepState, register
from mapmend.methods.pairs import CRITERION, judge_pair, pair_of
from mapmend.nn.pair_network import DATES, PairNetwork, PairParts, of_dates
from mapmend.nn.projection import ProjectionHead

Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


@settings
class ClearSCDConfig:
    """Settings of `clearscd`; the defaults are the published ones.

    Attributes:
        cvaps_space: what the change is made of: the classes' probabilities (the paper) or logits (its code).
        semantic: weight of both dates' cross-entropies.
        bce: weight of the change's cross-entropy.
        dice: weight of the change's Dice loss.
        local: weight of the contrast within a batch; 0 leaves it out.
        memory: weight of the contrast with the keys of past batches; 0 leaves it out.
        bscc: weight of the correlation of both dates' features; 0 leaves it out.
        samples: pixels of a date and class drawn for the contrast within a batch.
        temperature: τ of that contrast.
        queue: keys that the memory holds of a date and class.
        fresh: keys that a step adds to it; a class with fewer pixels adds none.
        fill: share of the steps, at the start, in which the memory is only filled; published, the first of 100 epochs.
        margin: by which BSCC wants features of changed places to differ, per channel.
        bscc_detach: keep BSCC from teaching the change itself.
        rotation: largest angle in degrees, either way, by which half of the pairs are turned; published with blank
            corners, here continued by the mirror image.
        bscc_unlabelled: whether pixels whose change nobody knows are counted in BSCC, as in the public code.
    """

    cvaps_space: Literal["probability", "logit"] = "probability"
    semantic: Weight = 1.0
    bce: Weight = 1.0
    dice: Weight = 1.0
    local: Weight = 0.1
    memory: Weight = 1.0
    bscc: Weight = 0.1
    samples: Count = 1024
    temperature: Annotated[float, Field(gt=0)] = 0.1
    queue: Count = 512
    fresh: Count = 64
    fill: Share = 0.01
    margin: Weight = 2.0
    rotation: Annotated[float, Field(ge=0, le=45)] = 30.0
    bscc_detach: bool = False
    bscc_unlabelled: Literal["left_out", "counted"] = "left_out"


@register("clearscd")
class ClearSCD(Method):
    """The plain sum of cross-entropies, change losses, contrast within the batch and with a memory, and BSCC."""

    config_class = ClearSCDConfig
    config: ClearSCDConfig
    dates = DATES
    published = ("tf_efficientnet_b0", "fpn")
    needs_classes = False
    criterion = CRITERION

    def __init__(self, network: nn.Module, config: ClearSCDConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        self.classes = len(counts)
        width = self._network.width
        self.projection = ProjectionHead(width) if config.local or config.memory else None
        queue = max(config.queue, config.fresh)
        self.memory = Memory(DATES, self.classes, queue, width, config.fresh) if config.memory else None

    @classmethod
    def pair(cls, config: ClearSCDConfig) -> str:
        """Deep CVAPS, of the space that the settings name."""
        return f"cvaps_{config.cvaps_space}"

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """One loss, `loss`, whose parts are noted; then the memory takes keys in."""
        batch = turned_view(batches["labelled"], state.generator, self.config.rotation)
        image, valid = pair_of(batch)
        mask, change = batch["mask"], batch["change"]
        parts = self._network.parts(image, valid)
        output = self._network.enlarge(parts, image)
        logits = cast(Tensor, output.classes)
        near_mask, near_change = (self._network.at_features(label, parts) for label in (mask, change))
        losses = {
            "semantic": sum_of(map(cross_entropy, logits.unbind(1), mask.unbind(1))),
            "bce": change_cross_entropy(output.change, change),
            "dice": change_dice(output.change, change),
            **self._contrasts(parts, near_mask, state),
        }
        if self.config.bscc:
            losses["bscc"] = self._correlation(parts, near_change, self._network.at_features(~valid[:, :, 0], parts))
        for name, loss in losses.items():
            state.note(name, loss)
        yield "loss", sum_of(getattr(self.config, name) * loss for name, loss in losses.items())
        if self.memory is not None:
            self.memory.enqueue(parts.features.detach(), near_mask, state.generator)

    def judged(self, classes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """As in `Method`: the classes of both dates, and change."""
        return {CLASSES: classes, CHANGE: CHANGE_NAMES}

    def judge(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """As in `Method`."""
        return judge_pair(self._network, batch)

    @property
    def _network(self) -> PairNetwork:
        return cast(PairNetwork, self.network)

    def _contrasts(self, parts: PairParts, mask: Tensor, state: StepState) -> dict[str, Tensor]:
        """SACL, within the batch and with the memory."""
        if self.projection is None:
            return {}
        config, losses = self.config, {}
        queries = of_dates(self.projection.hidden(parts.features.flatten(0, 1)))
        with torch.autocast(mask.device.type, enabled=False):
            if config.local:
                losses["local"] = local_contrast(
                    queries,
                    parts.features,
                    mask,
                    self.classes,
                    state.generator,
                    project=self.projection.out,
                    most=config.samples,
                    temperature=config.temperature,
                )
            if self.memory is not None and state.progress >= config.fill:
                probability = parts.classes.detach().float().softmax(2)
                losses["memory"] = self.memory.contrast(queries, probability, mask, project=self.projection.out)
        return losses

    def _correlation(self, parts: PairParts, change: Tensor, invalid: Tensor) -> Tensor:
        """BSCC, where both dates can be seen and, unless they are counted too, somebody knows the change."""
        counted = ~invalid.any(1) if self.config.bscc_unlabelled == "counted" else change != 255
        logit = parts.change.detach() if self.config.bscc_detach else parts.change
        first, second = parts.features.unbind(1)
        with torch.autocast(change.device.type, enabled=False):
            return semantic_correlation(first, second, logit, margin=self.config.margin, counted=counted)


def sum_of(losses: Iterable[Tensor]) -> Tensor:
    """Their sum, as a scalar."""
    return torch.stack(list(losses)).sum()
