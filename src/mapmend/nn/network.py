"""The network as it is trained and deployed: stored pixels in, logits at the image's size out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn, tensor

from mapmend.core.errors import ModelError
from mapmend.nn.cosine_head import LinearHead, PixelOutput
from mapmend.nn.spec import NetworkSpec

Features = list[Tensor] | tuple[list[Tensor], list[Tensor | None]]
"""Of an encoder: maps from fine to coarse, and a ViT's prefix tokens beside them."""

_REACH = 2.5  # standard deviations from a band's mean to black and white


class Network(nn.Module):
    """Normalisation, encoder, decoder and head.

    Args:
        spec: what it is made of.
        encoder: image → features.
        decoder: features → B×D×h×w.
        head: B×D×h×w → B×K×h×w.
        divisor: the encoder takes images whose sides are multiples of it.

    Attributes:
        spec: as given.
        mean: of the bands, 1×C×1×1; from the spec, so it is no part of the state.
        std: likewise.
        offset: of the logits, K×1×1 or empty; likewise.
    """

    mean: Tensor
    std: Tensor
    offset: Tensor

    def __init__(
        self, spec: NetworkSpec, encoder: nn.Module, decoder: nn.Module, head: nn.Module, divisor: int
    ) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = encoder
        self.decoder = decoder
        self.head = head
        self.divisor = divisor
        self.register_buffer("mean", tensor(spec.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", tensor(spec.std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("offset", tensor(spec.frequencies).log().view(-1, 1, 1), persistent=False)

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits.

        Args:
            image: B×C×H×W in its stored type.
            valid: B×C×H×W or B×1×H×W bool; None where all is valid.

        Returns:
            B×K×H×W, float32.

        Raises:
            ModelError: the image has another number of bands.
        """
        return self.with_features(image, valid)[0]

    def with_features(self, image: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Features]:
        """Logits as `forward` gives them, and the encoder's features of the padded image; arguments as in `forward`."""
        features = self.encoder(self.pad(self.normalise(image, valid)))
        return self._offset(self.at_image(self.head(self.decode(features)), image)), features

    def pixels(self, image: Tensor, valid: Tensor | None = None) -> PixelOutput:
        """Logits as `forward` gives them, and the feature that they were made from; arguments as in `forward`."""
        decoded = self.decoded(image, valid)
        if isinstance(self.head, LinearHead):
            feature = self.head.embed(decoded)
            logits, scale = self.head.classify(feature), self.head.scale
        else:
            feature, logits, scale = decoded, self.head(decoded), None
        return PixelOutput(self._offset(self.at_image(logits, image)), self.at_image(feature, image), scale)

    def decoded(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """What the head reads, B×D×h×w of the padded image; arguments as in `forward`."""
        return self.decode(self.encoder(self.pad(self.normalise(image, valid))))

    def at_image(self, maps: Tensor, image: Tensor) -> Tensor:
        """Maps of the padded image at the decoder's resolution → float32 at the image's own size."""
        height, width = image.shape[-2:]
        padded, maps = self._padded(height, width), maps.float()
        if maps.shape[-2:] != padded:
            maps = F.interpolate(maps, size=padded, mode="bilinear", align_corners=False)
        # a slice of all of it would cost a copy of its gradient
        return maps if padded == (height, width) else maps[..., :height, :width]

    def normalise(self, image: Tensor, valid: Tensor | None = None) -> Tensor:
        """(image − mean) / std as float32, 0 (the mean) where invalid; shapes as in `forward`."""
        if image.ndim != 4 or image.shape[1] != self.spec.in_channels:
            raise ModelError(
                f"an image of shape {'×'.join(map(str, image.shape))} for a network of {self.spec.in_channels} bands",
                fix="give batch × bands × rows × columns",
            )
        # float first: torch has no arithmetic on uint16 on the CPU
        normal = (image.float() - self.mean) / self.std
        return normal if valid is None else normal.masked_fill(~valid, 0)

    def pad(self, image: Tensor) -> Tensor:
        """Repeat the last row and column until the sides are multiples of the divisor.

        An image of one cell gets a second one: batch norms in the encoder's last stage need two values.
        """
        height, width = image.shape[-2:]
        padded = self._padded(height, width)
        below, right = padded[0] - height, padded[1] - width
        return F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image

    def _offset(self, logits: Tensor) -> Tensor:
        return logits + self.offset if self.spec.frequencies else logits

    def _padded(self, height: int, width: int) -> tuple[int, int]:
        rows, cols = (-(-side // self.divisor) for side in (height, width))
        cols = max(cols, 2) if rows == 1 else cols
        return rows * self.divisor, cols * self.divisor

    def decode(self, features: Features) -> Tensor:
        """The encoder's features (and a ViT's prefix tokens) → B×D×h×w at the decoder's resolution."""
        decoded: Tensor = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        return decoded

    @property
    def stem_name(self) -> str | None:
        """Name of the convolution that reads the bands; None where the bands are rearranged before it."""
        name, conv = _convolutions(self, "encoder")[0]
        return name if conv.in_channels == self.spec.in_channels else None

    @property
    def classifier_name(self) -> str:
        """Name of the convolution whose output channels are the classes."""
        return _convolutions(self, "head")[-1][0]


def _convolutions(network: Network, part: str) -> list[tuple[str, nn.Conv2d]]:
    inside = network.get_submodule(part).named_modules(prefix=part)
    return [(name, module) for name, module in inside if isinstance(module, nn.Conv2d)]


def black_and_white(network: Network) -> tuple[Tensor, Tensor]:
    """What counts as black and white in each band, C each, by the bands' statistics: their range is not known."""
    mean, reach = network.mean.flatten(), _REACH * network.std.flatten()
    return mean - reach, mean + reach
