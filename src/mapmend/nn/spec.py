"""What a network is made of: all that is needed to build it again, without the method that trained it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from mapmend.core.errors import ModelError
from mapmend.core.plain import suggestion

PLAIN_HEAD = "plain"
CHANGE_ALONE = "change"
PAIRS = ("cvaps_probability", "cvaps_logit", "features", CHANGE_ALONE)
"""What a network of two dates makes the change of: the classes' probabilities or logits, features, or that alone."""
MOST_CHANNELS = 4096
"""More bands or wider layers than this are a mistake, or a file made to exhaust the memory."""
MOST_CLASSES = 255
"""Class indices are uint8, and 255 says "no label"."""


@dataclass(frozen=True)
class NetworkSpec:
    """A segmentation network.

    Attributes:
        encoder: a timm model's name, such as `resnet18`, `mit_b0` … `mit_b5`, or `errb64` and its like.
        decoder: unet, fpn, deeplabv3plus, upernet, segformer, psp, dpt or concat.
        in_channels: bands of the image.
        classes: K, the channels of the logits.
        mean: per band, in the image's stored units.
        std: per band, in the image's stored units.
        decoder_widths: channels of the decoder's stages: five for unet, from coarse to fine; pyramid and segmentation
            for fpn; one for the others. Empty means the decoder's own, which building fills in.
        head: plain, linear, cosine or cosine_learned.
        frequencies: of the classes, K, whose logarithms are added to the head's logits: a cosine has no bias. Empty for
            none.
        pair: of a network of two dates, one of `PAIRS`; empty for one date.
        partial: whether it has learned to do without one of the images that are stacked for it.

    What has its default in the last four is left out of plain values, so that cards and hashes of such networks are
    what they were before there were others.
    """

    encoder: str
    decoder: str
    in_channels: int
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    decoder_widths: tuple[int, ...] = ()
    head: str = PLAIN_HEAD
    frequencies: tuple[float, ...] = ()
    pair: str = ""
    partial: bool = False

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def __post_init__(self) -> None:
        """Refuse numbers that contradict one another.

        Raises:
            ModelError: in one line.
        """
        if not 1 <= self.in_channels <= MOST_CHANNELS:
            raise ModelError(f"a network for {self.in_channels} bands", fix=f"give 1 to {MOST_CHANNELS}")
        if not 1 <= self.classes <= MOST_CLASSES:
            raise ModelError(f"a network for {self.classes} classes", fix=f"give 1 to {MOST_CLASSES}")
        if not len(self.mean) == len(self.std) == self.in_channels:
            raise ModelError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations for {self.in_channels} bands",
                fix="give one of each per band",
            )
        if self.frequencies and len(self.frequencies) != self.classes:
            raise ModelError(
                f"{len(self.frequencies)} frequencies for {self.classes} classes", fix="give one of each class"
            )
        if not all(value > 0 for value in self.frequencies):
            raise ModelError("a frequency is not above 0", fix="leave out frequencies, or give each class some")
        if not all(value > 0 for value in self.std):
            raise ModelError("a standard deviation is not above 0", fix="leave out bands that are constant")
        if self.pair and self.pair not in PAIRS:
            raise ModelError(f"pair '{self.pair}' is unknown", fix=suggestion(self.pair, PAIRS))

    def to_dict(self) -> dict[str, object]:
        """Plain values, as JSON has them."""
        left_out = (("head", PLAIN_HEAD), ("frequencies", ()), ("pair", ""), ("partial", False))
        return {name: value for name, value in asdict(self).items() if (name, value) not in left_out}

    @classmethod
    def from_dict(cls, plain: object, *, where: str | Path | None = None) -> NetworkSpec:
        """The spec that `to_dict` or JSON gave; nothing is converted, unknown keys are refused.

        Raises:
            ModelError: it is not a network spec.
        """
        try:
            return TypeAdapter(cls).validate_json(json.dumps(plain))
        except ValidationError as fault:
            raise _explained(fault, where) from None
        except (TypeError, ValueError) as fault:
            raise ModelError(f"is not a network spec ({fault})", where=where, fix="give plain values") from None


def _explained(fault: ValidationError, where: str | Path | None) -> ModelError:
    first = fault.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        known = [field.name for field in fields(NetworkSpec)]
        return ModelError(f"unknown key '{key}' in a network spec", where=where, fix=suggestion(key, known))
    return ModelError(f"'{key}' of a network spec: {first['msg']}", where=where, fix="correct it")
