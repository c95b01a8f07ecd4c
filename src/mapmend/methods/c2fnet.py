"""C2FNet: a fine map out of a coarse or old label, which is believed where the image bears it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mapmend.core.errors import ProjectError
from mapmend.core.grid import COARSER
from mapmend.core.settings import settings
from mapmend.losses.annotation import Annotation, annotate, blend, most_confident
from mapmend.losses.cells import Cells, cell_features, gather_cells
from mapmend.losses.contrast import margin_cross_entropy, two_view_contrast, vague_divergence
from mapmend.losses.robust import cross_entropy
from mapmend.losses.views import other_light
from mapmend.methods.method import Batch, Method, StepState, dates_as_samples, register
from mapmend.methods.robust_settings import Robust, RobustSettings, sees_label_pixels, with_label_pixel
from mapmend.methods.robustness import Robustness
from mapmend.nn.cosine_head import PixelNetwork, PixelOutput

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

LEAST_CELL = 7


@settings
class C2FNetConfig(RobustSettings):
    """Settings of `c2fnet`, and how far it believes labels.

    The defaults are those that mended labels best on trial places. The method as published, as we formulate it, is
    `robust: none, everywhere: 0, plain_first: 0.1`.

    Attributes:
        cell: side in pixels of the cells in which the label is judged; None is half of a label's pixel, at least 7.
        pure: whether only cells whose label has one class can be confident; None: where the label's pixels are larger
            than the image's. There a border is misplaced; in a finer label it is as right as the rest, and narrow
            classes lie at borders alone.
        selection: which cells are confident: all; those of the highest probability of their label (p_label); those
            whose transported mass falls back on their own label (soft_diagonal) or, for most transports, mostly on
            themselves (hard_diagonal).
        assignment: what vague pixels learn: the label as it is (raw), or their probabilities blended with their cell's
            mean probability (p) or with the label mixture that transport assigns to it (transport).
        shuffle: `on` draws the groups of cells anew in each round; `neighbours` takes cells that lie together.
        margin: m, taken off the cosine of the label's class in confident areas; without effect on other heads.
        vague: λu, weight of the vague areas.
        self_supervised: λs, weight of the agreement of two views.
        ramp: share of the steps over which both weights rise from 0.
        plain_first: share of the steps, at the start, with the loss of every labelled pixel alone: cross-entropy, or
            the robust one in its place.
        everywhere: weight of that loss from then on.
        confident: ρ at the first and the last step: share of each class's cells that is confident.
        beta: weight of a pixel's own probabilities in what vague pixels learn.
        mu: weight of features in the cost of transport.
        epsilon: entropy of the transport.
        rounds: R, groupings per step; each step draws anew.
        group: G, cells in a group.
        views: share of a batch's images that are seen a second time.
        light: strength of contrast and brightness in the second view.
        temperature: τ of the agreement of views.
    """

    robust: Robust = "posterior"
    cell: Count | None = None
    pure: bool | None = None
    selection: Literal["all", "p_label", "soft_diagonal", "hard_diagonal"] = "soft_diagonal"
    assignment: Literal["raw", "p", "transport"] = "transport"
    shuffle: Literal["on", "neighbours"] = "on"
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.1
    vague: Weight = 0.1
    self_supervised: Weight = 0.1
    ramp: Share = 0.2
    plain_first: Share = 0.4
    everywhere: Weight = 1.0
    confident: tuple[Share, Share] = (0.5, 0.8)
    beta: Share = 0.5
    mu: Weight = 0.5
    epsilon: Annotated[float, Field(ge=0.01)] = 0.1
    rounds: Count = 1
    group: Count = 256
    views: Annotated[float, Field(gt=0, le=1)] = 0.25
    light: Share = 0.2
    temperature: Annotated[float, Field(gt=0)] = 0.1


@register("c2fnet")
class C2FNet(Method):
    """Confident cells teach their label with a margin, vague ones a distribution, and two views of a cell agree."""

    config_class = C2FNetConfig
    config: C2FNetConfig
    head = "cosine"

    def __init__(self, network: nn.Module, config: C2FNetConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        self.classes = len(counts)
        self.side = config.cell or LEAST_CELL
        self.robustness = Robustness(config, network, counts)
        self.pure = config.pure is not False

    @classmethod
    def configured(cls, config: C2FNetConfig, label_ratio: float | None) -> C2FNetConfig:
        """The settings with the cell's side filled in, and whether it must be pure.

        Raises:
            ProjectError: neither the side nor the label's pixel size is known.
        """
        config = with_label_pixel(config, label_ratio)
        if config.pure is None:
            config = replace(config, pure=label_ratio is None or label_ratio > COARSER)
        if config.cell is not None:
            return config
        if label_ratio is None:
            raise ProjectError(
                "the pixel size of the labels is not known, and 'c2fnet' needs it for the size of its cells",
                fix="give the manifest a `label_gsd`, or the step a `cell` in pixels",
            )
        return replace(config, cell=cell_side(label_ratio))

    @classmethod
    def sees_label_pixels(cls, config: C2FNetConfig) -> bool:
        """As in `Method`: for class proportions, and for mixtures of classes."""
        return sees_label_pixels(config)

    @classmethod
    def sees_confidence(cls, config: C2FNetConfig) -> bool:
        """As in `Method`."""
        return config.confidence_weight

    @classmethod
    def knows_frequencies(cls, config: C2FNetConfig) -> bool:
        """As in `Method`: cosines have no bias, and would give all features the direction of the commonest class."""
        return True

    def meet(self, classes: Sequence[str], folder: Path) -> None:
        """As in `Method`: reads the matrix of a forward-corrected loss."""
        self.config = replace(self.config, transition=self.robustness.meet(classes, folder) or self.config.transition)

    def after_step(self, state: StepState) -> None:
        """The teacher follows, where there is one."""
        self.robustness.after_step(self.network, state)

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """One loss, `loss`; its parts and the share of confident cells are noted."""
        batch, config = batches["labelled"], self.config
        image, valid, given = dates_as_samples(batch)
        output = _pixels(self.network, image, valid)
        belief = self.robustness.believe(batch, image, valid, given, output.logits, state)
        cells = None
        if state.progress >= config.plain_first:
            mask = self.robustness.mended(output.logits, belief)
            with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
                cells = gather_cells(mask, output.logits.softmax(1), output.feature, self.side)
        parts: dict[str, Tensor] = {}
        weights = {"everywhere": config.everywhere, "proportions": config.proportions, "confident": 1.0}
        if cells is not None and len(cells):
            ramp = min(1.0, state.progress / config.ramp) if config.ramp else 1.0
            weights |= {"vague": ramp * config.vague, "views": ramp * config.self_supervised}
            parts |= self._label_losses(output, mask, cells, state)
            if weights["views"]:
                parts["views"] = self._agreement(output, image, valid, mask, cells, state)
        else:
            weights["everywhere"] = 1.0
        if weights["everywhere"]:
            parts["everywhere"] = self.robustness.pixel_loss(output.logits, belief)
        if config.proportions:
            parts["proportions"] = self.robustness.proportion_loss(output.logits, given, belief, batch)
        for name, loss in parts.items():
            state.note(name, loss)
        yield "loss", torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()

    def _label_losses(self, output: PixelOutput, mask: Tensor, cells: Cells, state: StepState) -> dict[str, Tensor]:
        """Of the confident and of the vague areas."""
        config, logits, size = self.config, output.logits, (mask.shape[-2], mask.shape[-1])
        annotation = cache(lambda: self._annotate(cells, state))  # some settings do without
        score, chosen = self._select(cells, annotation, state.progress)
        chosen = chosen & cells.pure if self.pure else chosen
        state.note("confident_share", chosen.float().mean())
        margin = 0.0 if output.scale is None else output.scale * config.margin
        losses = {
            "confident": margin_cross_entropy(logits, mask, cells.at_pixels(score * chosen, *size), margin=margin)
        }
        if not config.vague:
            return losses
        vague = ~cells.at_pixels(chosen, *size) & (mask != 255)
        if config.assignment == "raw":
            losses["vague"] = cross_entropy(logits, mask.where(vague, 255))
        else:
            mixture = cells.prediction if config.assignment == "p" else annotation().mixture
            target = blend(logits.log_softmax(1), cells.between_centres(mixture, *size), config.beta)
            losses["vague"] = vague_divergence(logits, target, vague)
        return losses

    def _annotate(self, cells: Cells, state: StepState) -> Annotation:
        config = self.config
        with torch.autocast(cells.label.device.type, enabled=False):
            return annotate(
                cells,
                state.generator,
                shuffle=config.shuffle == "on",
                rounds=config.rounds,
                group=config.group,
                mu=config.mu,
                epsilon=config.epsilon,
            )

    def _select(self, cells: Cells, annotation: Callable[[], Annotation], progress: float) -> tuple[Tensor, Tensor]:
        """Confidence d of each cell, and which are confident."""
        selection = self.config.selection
        if selection == "all":
            every = torch.ones_like(cells.label, dtype=torch.bool)
            return every.float(), every
        if selection == "hard_diagonal":
            hard = annotation().hard
            return hard, hard > 0.5
        of_label = cells.prediction.gather(1, cells.label[:, None])[:, 0]
        score = of_label if selection == "p_label" else annotation().soft
        first, last = self.config.confident
        return score, most_confident(score, cells.label, first + (last - first) * progress, self.classes)

    def _agreement(
        self, output: PixelOutput, image: Tensor, valid: Tensor, mask: Tensor, cells: Cells, state: StepState
    ) -> Tensor:
        """Of the cells of some images with themselves under other light."""
        config = self.config
        some = max(1, round(config.views * len(image)))
        again = torch.randperm(len(image), generator=state.generator)[:some].sort().values.to(image.device)
        with torch.no_grad():
            view = other_light(image[again], valid[again], state.generator, config.light)
            second = cell_features(_pixels(self.network, view, valid[again]).feature, mask[again], self.side)
        # not the features of these images alone: their gradient would be one of zeros for all, laid out anew
        others = torch.ones(len(image), dtype=torch.bool, device=image.device).index_fill(0, again, False)
        first = cell_features(output.feature, mask.masked_fill(others[:, None, None], 255), self.side)
        label = cells.on_grid(cells.label[:, None])[again, 0][cells.kept[again]]
        return two_view_contrast(first, second, label, temperature=config.temperature)


def cell_side(label_ratio: float) -> int:
    """Half of a label's pixel, in the image's pixels, at least 7."""
    return max(LEAST_CELL, round(label_ratio / 2))


def _pixels(network: nn.Module, image: Tensor, valid: Tensor) -> PixelOutput:
    return cast(PixelNetwork, network).pixels(image, valid)
