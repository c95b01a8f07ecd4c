"""Going on from another model, also where classes or bands have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mapmend.core.errors import ModelError
from mapmend.core.legend import Legend
from mapmend.nn.model_folder import ModelCard
from mapmend.nn.network import Network
from mapmend.nn.report import WeightsReport


def warm_start(network: Network, other: Network, card: ModelCard, other_card: ModelCard) -> WeightsReport:
    """Copy all that fits from another network of the same encoder; what does not keeps its start.

    Decoder and head are of use where the decoders are of one kind.

    Bands and classes are matched by name. A new band's filters start at 0, so that the network first answers as the old
    one did; where no band is shared, each gets the mean filter × old / new bands. A new class's row keeps its start.

    Args:
        network: to be trained.
        other: to go on from.
        card: of `network`; its bands and its legend are used.
        other_card: of `other`.

    Raises:
        ModelError: the encoders differ.
    """
    past = other.spec
    if network.spec.encoder != past.encoder:
        raise ModelError(
            f"the model to go on from has encoder '{past.encoder}', this network '{network.spec.encoder}'",
            fix=f"train with encoder {past.encoder}, or start from other weights",
        )
    bands = _Match("bands", card.bands, other_card.bands)
    classes = _Match("classes", _class_names(card), _class_names(other_card))
    old, kept = other.state_dict(), {}
    state = network.state_dict()
    for name, own in state.items():
        useful = name.startswith("encoder.") or network.spec.decoder == past.decoder
        tensor = _fitted(name, own, old, network, bands, classes) if useful else None
        if tensor is not None:
            kept[name] = tensor
    network.load_state_dict(state | kept)
    fate = "with the mean filter" if not bands.kept else "with filters of 0"
    told = [f"goes on from {past.encoder} and {past.decoder}", bands.describe(fate), classes.describe("at random")]
    new = sorted({name.split(".")[0] for name in state if name not in kept})
    told += [f"not taken over: tensors of the {' and the '.join(new)}"] if new else []
    return WeightsReport("model", len(kept), len(state), "; ".join(told))


@dataclass(frozen=True)
class _Match:
    """Names of bands or classes now and before."""

    kind: str
    names: Sequence[str]
    old_names: Sequence[str]

    @property
    def sources(self) -> list[int | None]:
        """For each of the names, where it stood before; a name that comes twice is matched in order."""
        before = _numbered(self.old_names)
        return [before.index(name) if name in before else None for name in _numbered(self.names)]

    @property
    def kept(self) -> list[str]:
        return [name for name, at in zip(self.names, self.sources, strict=True) if at is not None]

    def describe(self, fate: str) -> str:
        """In words; `fate` is how the new ones start."""
        if list(self.names) == list(self.old_names):
            return f"the same {self.kind}"
        new = [name for name in self.names if name not in self.old_names]
        gone = [name for name in self.old_names if name not in self.names]
        parts = (("kept", self.kept), (f"new, {fate},", new), ("gone", gone))
        return f"{self.kind}: " + ", ".join(f"{what} {' '.join(names)}" for what, names in parts if names)


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    return [(name, list(names[:at]).count(name)) for at, name in enumerate(names)]


def _fitted(
    name: str, own: Tensor, old: Mapping[str, Tensor], network: Network, bands: _Match, classes: _Match
) -> Tensor | None:
    """The old tensor in the new one's shape, or None where there is nothing to take."""
    source = old.get(name)
    if source is None:
        return None
    if name == f"{network.stem_name}.weight":
        return _stem(source, bands)
    if name.startswith(f"{network.classifier_name}."):
        weight = f"{network.classifier_name}.weight"
        as_wide = old[weight].shape[1:] == network.get_parameter(weight).shape[1:]
        return _rows(own, source, classes) if as_wide and classes.kept else None
    return source if source.shape == own.shape else None


def _stem(source: Tensor, bands: _Match) -> Tensor:
    """Filters O×C×h×w of the new bands."""
    if not bands.kept:
        return source.mean(1, keepdim=True).repeat(1, len(bands.names), 1, 1) * (source.shape[1] / len(bands.names))
    return torch.stack([torch.zeros_like(source[:, 0]) if at is None else source[:, at] for at in bands.sources], 1)


def _rows(own: Tensor, source: Tensor, classes: _Match) -> Tensor:
    """Rows K×… of the new classes."""
    return torch.stack([row if at is None else source[at] for row, at in zip(own, classes.sources, strict=True)])


def _class_names(card: ModelCard) -> list[str]:
    return [entry.name for entry in Legend.from_dict(card.legend, where="legend").classes]
