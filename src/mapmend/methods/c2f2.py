"""C²F²: change from a few labelled pairs and many unlabelled ones, helped by a model of another task.

Zhang et al., "C²F²: Cross-Task Cross-Domain Feature Fusion for Semi-Supervised Change Detection" (IEEE GRSL 2024, doi
10.1109/LGRS.2024.3467260), built on FPA. Published: the student (`preset: published`), a frozen model Φ of 15
land-cover classes whose logits of both dates are weighed by scSE and fused into a secondary decoder, the four losses
with weights of 1, τ = 0.95, the strong view, and SGD with momentum at 1e-3 in the encoder and 1e-2 elsewhere, 80 passes
over the unlabelled pairs, batches of 4 and 4.

Ours: Φ may be any model folder, any timm backbone, or the student's encoder as it starts, whose features a learned
convolution 1×1 brings to 15 channels; it is always in `eval()`, which the public code forgets; the student may be any
encoder and decoder; labelled batches are drawn anew in every step (the public code repeats the same augmented ones);
the loop's AdamW takes SGD's place; views are those of `ViewSettings`, features are aligned as in `fpa`, and hidden
units are leaky. The secondary decoder learns from labelled pairs alone and is not deployed: mapping costs what the
student costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mapmend.core.settings import settings
from mapmend.losses.consistency import class_alignment, pseudo_label_loss
from mapmend.methods.change_views import (
    LOADERS,
    PairView,
    Weight,
    change_network,
    judge_change,
    labelled_loss,
    predict_change,
    strong_image,
    total,
    weak_view,
)
from mapmend.methods.fpa import FPAConfig
from mapmend.methods.method import Batch, Method, StepState, register
from mapmend.nn.change_decoder import FusedDecoder
from mapmend.nn.frozen import Frozen, frozen_backbone, frozen_copy, frozen_model
from mapmend.nn.pair_network import DATES, of_dates
from mapmend.nn.scse import SCSE
from mapmend.nn.spec import CHANGE_ALONE

_REDUCED = 15  # channels of features, as many as the published model has classes
_BACKBONE = "timm:"


@settings
class C2F2Config(FPAConfig):
    """Settings of `c2f2`; the defaults are the published ones but for how views are made and chosen.

    Attributes:
        fused_teaches: weight of what the secondary decoder teaches the weak view.
        phi: the other task's model: a model folder; or `timm:` and a backbone's name; empty for the encoder as it
            starts.
        phi_weights: of a timm backbone: hub, lite0, none, or a safetensors file.
    """

    fused_teaches: Weight = 1.0
    phi: str = ""
    phi_weights: str = "hub"


@register("c2f2")
class C2F2(Method):
    """Labelled cross-entropies of both decoders; of unlabelled pairs, pseudo-labels in two tiers, and alignment."""

    config_class = C2F2Config
    config: C2F2Config
    loaders = LOADERS
    dates = DATES
    published = ("resnet50s", "psp")

    def __init__(self, network: nn.Module, config: C2F2Config, counts: Sequence[int]) -> None:
        super().__init__(network, config, counts)
        if not config.phi:
            self._attach(frozen_copy(change_network(network)), logits=False)

    @classmethod
    def pair(cls, config: C2F2Config) -> str:
        """Change alone."""
        return CHANGE_ALONE

    def meet(self, classes: Sequence[str], folder: Path) -> None:
        """As in `Method`: reads the other task's model.

        Raises:
            ModelError: it cannot be had, or does not fit the images.
        """
        spec = change_network(self.network).spec
        if self.config.phi.startswith(_BACKBONE):
            weights = self.config.phi_weights
            file = folder / weights if weights.endswith(".safetensors") else weights
            name = self.config.phi.removeprefix(_BACKBONE)
            self._attach(frozen_backbone(name, file, spec), logits=False)
        elif self.config.phi:
            self._attach(
                frozen_model(folder / self.config.phi, self.bands, spec.in_channels, self.sensors), logits=True
            )

    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """`labelled` and `unlabelled`, which share no graph; their parts are noted."""
        network, config = change_network(self.network), self.config
        view = weak_view(batches["labelled"], config, state)
        features = network.joined(view.image, view.valid)
        losses = {
            "student": labelled_loss(network.at_image(network.head(features), view.image), view, self.config.dice),
            "secondary": labelled_loss(self._fused_logits(features.detach(), view), view, self.config.dice),
        }
        yield "labelled", total(losses, state)
        if state.progress < config.start:
            return

        view = weak_view(batches["unlabelled"], config, state)
        strong = strong_image(network, view, config, state)
        # one pass for both views: batch norms see them together
        features = network.joined(torch.cat([view.image.float(), strong]), torch.cat([view.valid, view.valid]))
        weak_logits, strong_logits = network.at_image(network.head(features), view.image).chunk(2)
        weak_features, strong_features = features.chunk(2)
        with torch.no_grad():
            fused_logits = self._fused_logits(weak_features, view)
        seen = view.seen
        by_fused, by_weak = (config.level(logits, seen) for logits in (fused_logits, weak_logits))
        losses = {
            "fused_teaches": config.fused_teaches * pseudo_label_loss(weak_logits, fused_logits, seen, by_fused),
            "weak_teaches": config.weak_teaches * pseudo_label_loss(strong_logits, weak_logits, seen, by_weak),
            "alignment": config.alignment
            * class_alignment(strong_features, weak_logits, seen, by_weak, centred=config.centred),
        }
        yield "unlabelled", total(losses, state)

    def predict(self, image: Tensor, valid: Tensor) -> Tensor:
        """As in `Method`, of a pair: image B×2×C×H×W, valid B×2×1×H×W → logits B×2×H×W."""
        return predict_change(self.deployed(), image, valid)

    def judge(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """As in `Method`: the map is the change."""
        return judge_change(self.deployed(), batch)

    def _attach(self, phi: Frozen, *, logits: bool) -> None:
        """Take the other model, and make what fuses it."""
        device = change_network(self.network).mean.device
        channels = phi.channels if logits else _REDUCED
        self.phi = phi.to(device)
        self.reduce = (nn.Identity() if logits else nn.Conv2d(phi.channels, _REDUCED, 1)).to(device)
        self.attention = SCSE(channels).to(device)
        self.secondary = FusedDecoder(change_network(self.network).width, DATES * channels).to(device)

    def _fused_logits(self, features: Tensor, view: PairView) -> Tensor:
        """Of the secondary decoder, B×2×H×W; it sees the student's features and what Φ says of both dates."""
        network = change_network(self.network)
        image, valid = view.image.flatten(0, 1), view.valid.flatten(0, 1)
        said = self.phi.at_image(self.reduce(self.phi(image, valid)), image)
        fused = of_dates(self.attention(said)).flatten(1, 2)
        # the features cover the padded image, and so must what is put beside them
        padded = network.pad(fused)
        logits: Tensor = self.secondary(features, padded)
        return logits[..., : image.shape[-2], : image.shape[-1]].float()
