"""How far labels are believed, whatever the method: robust losses, correction, trust, class proportions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mapmend.core.error_matrix import read_error_matrix, read_transition
from mapmend.core.errors import ProjectError
from mapmend.core.manifest import TRUSTS
from mapmend.core.stored import STEPS
from mapmend.losses import robust
from mapmend.losses.proportions import proportion_loss, square_cells
from mapmend.methods.beliefs import Beliefs
from mapmend.methods.correction import Rules, Trigger, correct_objects
from mapmend.methods.method import Batch, StepState
from mapmend.methods.robust_settings import CROSSWALK, Matrix, RobustSettings, TrustWeights, unknown_label_pixel
from mapmend.methods.teacher import Teacher


@dataclass(frozen=True)
class Belief:
    """What is believed of a batch's labels.

    Attributes:
        mask: B×H×W, corrected, without the labels that count nothing.
        weight: B×1×1 or B×H×W, of the pixels; None where all count the same.
        taught: the teacher's probabilities B×K×H×W; None where nobody needs them.
        shares: what the label's product says of each class, B×K×H×W; None where it says nothing, or is not asked.
    """

    mask: Tensor
    weight: Tensor | None
    taught: Tensor | None
    shares: Tensor | None = None


class Robustness(nn.Module):
    """A method's beliefs: the part of it that `RobustSettings` describe. Without settings it holds no tensor.

    Args:
        config: of the method.
        network: that learns; a teacher begins as its copy.
        counts: labelled training pixels per class.

    Raises:
        ProjectError: settings that do not go together.
    """

    transition: Tensor
    seen: Tensor

    def __init__(self, config: RobustSettings, network: nn.Module, counts: Sequence[int]) -> None:
        super().__init__()
        classes = len(counts)
        self.config = config
        given = [name for name in ("error_matrix", "transition") if getattr(config, name)]
        if (config.robust == "forward") != (len(given) == 1):
            told = f"{' and '.join(given) or 'no matrix'} given"
            raise ProjectError(
                f"'robust: {config.robust}' with {told}",
                fix="forward, and only forward, takes either `error_matrix` or `transition`",
            )
        if config.published_variant and (
            config.robust != "sce" or config.confidence_weight or config.trust != TrustWeights()
        ):
            raise ProjectError(
                "'published_variant' is of `robust: sce` alone, and its pixels have no weights",
                fix="leave out `published_variant`, or `confidence_weight` and `trust`",
            )
        if config.confidence_weight and config.proportions:
            raise ProjectError("'confidence_weight' does not go with `proportions`", fix="leave out one of the two")
        if config.robust in ("mixture", "posterior") and config.correction != "none":
            raise ProjectError(
                f"'robust: {config.robust}' learns no objects to correct",
                fix="leave out `correction`, or choose another `robust`",
            )
        if config.robust == "elr" or config.correction != "none":
            self.teacher = Teacher(network, config.teacher_decay)
        if config.correction != "none":
            self.trigger = Trigger()
        self._met = config.robust != "forward" or config.transition == CROSSWALK
        if config.transition == CROSSWALK:
            self.register_buffer("seen", torch.zeros(classes, classes, dtype=torch.float64))
        if config.robust == "forward":
            self.register_buffer("transition", torch.eye(classes), persistent=False)
        if config.robust == "posterior":
            self.beliefs = Beliefs(config, counts)
        if isinstance(config.transition, tuple) and config.transition:
            self._set_transition(config.transition, classes)

    def meet(self, classes: Sequence[str], folder: Path) -> Matrix:
        """Read the files that the settings name; the matrix P(label | truth), or nothing.

        Args:
            classes: the legend's names, in its order.
            folder: that relative paths start from.

        Raises:
            LabelError: a file that is no such matrix, or of other classes.
        """
        if self._met:
            return self.config.transition if isinstance(self.config.transition, tuple) else ()
        if self.config.error_matrix:
            found = read_error_matrix(folder / self.config.error_matrix)
        else:
            found = read_transition(folder / str(self.config.transition))
        rows = tuple(tuple(row) for row in found.of(classes).tolist())
        self._set_transition(rows, len(classes))
        return rows

    def believe(
        self, batch: Batch, image: Tensor, valid: Tensor, mask: Tensor, logits: Tensor, state: StepState
    ) -> Belief:
        """Look at a batch's labels, as the teacher, the manifest and the settings say.

        Args:
            batch: whose `trust` counts, where trusts differ.
            image: B×C×H×W, each date as a sample.
            valid: B×1×H×W.
            mask: B×H×W, the labels.
            logits: the network's, B×K×H×W.
            state: of the step.
        """
        shares = _shares(batch)
        sure = batch["confidence"].flatten(0, 1).float() / STEPS if self.config.confidence_weight else None
        if not hasattr(self, "teacher") and self.config.trust == TrustWeights():
            return Belief(mask, sure, None, shares)
        trust = batch["trust"].repeat_interleave(len(mask) // len(batch["trust"]))
        taught = self.teacher.probabilities(image, valid) if hasattr(self, "teacher") else None
        if taught is not None and hasattr(self, "trigger"):
            mask = self._corrected(mask, trust, logits, taught, state)
        if self.config.trust == TrustWeights():
            return Belief(mask, sure, taught, shares)
        weights = torch.tensor([getattr(self.config.trust, name) for name in TRUSTS], device=mask.device)
        weight = weights[trust].view(-1, 1, 1)
        return Belief(mask.where(weight > 0, 255), weight if sure is None else weight * sure, taught, shares)

    def pixel_loss(
        self, logits: Tensor, belief: Belief, *, weight: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """The loss of the pixels' labels that the settings choose.

        Args:
            logits: B×K×H×W.
            belief: of this batch.
            weight: of the classes, K.
            label_smoothing: of plain cross-entropy alone.
        """
        config, mask = self.config, belief.mask
        if config.robust == "none":
            return robust.cross_entropy(
                logits, mask, weight=weight, label_smoothing=label_smoothing, pixel_weight=belief.weight
            )
        if config.robust == "sce":
            alpha, beta = config.sce_alpha, config.sce_beta
            if config.published_variant:
                return robust.published_symmetric_cross_entropy(logits, mask, alpha=alpha, beta=beta)
            loss = partial(robust.symmetric_cross_entropy, alpha=alpha, beta=beta)
        elif config.robust == "gce":
            loss = partial(robust.generalised_cross_entropy, q=config.gce_q)
        elif config.robust == "elr":
            assert belief.taught is not None
            loss = partial(robust.early_learning, remembered=belief.taught, strength=config.elr)
        elif config.robust == "posterior":
            return self.beliefs.loss(logits, mask, belief.shares, belief.weight)
        elif config.robust == "forward":
            if not self._met:
                raise ProjectError("'robust: forward' has not read its matrix", fix="call `meet` before training")
            if config.transition == CROSSWALK:
                self._look_at_mixtures(belief)
            loss = partial(robust.forward_corrected, transition=self.transition)
        elif config.robust == "mixture":
            loss = partial(robust.mixture_cross_entropy, shares=_needed(belief.shares, "robust: mixture"))
        else:
            loss = partial(robust.bootstrapping, hard=config.robust == "bootstrap_hard", beta=config.bootstrap)
        return loss(logits, mask, weight=weight, pixel_weight=belief.weight)

    def mended(self, logits: Tensor, belief: Belief) -> Tensor:
        """The labels B×H×W as they are believed by now: by posterior those that are likeliest, else as they are."""
        if self.config.robust != "posterior":
            return belief.mask
        return self.beliefs.likeliest(logits, belief.mask, belief.shares)

    def proportion_loss(self, logits: Tensor, mask: Tensor, belief: Belief, batch: Batch) -> Tensor:
        """The loss of the class proportions of the label's own pixels, as it was given, corrected by nobody.

        Args:
            logits: B×K×H×W.
            mask: B×H×W, as given.
            belief: for the trust.
            batch: its `cell` B×T×H×W numbers the label's own pixels, from 0, below 0 where there is none; without it
                they are squares that begin at the image's corner. Its `shares` B×T×K×H×W, 0 to 200, are what the
                label's product says of each class there.

        Raises:
            ProjectError: neither says how large the label's pixels are.
        """
        height, width = mask.shape[-2:]
        if "cell" in batch:
            cells = batch["cell"].flatten(0, 1).long()
        elif self.config.label_pixel is not None:
            cells = square_cells(height, width, self.config.label_pixel, device=mask.device).expand(mask.shape)
        else:
            raise unknown_label_pixel()
        if belief.weight is not None:
            mask = mask.where(belief.weight > 0, 255)
        return proportion_loss(
            logits,
            mask,
            cells,
            shares=belief.shares,
            distance=self.config.proportions_distance,
            pixel_weight=belief.weight,
        )

    def after_step(self, network: nn.Module, state: StepState) -> None:
        """The teacher follows."""
        if hasattr(self, "teacher"):
            self.teacher.update(network, state.step)

    @torch.no_grad()
    def _look_at_mixtures(self, belief: Belief) -> None:
        """T from all labels so far: their pixels' mixtures are as good as true classes on average."""
        shares = _needed(belief.shares, "transition: crosswalk").movedim(1, -1)
        labelled = belief.mask != 255
        if self.training:
            label = nn.functional.one_hot(belief.mask[labelled], len(self.seen)).double()
            self.seen += shares[labelled].double().T @ label
        truths = self.seen.sum(1, keepdim=True)
        known = self.seen / truths.clamp(min=1e-9)
        self.transition.copy_(known.where(truths > 0, torch.eye(len(self.seen)).to(known)))

    def _set_transition(self, rows: Matrix, classes: int) -> None:
        if len(rows) != classes or any(len(row) != classes or abs(sum(row) - 1) > 1e-3 for row in rows):
            raise ProjectError(
                f"'transition' is not {classes} rows of {classes} shares that sum to one",
                fix="rows are true classes, columns labels, in the legend's order",
            )
        self.transition.copy_(torch.tensor(rows))
        self.config = replace(self.config, transition=rows)
        self._met = True

    def _corrected(self, mask: Tensor, trust: Tensor, logits: Tensor, taught: Tensor, state: StepState) -> Tensor:
        labelled = mask != 255
        right = (logits.detach().argmax(1) == mask) & labelled
        fired = bool(self.trigger.fired)
        self.trigger.watch(right.sum(), labelled.sum(), state.step, state.steps)
        state.note("correcting", torch.tensor(float(fired), device=mask.device))
        if not fired:
            return mask
        rules = Rules(sure=self.config.correction_sure)
        doubted = (trust != TRUSTS.index("reference")).tolist()
        labels, told = mask.to(torch.uint8).cpu().numpy(), taught.cpu().numpy()
        better = [
            correct_objects(label, p, rules) if doubt else label
            for label, p, doubt in zip(labels, told, doubted, strict=True)
        ]
        corrected = torch.from_numpy(np.stack(better)).to(mask)
        state.note("corrected", (corrected != mask).sum() / labelled.sum().clamp(min=1))
        return corrected


def _needed(shares: Tensor | None, who: str) -> Tensor:
    if shares is None:
        raise ProjectError(
            f"'{who}', and no label has a table of mixtures",
            fix="name a crosswalk with a `mixture` in the manifest's `label_legend`",
        )
    return shares


def _shares(batch: Batch) -> Tensor | None:
    """A batch's `shares`, each date as a sample, as shares of one."""
    if "shares" not in batch:
        return None
    stored = batch["shares"].flatten(0, 1).float()
    return stored / stored.sum(1, keepdim=True).clamp(min=1)
