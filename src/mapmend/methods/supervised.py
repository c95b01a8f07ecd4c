"""Supervised learning: by default the label is taken at its word, or as far as it is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.errors import ProjectError
from mapmend.core.settings import settings
from mapmend.losses.overlap import dice_loss, lovasz_softmax
from mapmend.methods.auxiliary import Auxiliary
from mapmend.methods.method import Batch, Method, StepState, dates_as_samples, register
from mapmend.methods.robust_settings import RobustSettings, sees_label_pixels, with_label_pixel
from mapmend.methods.robustness import Belief, Robustness

Weight = Annotated[float, Field(ge=0)]


@settings
class SupervisedConfig(RobustSettings):
    """Settings of `supervised`, and how far it believes labels.

    Attributes:
        ce: weight of the cross-entropy, or of the robust loss in its place.
        dice: weight of the Dice loss.
        lovasz: weight of the Lovász-softmax.
        class_weights: of that loss: none, inverse_sqrt (1/√ of a class's share of the labelled pixels), or one
            per class.
        auxiliary: weight of all of these losses on an auxiliary head, which helps while training; 0 for no such head.
        modality_dropout: share of the windows of which some sensors' images are taken away, where several are stacked;
            a model that has learned so maps places from whichever images exist, and says which.
        label_smoothing: ε of plain cross-entropy's target (1 − ε)·y + ε/K.
    """

    ce: Weight = 1.0
    dice: Weight = 0.0
    lovasz: Weight = 0.0
    auxiliary: Weight = 0.0
    modality_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    class_weights: Literal["none", "inverse_sqrt"] | tuple[Weight, ...] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


@register("supervised")
class Supervised(Method):
    """Cross-entropy or a robust loss, with Dice, Lovász-softmax and class proportions on request.

    Dice and Lovász-softmax know corrected labels and those that count nothing, and no weights in between.

    Raises:
        ProjectError: class weights that are not one per class, no loss at all, or settings that do not go together.
    """

    config_class = SupervisedConfig
    config: SupervisedConfig
    class_weights: Tensor | None

    def __init__(self, network: nn.Module, config: SupervisedConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        if config.auxiliary and not config.ce + config.dice + config.lovasz:
            raise ProjectError("an auxiliary head without a loss", fix="give ce, dice or lovasz a weight")
        if not config.ce + config.dice + config.lovasz + config.proportions:
            raise ProjectError("all losses of 'supervised' weigh 0", fix="give ce, dice or lovasz a weight")
        if config.label_smoothing and config.robust != "none":
            raise ProjectError(f"'robust: {config.robust}' has no label_smoothing", fix="leave out one of the two")
        unweighted = "published_variant" if config.published_variant else "robust: posterior"
        if config.class_weights != "none" and (config.published_variant or config.robust == "posterior"):
            raise ProjectError(f"'{unweighted}' has no class_weights", fix="leave out one of the two")
        self.robustness = Robustness(config, network, counts)
        self.auxiliary = Auxiliary(network, len(counts)) if config.auxiliary else None
        self.register_buffer("class_weights", _class_weights(config, counts), persistent=False)

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """One loss, `loss`: the weighted sum of the parts, which are noted where there are several."""
        image, valid, mask = dates_as_samples(batches["labelled"])
        if self.config.modality_dropout:
            counts = [len(sensor.bands) for sensor in self.sensors.values()]
            valid = without_some(valid, counts, self.config.modality_dropout, state.generator)
        aside: Tensor | None = None
        if self.auxiliary is None:
            logits = self.network(image, valid).float()
        else:
            logits, aside = (one.float() for one in self.auxiliary(self.network, image, valid))
        belief = self.robustness.believe(batches["labelled"], image, valid, mask, logits, state)
        losses = self._label_losses(logits, belief)
        if self.config.proportions:
            told = self.robustness.proportion_loss(logits, mask, belief, batches["labelled"])
            losses["proportions"] = self.config.proportions * told
        if aside is not None:
            helping = torch.stack(list(self._label_losses(aside, belief).values())).sum()
            losses["auxiliary"] = self.config.auxiliary * helping
        if len(losses) > 1:
            for name, loss in losses.items():
                state.note(name, loss)
        yield "loss", torch.stack(list(losses.values())).sum()

    def _label_losses(self, logits: Tensor, belief: Belief) -> dict[str, Tensor]:
        """The losses of the labels, each with its weight."""
        parts: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "ce": (self.config.ce, lambda: self._pixel_loss(logits, belief)),
            "dice": (self.config.dice, lambda: dice_loss(logits, belief.mask)),
            "lovasz": (self.config.lovasz, lambda: lovasz_softmax(logits, belief.mask)),
        }
        return {name: weight * loss() for name, (weight, loss) in parts.items() if weight}

    @classmethod
    def configured(cls, config: SupervisedConfig, label_ratio: float | None) -> SupervisedConfig:
        """As in `Method`: fills in the side of the label's own pixels."""
        return with_label_pixel(config, label_ratio)

    @classmethod
    def sees_label_pixels(cls, config: SupervisedConfig) -> bool:
        """As in `Method`: for class proportions, and for mixtures of classes."""
        return sees_label_pixels(config)

    @classmethod
    def drops_modalities(cls, config: SupervisedConfig) -> bool:
        """As in `Method`."""
        return bool(config.modality_dropout)

    @classmethod
    def sees_confidence(cls, config: SupervisedConfig) -> bool:
        """As in `Method`."""
        return config.confidence_weight

    @classmethod
    def knows_frequencies(cls, config: SupervisedConfig) -> bool:
        """As in `Method`: for beliefs, which are learned from how a pixel's class differs from what is frequent."""
        return config.robust == "posterior"

    def meet(self, classes: Sequence[str], folder: Path) -> None:
        """As in `Method`: reads the matrix of a forward-corrected loss."""
        self.config = replace(self.config, transition=self.robustness.meet(classes, folder) or self.config.transition)

    def after_step(self, state: StepState) -> None:
        """The teacher follows, where there is one."""
        self.robustness.after_step(self.network, state)

    def _pixel_loss(self, logits: Tensor, belief: Belief) -> Tensor:
        return self.robustness.pixel_loss(
            logits, belief, weight=self.class_weights, label_smoothing=self.config.label_smoothing
        )


def without_some(valid: Tensor, counts: Sequence[int], share: float, generator: torch.Generator) -> Tensor:
    """Validity B×C×H×W of channels, from that of pixels B×1×H×W: of a share of the images some modalities are invalid.

    Which ones is drawn among all choices that leave at least one, each as likely as any other.

    Args:
        valid: of pixels of which all modalities are valid.
        counts: bands of each modality, at least two of them.
        share: of the images.
        generator: on the CPU.
    """
    dropped = torch.rand(len(valid), generator=generator) < share
    some = torch.randint(1, 2 ** len(counts) - 1, (len(valid),), generator=generator)  # bits: not none, and not all
    kept = (some[:, None] >> torch.arange(len(counts))) % 2 > 0
    kept[~dropped] = True
    channels = kept.repeat_interleave(torch.tensor(counts), dim=1).to(valid.device)
    return valid & channels[:, :, None, None]


def _class_weights(config: SupervisedConfig, counts: Sequence[int]) -> Tensor | None:
    if config.class_weights == "none":
        return None
    if config.class_weights == "inverse_sqrt":
        return torch.tensor(inverse_sqrt_weights(counts), dtype=torch.float32)
    if len(config.class_weights) != len(counts):
        raise ProjectError(
            f"'class_weights' has {len(config.class_weights)} values for {len(counts)} classes",
            fix="give one per class of the legend, in its order",
        )
    return torch.tensor(config.class_weights, dtype=torch.float32)


def inverse_sqrt_weights(counts: Sequence[int]) -> list[float]:
    """Weights ∝ 1/√share, of mean 1 over the labelled pixels; a class without any weighs as the rarest with some."""
    pixels = np.asarray(counts, np.float64)
    least = pixels[pixels > 0].min()
    raw = 1 / np.sqrt(np.maximum(pixels, least))
    return [float(weight) for weight in raw * pixels.sum() / (raw * pixels).sum()]
