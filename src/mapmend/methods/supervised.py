"""Plain supervised learning: the label is taken at its word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.errors import ProjectError
from mapmend.core.settings import settings
from mapmend.losses.overlap import dice_loss, lovasz_softmax
from mapmend.losses.robust import cross_entropy
from mapmend.methods.method import Batch, Method, StepState, dates_as_samples, register

Weight = Annotated[float, Field(ge=0)]


@settings
class SupervisedConfig:
    """Settings of `supervised`.

    Attributes:
        ce: weight of the cross-entropy.
        dice: weight of the Dice loss.
        lovasz: weight of the Lovász-softmax.
        class_weights: of the cross-entropy: none, inverse_sqrt (1/√ of a class's share of the labelled pixels), or one
            per class.
        label_smoothing: ε of the cross-entropy's target (1 − ε)·y + ε/K.
    """

    ce: Weight = 1.0
    dice: Weight = 0.0
    lovasz: Weight = 0.0
    class_weights: Literal["none", "inverse_sqrt"] | tuple[Weight, ...] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


@register("supervised")
class Supervised(Method):
    """Cross-entropy, with Dice and Lovász-softmax on request, on every labelled pixel.

    Raises:
        ProjectError: class weights that are not one per class, or no loss at all.
    """

    config_class = SupervisedConfig
    config: SupervisedConfig
    class_weights: Tensor | None

    def __init__(self, network: nn.Module, config: SupervisedConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        if not config.ce + config.dice + config.lovasz:
            raise ProjectError("all losses of 'supervised' weigh 0", fix="give ce, dice or lovasz a weight")
        self.register_buffer("class_weights", _class_weights(config, counts), persistent=False)

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """One loss, `loss`: the weighted sum of the parts, which are noted where there are several."""
        image, valid, mask = dates_as_samples(batches["labelled"])
        logits = self.network(image, valid).float()
        parts: dict[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
            "ce": (self.config.ce, self._cross_entropy),
            "dice": (self.config.dice, dice_loss),
            "lovasz": (self.config.lovasz, lovasz_softmax),
        }
        losses = {name: weight * loss(logits, mask) for name, (weight, loss) in parts.items() if weight}
        if len(losses) > 1:
            for name, loss in losses.items():
                state.note(name, loss)
        yield "loss", torch.stack(list(losses.values())).sum()

    def _cross_entropy(self, logits: Tensor, mask: Tensor) -> Tensor:
        return cross_entropy(logits, mask, weight=self.class_weights, label_smoothing=self.config.label_smoothing)


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
