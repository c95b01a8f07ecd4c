"""Networks of two dates: one encoder for both, and heads that say what each date shows and what changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base.initialization import initialize_head
from torch import Tensor, nn

from mapmend.core.errors import ModelError
from mapmend.nn.change_decoder import change_decoder
from mapmend.nn.cvaps import DeepCVAPS
from mapmend.nn.network import Features, Network
from mapmend.nn.spec import CHANGE_ALONE, PLAIN_HEAD, NetworkSpec

DATES = 2
_CHANGE_CLASSES = 2


@dataclass(frozen=True)
class PairParts:
    """What a network says of a pair, at the decoder's resolution.

    Attributes:
        features: F of both dates, B×2×D×h×w.
        classes: logits of both dates, B×2×K×h×w.
        change: logit, B×1×h×w.
    """

    features: Tensor
    classes: Tensor
    change: Tensor


@dataclass(frozen=True)
class PairOutput:
    """What a network says of a pair, at the image's size.

    Attributes:
        classes: logits of both dates, B×2×K×H×W float32; None where it knows change alone.
        change: logit, B×H×W float32.
    """

    classes: Tensor | None
    change: Tensor


class PairNetwork(Network):
    """A shared encoder and decoder, a head for the classes of each date, and one for the change between them.

    Called with a single date it is a `Network` like any other.

    Args:
        spec: its `pair` says what the change is made of: `cvaps_probability`, `cvaps_logit`, or `features`, which is
            |F_A − F_B|.
        encoder, decoder, head, divisor: as in `Network`; a plain head becomes a convolution 3×3, as published.

    Attributes:
        width: D, channels of the features.
        change: the head of change.
    """

    def __init__(
        self, spec: NetworkSpec, encoder: nn.Module, decoder: nn.Module, head: nn.Module, divisor: int
    ) -> None:
        width = _decoded_width(head)
        if spec.head == PLAIN_HEAD:
            head = nn.Conv2d(width, spec.classes, 3, padding=1)
            initialize_head(head)
        super().__init__(spec, encoder, decoder, head, divisor)
        self.width = width
        self.change: nn.Module
        if spec.pair == "features":
            self.change = change_decoder(width, 1)
        else:
            self.change = DeepCVAPS(spec.classes, "logit" if spec.pair == "cvaps_logit" else "probability")

    def parts(self, image: Tensor, valid: Tensor | None = None) -> PairParts:
        """Features and logits of a pair.

        Args:
            image: B×2×C×H×W in its stored type, the earlier date first.
            valid: B×2×1×H×W bool; None where all is valid.
        """
        features = self.decoded(*_stacked(image, valid))
        classes: Tensor = self.head(features)
        features, classes = of_dates(features), of_dates(classes)
        if isinstance(self.change, DeepCVAPS):
            change = self.change(classes[:, 0], classes[:, 1])
        else:
            change = self.change((features[:, 0] - features[:, 1]).abs())
        return PairParts(features, classes, change)

    def enlarge(self, parts: PairParts, image: Tensor) -> PairOutput:
        """Parts of an image B×2×C×H×W, at its size."""
        classes = of_dates(self.at_image(parts.classes.flatten(0, 1), image))
        return PairOutput(classes, self.at_image(parts.change, image)[:, 0])

    def at_features(self, label: Tensor, parts: PairParts) -> Tensor:
        """A label …×H×W, or whatever has no mean, by nearest neighbour at the features' resolution; …×h×w.

        Features beyond the image's edge get 255, or True.
        """
        padded, size = self._padded(*label.shape[-2:]), parts.features.shape[-2:]
        below, right = (whole - own for whole, own in zip(padded, label.shape[-2:], strict=True))
        beyond = F.pad(label, (0, right, 0, below), value=True if label.dtype == torch.bool else 255)
        rows, cols = (
            torch.arange(few, device=label.device) * whole // few for few, whole in zip(size, padded, strict=True)
        )
        return beyond[..., rows[:, None], cols]

    def pair(self, image: Tensor, valid: Tensor | None = None) -> PairOutput:
        """Classes and change of a pair; arguments as in `parts`."""
        return self.enlarge(self.parts(image, valid), image)


class ChangeNetwork(Network):
    """Change alone: a shared encoder, the differences |E(A) − E(B)| of its features, one decoder, two logits.

    Args:
        spec: of two classes, unchanged and changed, in this order.
        encoder, decoder, head, divisor: as in `Network`; the head is C²F²'s decoder.

    Attributes:
        width: D, channels of what the decoder makes of the differences.
    """

    def __init__(
        self, spec: NetworkSpec, encoder: nn.Module, decoder: nn.Module, head: nn.Module, divisor: int
    ) -> None:
        if spec.classes != _CHANGE_CLASSES:
            raise ModelError(
                f"a network of change alone for {spec.classes} classes", fix="use a legend of unchanged and changed"
            )
        width = _decoded_width(head)
        super().__init__(spec, encoder, decoder, change_decoder(width, spec.classes), divisor)
        self.width = width

    def differences(self, image: Tensor, valid: Tensor | None = None) -> Features:
        """|E(A) − E(B)| of every map of the encoder, B×…, as its decoder reads them.

        Args:
            image: B×2×C×H×W in its stored type, the earlier date first.
            valid: B×2×1×H×W bool; None where all is valid.
        """
        features = self.encoder(self.pad(self.normalise(*_stacked(image, valid))))
        if isinstance(features, tuple):  # of a ViT, whose prefix tokens may be none
            maps, prefixes = features
            return [_apart(one) for one in maps], [one if one is None else _apart(one) for one in prefixes]
        return [_apart(one) for one in features]

    def joined(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """f, B×D×h×w of the padded pair; arguments as in `differences`."""
        return self.decode(self.differences(image, valid))

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits B×2×H×W, float32, of unchanged and changed; arguments as in `differences`."""
        return self.at_image(self.head(self.joined(image, valid)), image)

    def pair(self, image: Tensor, valid: Tensor | None = None) -> PairOutput:
        """The change of a pair, as the logit of its probability; arguments as in `differences`."""
        logits = self(image, valid)
        return PairOutput(None, logits[:, 1] - logits[:, 0])


def pair_network(
    spec: NetworkSpec, encoder: nn.Module, decoder: nn.Module, head: nn.Module, divisor: int
) -> PairNetwork | ChangeNetwork:
    """The network that `spec.pair` names."""
    kind = ChangeNetwork if spec.pair == CHANGE_ALONE else PairNetwork
    return kind(spec, encoder, decoder, head, divisor)


def _decoded_width(head: nn.Module) -> int:
    return next(layer for layer in head.modules() if isinstance(layer, nn.Conv2d)).in_channels


def _stacked(image: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if image.ndim != 5 or image.shape[1] != DATES:
        raise ModelError(
            f"an image of shape {'×'.join(map(str, image.shape))} for a network of two dates",
            fix="give batch × 2 × bands × rows × columns",
        )
    return image.flatten(0, 1), None if valid is None else valid.flatten(0, 1)


def of_dates(maps: Tensor) -> Tensor:
    """Maps (B·2)×… of pairs, date by date, with the dates on an axis of their own: B×2×…."""
    return maps.view(len(maps) // DATES, DATES, *maps.shape[1:])


def _apart(features: Tensor) -> Tensor:
    """|a − b| of both dates' features."""
    return (features[::DATES] - features[1::DATES]).abs()
