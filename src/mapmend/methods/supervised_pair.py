"""Supervised learning of pairs, the baseline of methods of two dates: the same networks, without what those add.

With `change: only` it is the supervised peer of `fpa`, `unimatch` and `c2f2`: their student, weak view and
cross-entropy. Otherwise it is that of `clearscd`: a shared network with a head for the classes of each date and one for
change (of features, a siamese FPN's usual head, or of deep CVAPS), and ClearSCD's plain terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

from torch import Tensor

from mapmend.core.settings import settings
from mapmend.losses.change import change_cross_entropy, change_dice
from mapmend.losses.robust import cross_entropy
from mapmend.methods.change_views import (
    SCALE,
    Scale,
    ViewSettings,
    Weight,
    judge_change,
    labelled_loss,
    predict_change,
    total,
    weak_view,
)
from mapmend.methods.method import CHANGE, CHANGE_NAMES, CLASSES, Batch, Method, StepState, register
from mapmend.methods.pairs import CRITERION, judge_pair
from mapmend.nn.pair_network import DATES, ChangeNetwork, PairNetwork
from mapmend.nn.spec import CHANGE_ALONE


@settings
class SupervisedPairConfig:
    """Settings of `supervised_pair`.

    Attributes:
        change: what the change is made of: the features' difference, the classes' probabilities or logits (deep CVAPS);
            or `only`, change without classes.
        semantic: weight of both dates' cross-entropies.
        bce: weight of the change's cross-entropy.
        dice: weight of the change's Dice loss; None is what the peers have: 0 for `only`, else 1. Without it rare
            changes are not found in short trainings.
        scale: the least and largest factor by which a pair is enlarged; None is what the peers have: 0.5 to 2 for
            `only`, else 1.
    """

    change: Literal["features", "cvaps_probability", "cvaps_logit", "only"] = "features"
    semantic: Weight = 1.0
    bce: Weight = 1.0
    dice: Weight | None = None
    scale: tuple[Scale, Scale] | None = None


@register("supervised_pair")
class SupervisedPair(Method):
    """Cross-entropy of what is labelled: both dates' classes, and the change."""

    config_class = SupervisedPairConfig
    config: SupervisedPairConfig
    dates = DATES
    needs_classes = False
    criterion = CRITERION

    @classmethod
    def pair(cls, config: SupervisedPairConfig) -> str:
        """As the settings name it."""
        return CHANGE_ALONE if config.change == "only" else config.change

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """One loss, `loss`; its parts are noted."""
        config, batch = self.config, batches["labelled"]
        scale = config.scale or (SCALE if isinstance(self.network, ChangeNetwork) else (1.0, 1.0))
        view = weak_view(batch, ViewSettings(scale=scale), state)
        if isinstance(self.network, ChangeNetwork):
            logits = self.network(view.image, view.valid)
            yield "loss", labelled_loss(logits, view, config.dice or 0.0, config.bce)
            return
        output = cast(PairNetwork, self.network).pair(view.image, view.valid)
        classes = cast(Tensor, output.classes)
        losses = {
            "semantic": config.semantic * (of_date(classes, view.mask, 0) + of_date(classes, view.mask, 1)),
            "bce": config.bce * change_cross_entropy(output.change, view.change),
            "dice": (1.0 if config.dice is None else config.dice) * change_dice(output.change, view.change),
        }
        yield "loss", total(losses, state)

    def predict(self, image: Tensor, valid: Tensor) -> Tensor:
        """As in `Method`: of one date; or of a pair B×2×C×H×W where change alone is known."""
        return predict_change(self.deployed(), image, valid)

    def judged(self, classes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """As in `Method`: the classes of both dates, and change; or change alone, which is then the map."""
        also = {} if isinstance(self.network, ChangeNetwork) else {CHANGE: CHANGE_NAMES}
        return {CLASSES: classes, **also}

    def judge(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """As in `Method`."""
        if isinstance(self.network, ChangeNetwork):
            return judge_change(self.network, batch)
        return judge_pair(cast(PairNetwork, self.network), batch)


def of_date(logits: Tensor, mask: Tensor, date: int) -> Tensor:
    """Cross-entropy of a date's classes; logits B×2×K×H×W, mask B×2×H×W."""
    return cross_entropy(logits[:, date], mask[:, date])
