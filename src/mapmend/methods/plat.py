"""PLAT, of Paraformer (CVPR 2024): a second head learns where the first one bears the label out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Annotated, Protocol, cast

from pydantic import Field
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.robust import cross_entropy
from mapmend.methods.method import Batch, Method, StepState, dates_as_samples, register


class _TwoStage(Protocol):
    head: nn.Module

    def decoded(self, image: Tensor, valid: Tensor) -> Tensor: ...

    def at_image(self, maps: Tensor, image: Tensor) -> Tensor: ...


@settings
class PlatConfig:
    """Settings of `plat`.

    Attributes:
        first: weight of the first head's loss; the second's is 1 − first.
    """

    first: Annotated[float, Field(gt=0, lt=1)] = 0.5


@register("plat")
class Plat(Method):
    """Two heads on one decoder: the first learns every label, the second, which is deployed, those that it predicts."""

    config_class = PlatConfig
    config: PlatConfig

    def __init__(self, network: nn.Module, config: PlatConfig, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        self.first = deepcopy(cast(_TwoStage, network).head)

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """One loss, `loss`; the share of labels that the first head agrees with is noted."""
        image, valid, mask = dates_as_samples(batches["labelled"])
        network = cast(_TwoStage, self.network)
        decoded = network.decoded(image, valid)
        first, second = (network.at_image(head(decoded), image).float() for head in (self.first, network.head))
        agreed = mask.where(first.argmax(1) == mask, 255)
        labelled = (mask != 255).sum().clamp(min=1)
        state.note("agreed", (agreed != 255).sum() / labelled)
        share = self.config.first
        yield "loss", share * cross_entropy(first, mask) + (1 - share) * cross_entropy(second, agreed)
