"""All-weather maps, stage 1: an optical teacher for a region without labels, by self-training on mixed images.

Liu et al., "Learning from Noisy Pseudo-labels for All-Weather Land Cover Mapping" (IGARSS 2025), after DACS (Tranheden
et al., WACV 2021). In each step (1) the labelled source teaches by cross-entropy; (2) the running average of the
network guesses the target's classes, from images that nothing was done to; (3) the share of a target image of which it
is sure weighs every pixel of that image; (4) half of the classes of a source image are pasted on it; (5) the mix is
seen in other colours and blurred; (6) it teaches by weighted cross-entropy. Both gradients make one step.

Ours: the average copies buffers too and is in `eval()`; images of any bands; what is invalid counts nowhere. Stage 2,
the radar student, is `supervised` with `robust: sce` and `lovasz` on the labels that `pseudo` makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.class_mix import draw_classes, image_weight, pasted
from mapmend.losses.jitter import jitter_and_blur
from mapmend.losses.overlap import dice_loss, lovasz_softmax
from mapmend.losses.robust import cross_entropy
from mapmend.methods.auxiliary import Auxiliary
from mapmend.methods.method import Batch, Method, StepState, dates_as_samples, register
from mapmend.methods.teacher import Teacher
from mapmend.nn.network import Network, black_and_white

Weight = Annotated[float, Field(ge=0)]

LABELLED, UNLABELLED = "labelled", "unlabelled"


@settings
class AllWeatherConfig:
    """Settings of `all_weather`; the defaults are the published ones.

    Attributes:
        start: share of the training after which the target teaches.
        teacher_decay: share of the running average that stays in a step, less in the first ones.
        weighting: what a guess counts: image, the share of its image of which the teacher is sure, for every pixel;
            pixel, 1 where it is sure and 0 elsewhere; or none, 1 everywhere.
        threshold: probability from which the teacher is sure.
        mix: whether half of a source image's classes are pasted on the target; else the target is seen alone.
        mix_of_batch: draw these classes among those of the whole batch, as the public code does.
        jitter: strength of the mixed images' jitter of colours; with it they are blurred at times; 0 for neither.
        lovasz: weight of the Lovász-softmax of the source.
        dice: weight of the Dice loss of the source.
        auxiliary: weight of an auxiliary head's cross-entropy; 0 for no such head.
    """

    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    teacher_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    weighting: Literal["image", "pixel", "none"] = "image"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.968
    mix: bool = True
    mix_of_batch: bool = False
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.2
    lovasz: Weight = 0.0
    dice: Weight = 0.0
    auxiliary: Weight = 0.0


@register("all_weather")
class AllWeather(Method):
    """Cross-entropy of the labelled source, and of the target under what a running average guesses of it."""

    config_class = AllWeatherConfig
    config: AllWeatherConfig
    loaders = (LABELLED, UNLABELLED)
    as_they_are = (UNLABELLED,)
    published = ("mit_b3", "segformer")

    def __init__(self, network: nn.Module, config: AllWeatherConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        self.classes = len(counts)
        self.teacher = Teacher(network, config.teacher_decay)
        self.auxiliary = Auxiliary(network, len(counts)) if config.auxiliary else None

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """`source`, then `mixed`; they share no graph. What a target image counts on average is noted."""
        image, valid, mask = dates_as_samples(batches[LABELLED])
        logits, aside = self._seen(image, valid)
        loss = cross_entropy(logits, mask)
        if self.config.lovasz:
            loss = loss + self.config.lovasz * lovasz_softmax(logits, mask)
        if self.config.dice:
            loss = loss + self.config.dice * dice_loss(logits, mask)
        if aside is not None:
            loss = loss + self.config.auxiliary * cross_entropy(aside, mask)
        yield "source", loss
        if state.progress < self.config.start:
            return

        target, seen, _ = dates_as_samples(batches[UNLABELLED])
        guess, weight = self._guessed(target, seen[:, 0])
        state.note("weight", weight.mean())
        mixed = target.float()
        if self.config.mix:
            paste = pasted(mask, draw_classes(mask, self.classes, state.generator, of_batch=self.config.mix_of_batch))
            mixed = image.float().where(paste[:, None], mixed)
            seen = valid.where(paste[:, None], seen)
            guess = mask.where(paste, guess)
            weight = weight.masked_fill(paste, 1.0)
        if self.config.jitter:
            low, high = black_and_white(cast(Network, self.network))
            mixed = jitter_and_blur(mixed, seen, low, high, state.generator, strength=self.config.jitter)
        logits, aside = self._seen(mixed, seen)
        loss = cross_entropy(logits, guess, pixel_weight=weight)
        if aside is not None:
            loss = loss + self.config.auxiliary * cross_entropy(aside, guess, pixel_weight=weight)
        yield "mixed", loss

    def after_step(self, state: StepState) -> None:
        """The teacher follows."""
        self.teacher.update(self.network, state.step)

    def _guessed(self, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's classes B×H×W, 255 where the image is invalid, and what each pixel counts, B×H×W."""
        probability = self.teacher.probabilities(image, valid[:, None])
        guess = probability.argmax(1).masked_fill(~valid, 255)
        if self.config.weighting == "image":
            weight = image_weight(probability, valid, self.config.threshold)[:, None, None].expand(valid.shape)
        elif self.config.weighting == "pixel":
            weight = (probability.amax(1) >= self.config.threshold).float()
        else:
            weight = torch.ones(valid.shape, device=valid.device)
        return guess, weight

    def _seen(self, image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.auxiliary is not None:
            logits, aside = self.auxiliary(self.network, image, valid)
            return logits, aside
        return self.network(image, valid), None
