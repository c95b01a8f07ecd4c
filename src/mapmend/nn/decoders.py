"""Decoders: which features each reads, its widths, and how encoder, decoder and head are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder, DPTSegmentationHead
from torch import Tensor, nn

from mapmend.core.errors import ModelError
from mapmend.core.plain import suggestion
from mapmend.nn.cosine_head import FEATURES, HEADS, make_head
from mapmend.nn.encoders import MIT, Kind, plain_encoder, traits
from mapmend.nn.errb import full_resolution_encoder
from mapmend.nn.psp import PSP
from mapmend.nn.spec import MOST_CHANNELS, PLAIN_HEAD, NetworkSpec

_LEAST_GROUP = 4  # channels of a group of a group norm, as many as in FPN's own 128
PSP_STRIDE = 8  # to which encoders are dilated for it


@dataclass(frozen=True)
class Decoder:
    """A decoder's needs.

    Attributes:
        reads: the kind of features.
        widths: channels of its stages where the spec gives none.
        arguments: what segmentation-models-pytorch calls them; a lone name takes all of them.
        multiple: widths must be multiples of it.
    """

    reads: Kind
    widths: tuple[int, ...]
    arguments: tuple[str, ...] = ()
    multiple: int = 1


DECODERS: Mapping[str, Decoder] = {
    "unet": Decoder("pyramid", (256, 128, 64, 32, 16), ("decoder_channels",)),
    "fpn": Decoder("pyramid", (256, 128), ("decoder_pyramid_channels", "decoder_segmentation_channels"), multiple=32),
    "deeplabv3plus": Decoder("pyramid", (256,), ("decoder_channels",)),
    "upernet": Decoder("pyramid", (256,), ("decoder_channels",)),
    "segformer": Decoder("pyramid", (256,), ("decoder_segmentation_channels",)),
    "psp": Decoder("pyramid", (512,)),
    "dpt": Decoder("plain", (128,), multiple=4),
    "concat": Decoder("full", (FEATURES,)),
}


def decoder_of(spec: NetworkSpec) -> Decoder:
    """The decoder a spec names.

    Raises:
        ModelError: there is none of that name, or the widths do not fit it; or there is no such head.
    """
    if spec.head not in HEADS:
        raise ModelError(f"head '{spec.head}' is unknown", fix=suggestion(spec.head, HEADS))
    if spec.decoder not in DECODERS:
        raise ModelError(f"decoder '{spec.decoder}' is unknown", fix=suggestion(spec.decoder, DECODERS))
    decoder, widths = DECODERS[spec.decoder], spec.decoder_widths
    sound = all(0 < width <= MOST_CHANNELS and width % decoder.multiple == 0 for width in widths)
    if widths and not (sound and len(widths) == len(decoder.widths)):
        multiples = f" multiples of {decoder.multiple}" if decoder.multiple > 1 else ""
        raise ModelError(
            f"widths {list(widths)} do not fit decoder '{spec.decoder}'",
            fix=f"give {len(decoder.widths)}{multiples}, such as {list(decoder.widths)}",
        )
    return decoder


def assemble(spec: NetworkSpec) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Encoder, decoder and head with random weights; the head gives logits at the decoder's resolution."""
    reads = DECODERS[spec.decoder].reads
    make = {"plain": _assemble_plain, "full": _assemble_full, "pyramid": _assemble_pyramid}[reads]
    encoder, decoder, head = make(spec)
    if spec.head != PLAIN_HEAD:
        decoded = next(layer for layer in head.modules() if isinstance(layer, nn.Conv2d)).in_channels
        head = make_head(spec.head, decoded, spec.classes)
        initialize_head(head)
    return encoder, decoder, head


def _assemble_pyramid(spec: NetworkSpec) -> tuple[nn.Module, nn.Module, nn.Module]:
    if spec.decoder == "psp":
        return _assemble_psp(spec)
    model = smp.create_model(
        spec.decoder,
        encoder_name=_smp_name(spec.encoder),
        encoder_weights=None,
        in_channels=spec.in_channels,
        classes=spec.classes,
        **_widths(spec),
        **traits(spec.encoder).keywords,
    )
    if spec.decoder == "deeplabv3plus":
        # Corner-aligned enlargement moves features by a share of a pixel that depends on the window's size.
        model.decoder.up.align_corners = False
    if spec.decoder == "fpn":
        model.decoder.merge = _Added()
    _widen_groups(model.decoder)
    _use_group_norm_after_global_mean(model.decoder)
    return model.encoder, model.decoder, model.segmentation_head[0]


