"""A network that another one learns from: never trained, always in `eval()`, and what it says of every pixel."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from mapmend.core.errors import ModelError
from mapmend.core.sensor import Sensor
from mapmend.nn.build import build_network
from mapmend.nn.encoders import traits
from mapmend.nn.model_folder import load_model
from mapmend.nn.network import Network
from mapmend.nn.spec import NetworkSpec

_STRIDE = 16  # of the map that is read, at most: deeper ones show too little of where things are


class Frozen(nn.Module):
    """A frozen network's class logits, or the deepest features at stride 16 or finer.

    Args:
        network: of one date.
        logits: whether it is asked for class logits; else for features.
        bands: which channels of an image it reads; all where None.

    Attributes:
        channels: of what it says.
    """

    def __init__(self, network: Network, *, logits: bool, bands: Sequence[int] | None = None) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self._logits = logits
        self._bands = None if bands is None else list(bands)
        if not logits:  # nothing would read the rest
            self.network.decoder, self.network.head = nn.Identity(), nn.Identity()
        self.train(False)
        side = 2 * network.divisor
        with torch.no_grad():
            blank = torch.zeros(1, network.spec.in_channels, side, side, device=network.mean.device)
            self.channels = int(self._seen(blank, None).shape[1])

    def train(self, mode: bool = True) -> Self:
        """Stays in `eval()`: batch norms and dropout must not see what it is shown."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """What it says of images N×C×H×W in stored units, valid N×1×H×W: N×C'×h×w of the padded image."""
        return self._seen(image if self._bands is None else image[:, self._bands], valid)

    def at_image(self, maps: Tensor, image: Tensor) -> Tensor:
        """Maps of the padded image → at the image's size."""
        return self.network.at_image(maps, image)

    def _seen(self, image: Tensor, valid: Tensor | None) -> Tensor:
        if self._logits:
            return self.network.head(self.network.decoded(image, valid)).float()  # type: ignore[no-any-return]
        padded = self.network.pad(self.network.normalise(image, valid))
        features = self.network.encoder(padded)
        maps: list[Tensor] = features[0] if isinstance(features, tuple) else features
        return [one for one in maps if one.shape[-1] * _STRIDE >= padded.shape[-1]][-1].float()


def frozen_model(folder: Path, bands: Sequence[str], channels: int, sensors: Mapping[str, Sensor]) -> Frozen:
    """The class logits of a model folder, by the bands that it was trained with.

    Args:
        folder: the model's, of one date.
        bands: names of the image's channels; empty where nobody knows, and then all are read in order.
        channels: of the image.
        sensors: the image's sensor cards by modality; what is not among them is not checked.

    Raises:
        ModelError: there is no such model, or the image has not the bands it reads, or numbers of another meaning.
    """
    network, card = load_model(folder)
    if network.spec.pair == "change":
        raise ModelError(
            "knows change alone, and a model of one date is wanted", where=folder, fix="give another model"
        )
    lacking = [band for band in card.bands if band not in bands] if bands else []
    if lacking or (not bands and channels != len(card.bands)):
        has = f"has {', '.join(bands)}" if bands else f"is of {channels}"
        raise ModelError(
            f"reads bands {', '.join(card.bands)}, and the image {has}",
            where=folder,
            fix="give a model of the same sensors, named alike in the project",
        )
    for modality in (name for name in card.sensors if name in sensors):
        own, given = Sensor.from_dict(card.sensors[modality], where=folder), sensors[modality]
        name = given.differs_in(own)
        if name is not None:
            raise ModelError(
                f"reads '{modality}' with {name} {getattr(own, name)}, and the image's has {getattr(given, name)}",
                where=folder,
                fix="give a model that was trained with the same sensor card",
            )
    return Frozen(network, logits=True, bands=[list(bands).index(band) for band in card.bands] if bands else None)


def frozen_backbone(name: str, weights: str | Path, like: NetworkSpec) -> Frozen:
    """The features of a timm backbone.

    Args:
        name: of the backbone.
        weights: as in `load_weights`.
        like: whose bands, means and standard deviations are used.

    Raises:
        ModelError: there is no such backbone, or the weights cannot be had.
    """
    decoder = {"plain": "dpt", "full": "concat", "pyramid": "fpn"}[traits(name).kind]
    spec = NetworkSpec(name, decoder, like.in_channels, 2, like.mean, like.std)
    return Frozen(build_network(spec, weights)[0], logits=False)


def frozen_copy(network: Network) -> Frozen:
    """The features of a network's encoder as it is now."""
    return Frozen(copy.deepcopy(network), logits=False)
