"""A model as a folder: `model.safetensors` with the weights, `model.json` with all else and the weights' SHA-256."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from mapmend.core.calibration import Calibration
from mapmend.core.durable import replace_file, sync, typed_faults
from mapmend.core.errors import ModelError
from mapmend.core.provenance import value_hash
from mapmend.nn.fitting import bare_network
from mapmend.nn.network import Network
from mapmend.nn.spec import NetworkSpec

SCHEMA = 1
_FORMAT = "mapmend-model"
_WEIGHTS, _CARD, _NEXT = "model.safetensors", "model.json", "model.json.next"
_MOST_CARD_BYTES = 64 * 2**20  # provenance may list many inputs; what is larger is no card
_AGAIN = "copy or train the model again"


CLASS_SHARES = "class_shares"
"""In a card's provenance: share of each class in the labels that were learned from."""

BELIEVED_SHARES = "believed_shares"
"""In a card's provenance: the same of the mixtures that the labels' product stands for, where it has them."""


@dataclass(frozen=True)
class ModelCard:
    """What must be known of a network to use it and to trust it.

    Attributes:
        spec: the network's.
        sensors: sensor card as plain values, by modality, in the order in which they are stacked.
        legend: as plain values.
        window: side in pixels of the squares it is applied to.
        overlap: of neighbouring squares, in pixels.
        bands: names of the input's channels, in order.
        method: that trained it.
        metrics: on validation data; what is not finite becomes null.
        provenance: what it was made from.
        calibration: of its blended probabilities, or None. A card without one is the same as before there were any;
            a card with one is refused by versions that would map without it.

    Raises:
        ModelError: bands, classes, calibration or overlap contradict spec or window.
    """

    spec: NetworkSpec
    sensors: Mapping[str, Mapping[str, object]]
    legend: Mapping[str, object]
    window: int
    overlap: int
    bands: tuple[str, ...]
    method: str = ""
    metrics: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot belong together."""
        classes = self.legend.get("classes")
        if not isinstance(classes, list | tuple) or len(classes) != self.spec.classes:
            raise ModelError(f"its legend does not have the {self.spec.classes} classes of its network", fix=_AGAIN)
        if len(self.bands) != self.spec.in_channels:
            told = f"{len(self.bands)} band names for a network of {self.spec.in_channels} bands"
            raise ModelError(told, fix="name each band of the input once")
        calibrated = self.calibration.classes if self.calibration is not None else None
        if calibrated not in (None, self.spec.classes):
            told = f"its calibration is of {calibrated} classes, its network has {self.spec.classes}"
            raise ModelError(told, fix=_AGAIN)
        if not 0 <= self.overlap < self.window:
            told = f"windows of {self.window} pixels that overlap by {self.overlap}"
            raise ModelError(told, fix="give an overlap of at least 0 and below the window")


class _CardFile(BaseModel):
    """`model.json`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["mapmend-model"]
    schema_version: Literal[1]
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    spec: dict[str, JsonValue]
    sensors: dict[str, dict[str, JsonValue]]
    legend: dict[str, JsonValue]
    window: int
    overlap: int
    bands: tuple[str, ...]
    method: str
    metrics: dict[str, JsonValue]
    provenance: dict[str, JsonValue]
    calibration: dict[str, JsonValue] | None = None


def save_model(folder: str | Path, network: Network, card: ModelCard) -> Path:
    """Write a model folder; whatever happens meanwhile, it holds the old model or the new one.

    The new card waits beside the old one while the weights are exchanged: a reader that finds weights which only the
    waiting card describes uses that one.

    Raises:
        ModelError: the card is another network's, or the folder cannot be written.
        DiskError: the disk is full.
    """
    folder = Path(folder)
    if replace(card.spec, decoder_widths=network.spec.decoder_widths) != network.spec:
        raise ModelError("the card describes another network", where=folder, fix="give the card the network's spec")
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()})
    content = _written(replace(card, spec=network.spec), hashlib.sha256(weights).hexdigest())
    _checked(content, folder)
    replace_file(folder / _NEXT, content, error=ModelError)
    replace_file(folder / _WEIGHTS, weights, error=ModelError)
    with typed_faults(folder, error=ModelError):
        (folder / _NEXT).replace(folder / _CARD)
        sync(folder)
    return folder


def load_model(folder: str | Path) -> tuple[Network, ModelCard]:
    """The network, in `eval()` on the CPU, and its card; nothing is used that is not checked first.

    Raises:
        ModelError: the folder is missing, holds something else or is damaged, or its network cannot be built here.
    """
    folder = Path(folder)
    file, weights = _read(folder)
    card = _card(file, folder)
    network = bare_network(card.spec)
    try:
        network.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ModelError(f"its weights do not fit its network ({reason})", where=folder, fix=_AGAIN) from None
    return network.eval(), card