def _assemble_psp(spec: NetworkSpec) -> tuple[nn.Module, nn.Module, nn.Module]:
    encoder = smp.encoders.get_encoder(
        _smp_name(spec.encoder),
        in_channels=spec.in_channels,
        weights=None,
        output_stride=PSP_STRIDE,
        **traits(spec.encoder).keywords,
    )
    width = spec.decoder_widths[0]
    decoder, head = PSP(encoder.out_channels[-1], width), nn.Conv2d(width, spec.classes, 1)
    _use_group_norm_after_global_mean(decoder)
    initialize_decoder(decoder)
    initialize_head(head)
    return encoder, decoder, head


def _smp_name(encoder: str) -> str:
    return encoder if encoder in MIT else f"tu-{encoder}"


def _widths(spec: NetworkSpec) -> dict[str, Any]:
    arguments, widths = DECODERS[spec.decoder].arguments, spec.decoder_widths
    if len(arguments) == len(widths):
        return dict(zip(arguments, widths, strict=True))
    return {arguments[0]: widths}


def _assemble_plain(spec: NetworkSpec) -> tuple[nn.Module, nn.Module, nn.Module]:
    encoder, width = plain_encoder(spec.encoder, spec.in_channels), spec.decoder_widths[0]
    decoder = DPTDecoder(
        encoder_out_channels=encoder.out_channels,
        # Maps of four, two, one and half a cell per token, whatever the patch's size. From the true stride of a
        # 14-pixel patch segmentation-models-pytorch makes fractions, rounds them, and gets maps that cannot be added.
        encoder_output_strides=[16, 16, 16, 16],
        encoder_has_prefix_tokens=encoder.has_prefix_tokens,
        readout="cat" if encoder.has_prefix_tokens else "ignore",
        intermediate_channels=[3 * width // 4, 3 * width // 2, 3 * width, 6 * width],  # as Depth Anything has them
        fusion_channels=width,
    )
    head = DPTSegmentationHead(width, spec.classes, kernel_size=3).head
    initialize_decoder(decoder)
    initialize_head(head)
    return encoder, decoder, head


class _Added(nn.Module):
    """The sum of features, without a copy of them all: FPN's own stacks them first."""

    def forward(self, features: list[Tensor]) -> Tensor:
        """Their sum, each B×D×h×w."""
        return reduce(torch.add, features)


class Concat(nn.Module):
    """Features at one resolution, each B×W×H×W, → Conv1×1 of all of them, B×D×H×W."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(in_channels, width, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """The pixel feature."""
        joined: Tensor = self.join(torch.cat(features, 1))
        return joined


def _assemble_full(spec: NetworkSpec) -> tuple[nn.Module, nn.Module, nn.Module]:
    encoder, width = full_resolution_encoder(spec.encoder, spec.in_channels), spec.decoder_widths[0]
    decoder = Concat(encoder.width * len(encoder.blocks), width)
    head = nn.Conv2d(width, spec.classes, 1)
    initialize_head(head)
    return encoder, decoder, head


def _use_group_norm_after_global_mean(decoder: nn.Module) -> None:
    """A global mean leaves one value per channel and image, of which a batch of one has no variance."""
    for branch in list(decoder.modules()):
        if isinstance(branch, nn.Sequential) and isinstance(branch[0], nn.AdaptiveAvgPool2d):
            if branch[0].output_size not in (1, (1, 1)):
                continue
            for parent in list(branch.modules()):
                for name, child in list(parent.named_children()):
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(parent, name, nn.GroupNorm(_groups(child.num_features), child.num_features))


def _widen_groups(decoder: nn.Module) -> None:
    """Group norms of FPN have 32 groups, which of 32 channels norms each by itself: how much there is of it is lost."""
    for norm in decoder.modules():
        if isinstance(norm, nn.GroupNorm) and norm.num_channels < _LEAST_GROUP * norm.num_groups:
            norm.num_groups = norm.num_channels // _LEAST_GROUP  # a multiple of 32 has no rest


def _groups(channels: int) -> int:
    """The most groups, up to 32, that leave two channels or more to each."""
    return next((groups for groups in (32, 16, 8, 4, 2) if channels % groups == 0 and channels >= 2 * groups), 1)
