"""Encoders: which timm models give the features that decoders read, and how to ask timm for them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import timm
import torch
from segmentation_models_pytorch.encoders import TimmViTEncoder
from torch import nn

from mapmend.core.errors import ModelError
from mapmend.core.plain import suggestion
from mapmend.nn.errb import ERRB, RP

MIT = tuple(f"mit_b{size}" for size in range(6))
"""SegFormer's encoders come from segmentation-models-pytorch: timm has none."""

PYRAMIDS = (
    "tf_efficientnet_lite0",
    "tf_efficientnet_b0",
    "resnet18",
    "resnet50",
    "convnext_tiny",
    "convnextv2_tiny",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "mobilenetv3_large_100",
    "regnety_016",
    "hrnet_w18",
    "mit_b0",
)
PLAIN = ("vit_small_patch14_dinov2", "vit_small_patch16_dinov3", "vit_small_patch16_224")

FULL = (*ERRB, *RP)
"""Backbones at full resolution, ours."""

ENCODERS = PYRAMIDS + PLAIN + FULL
"""One of each family that is tested; any other timm model is taken that gives the same kind of features."""

_PYRAMID_STRIDES = ((2, 4, 8, 16, 32), (4, 8, 16, 32), (1, 2, 4, 8, 16, 32))
_DEPTH = 4  # how many of a plain ViT's blocks are read


Kind = Literal["pyramid", "plain", "full"]


@dataclass(frozen=True)
class Traits:
    """What an encoder gives.

    Attributes:
        kind: pyramid (features at strides up to 32), plain (a ViT's, all at one stride) or full (all at stride 1).
        divisor: image sides must be multiples of it.
        options: keywords for timm that let the encoder take any image size.
        blocks: which blocks of a plain ViT are read.
    """

    kind: Kind
    divisor: int
    options: tuple[tuple[str, bool], ...] = ()
    blocks: tuple[int, ...] = ()

    @property
    def keywords(self) -> dict[str, Any]:
        """The options as keyword arguments."""
        return dict(self.options)


@cache
def traits(name: str) -> Traits:
    """What an encoder gives; no memory is taken for its weights.

    Raises:
        ModelError: timm has no such model, or its features are not what a decoder can read.
    """
    if name in MIT:
        return Traits("pyramid", 32)
    if name in FULL:
        return Traits("full", 1)
    if not timm.is_model(name):  # this also keeps out `hf-hub:` and `local-dir:` names, which would load foreign files
        near = suggestion(name.removeprefix("tu-"), [*timm.list_models(), *MIT, *FULL])
        raise ModelError(f"encoder '{name}' is unknown", fix=near if "did you mean" in near else _examples())
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
    except RuntimeError as fault:
        raise ModelError(f"encoder '{name}' cannot be built ({fault})", fix=_examples()) from None
    strides, accepted = _strides(model), _keywords(model)
    if len(strides) >= _DEPTH and len(set(strides)) == 1:
        if "dynamic_img_size" not in accepted:
            raise ModelError(f"encoder '{name}' takes images of one size only", fix=_examples())
        blocks = tuple(len(strides) * part // _DEPTH - 1 for part in range(1, _DEPTH + 1))
        return Traits("plain", 2 * strides[0], (("dynamic_img_size", True),), blocks)
    if strides in _PYRAMID_STRIDES:
        return Traits("pyramid", 32, (("strict_img_size", False),) if "strict_img_size" in accepted else ())
    told = " ".join(map(str, strides)) or "no known stride"
    raise ModelError(f"encoder '{name}' gives features at {told}, decoders read 4 8 16 32", fix=_examples())


def plain_encoder(name: str, in_channels: int) -> TimmViTEncoder:
    """A plain ViT that gives the tokens of four of its blocks, without the layers that nothing would read."""
    known = traits(name)
    blocks = list(known.blocks)
    encoder = TimmViTEncoder(
        name, pretrained=False, in_channels=in_channels, depth=_DEPTH, output_indices=blocks, **known.keywords
    )
    encoder.model.prune_intermediate_layers(blocks, prune_norm=True)
    return encoder


def _strides(model: nn.Module) -> tuple[int, ...]:
    info: Any = getattr(model, "feature_info", None) or []
    return tuple(one["reduction"] for one in (info if isinstance(info, list) else info.get_dicts(["reduction"])))


def _keywords(model: nn.Module) -> set[str]:
    """Names of what its class or a parent class takes: some pass all on to the parent."""
    return {key for parent in type(model).__mro__ for key in inspect.signature(parent).parameters}


def _examples() -> str:
    return f"use one such as {', '.join(PYRAMIDS[:3])}, {MIT[0]} or {PLAIN[0]}"