def read_card(folder: str | Path) -> ModelCard:
    """The card alone, once its weights are seen to be there and whole.

    Raises:
        ModelError: as `load_model`.
    """
    return _card(_read(Path(folder))[0], Path(folder))


def learned_shares(models: Sequence[Path]) -> tuple[float, ...]:
    """Class shares in the labels that models learned from, their mean.

    Raises:
        ModelError: as `load_model`, or a card does not say them.
    """
    return _mean([_shares(model) for model in models])


def prior_shares(models: Sequence[Path]) -> tuple[float, ...]:
    """By what share each class's probability is divided where a label counts beside the image, the models' mean.

    The larger one of what a model learned from and of what the label's mixtures believe: a class that is rarer in what
    was learned than in the beliefs would else grow on whatever looks unlike the rest.

    Raises:
        ModelError: as of `learned_shares`.
    """
    every = []
    for model in models:
        learned, believed = _shares(model), read_card(model).provenance.get(BELIEVED_SHARES)
        both = zip(learned, believed, strict=True) if isinstance(believed, list) else zip(learned, strict=True)
        every.append([max(map(float, of_class)) for of_class in both])
    return _mean(every)


def _shares(model: Path) -> list[float]:
    shares = read_card(model).provenance.get(CLASS_SHARES)
    if not isinstance(shares, list) or not any(shares):
        raise ModelError(
            "does not say how common each class was in its labels", where=model, fix="train it again with labels"
        )
    return [float(share) for share in shares]


def _mean(every: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(of_class) / len(every) for of_class in zip(*every, strict=True))


def model_hash(folder: str | Path) -> str:
    """Identity of a model: of all that its output depends on, so not of its method, metrics and provenance.

    Raises:
        ModelError: as `load_model`.
    """
    file, _ = _read(Path(folder))
    apart = {"method", "metrics", "provenance", *(() if file.calibration else ("calibration",))}
    return value_hash(file.model_dump(mode="json", exclude=apart))


def _written(card: ModelCard, sha256: str) -> bytes:
    plain = {"format": _FORMAT, "schema_version": SCHEMA, "weights_sha256": sha256}
    plain |= {one.name: getattr(card, one.name) for one in fields(card)} | {"spec": card.spec.to_dict()}
    if card.calibration is None:
        del plain["calibration"]
    else:
        plain["calibration"] = card.calibration.to_dict()
    return (json.dumps(_finite(plain), indent=1) + "\n").encode()


def _finite(value: object) -> object:
    """The value with null for what JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(folder: Path) -> tuple[_CardFile, bytes]:
    """The card, and the weights it vouches for."""
    found = [folder / name for name in (_CARD, _NEXT) if (folder / name).is_file()]
    if not found:
        raise ModelError("is not a model folder (no model.json)", where=folder, fix="give a folder that `train` wrote")
    try:
        if max(path.stat().st_size for path in found) > _MOST_CARD_BYTES:
            raise ModelError("is too large for a model's card", where=folder / _CARD, fix=_AGAIN)
        cards = [_checked(path.read_bytes(), folder) for path in found]
        weights = (folder / _WEIGHTS).read_bytes()
    except OSError as fault:
        raise ModelError(f"cannot be read ({fault.strerror}: {fault.filename})", where=folder, fix=_AGAIN) from None
    sha256 = hashlib.sha256(weights).hexdigest()
    for card in cards:
        if card.weights_sha256 == sha256:
            return card, weights
    raise ModelError("is not what model.json describes (SHA-256 differs)", where=folder / _WEIGHTS, fix=_AGAIN)


def _checked(content: bytes, folder: Path) -> _CardFile:
    where = folder / _CARD
    try:
        plain = json.loads(content)
    except (ValueError, RecursionError) as fault:
        raise ModelError(f"is not JSON ({fault})", where=where, fix=_AGAIN) from None
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise ModelError("is not a mapmend model's", where=where, fix="give a folder that `train` wrote")
    if plain.get("schema_version") != SCHEMA:
        told = f"is of schema {plain.get('schema_version')}, this version reads {SCHEMA}"
        raise ModelError(told, where=where, fix="use the version that wrote it")
    try:
        return _CardFile.model_validate_json(content)
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"'{key}': {first['msg']}", where=where, fix=_AGAIN) from None


def _card(file: _CardFile, folder: Path) -> ModelCard:
    where = folder / _CARD
    plain = {one.name: getattr(file, one.name) for one in fields(ModelCard)}
    try:
        plain["spec"] = NetworkSpec.from_dict(file.spec, where=where)
        if file.calibration is not None:
            plain["calibration"] = Calibration.from_dict(file.calibration, where=where)
        return ModelCard(**plain)
    except ModelError as fault:
        raise fault if fault.where else ModelError(fault.what, where=where, fix=_AGAIN) from None
