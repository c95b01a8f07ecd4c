"""Whether encoder and decoder fit, and the network of random weights that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from mapmend.core.errors import ModelError
from mapmend.nn.decoders import DECODERS, PSP_STRIDE, assemble, decoder_of
from mapmend.nn.encoders import FULL, MIT, PLAIN, PYRAMIDS, traits
from mapmend.nn.network import Network
from mapmend.nn.pair_network import pair_network
from mapmend.nn.spec import NetworkSpec

_DILATED = {"deeplabv3plus": 16, "psp": PSP_STRIDE}
_READ = {"pyramid": "a pyramid of features", "plain": "plain ViTs", "full": "features at full resolution"}


def check(spec: NetworkSpec) -> NetworkSpec:
    """The spec with the decoder's widths filled in, if encoder and decoder fit; no large network is built.

    Raises:
        ModelError: unknown names, or a pair that does not fit: in one line that names what does.
    """
    decoder, known = decoder_of(spec), traits(spec.encoder)
    fault = _misfit(spec.encoder, spec.decoder) if known.kind == decoder.reads else f"it reads {_READ[decoder.reads]}"
    if fault is not None:
        others = _fitting_decoders(spec.encoder)
        advice = f"with '{spec.encoder}' use {_either(others)}; " if others else ""
        examples = _either({"pyramid": PYRAMIDS[:3], "plain": PLAIN, "full": FULL}[decoder.reads])
        raise ModelError(
            f"decoder '{spec.decoder}' does not fit encoder '{spec.encoder}' ({fault})",
            fix=f"{advice}with '{spec.decoder}' use an encoder such as {examples}",
        )
    return replace(spec, decoder_widths=spec.decoder_widths or decoder.widths)


def bare_network(spec: NetworkSpec) -> Network:
    """A network with random weights, drawn from torch's global generator.

    Raises:
        ModelError: as `check`.
    """
    spec = check(spec)
    kind = pair_network if spec.pair else Network
    return kind(spec, *assemble(spec), divisor=traits(spec.encoder).divisor)


def _fitting_decoders(encoder: str) -> list[str]:
    kind = traits(encoder).kind
    return [name for name, decoder in DECODERS.items() if decoder.reads == kind and _misfit(encoder, name) is None]


@cache
def _misfit(encoder: str, decoder: str) -> str | None:
    """Why a pair cannot work, or None: it is built and run on torch's `meta` device, which computes shapes alone."""
    if encoder in MIT:  # they fit all that read pyramids; to build one asks for values, which `meta` has not
        return None
    divisor = traits(encoder).divisor
    spec = NetworkSpec(encoder, decoder, 3, 2, (0.0,) * 3, (1.0,) * 3, DECODERS[decoder].widths)
    try:
        with torch.device("meta"):
            network = Network(spec, *assemble(spec), divisor=divisor).eval()
            network(torch.zeros(1, 3, 2 * divisor + 1, 3 * divisor))
    except Exception as fault:  # whatever the libraries raise, from an assertion to an unknown keyword
        told = (str(fault).splitlines() or [""])[0]
        if decoder in _DILATED and (not told or "output_stride" in told):
            return f"the encoder cannot be dilated to stride {_DILATED[decoder]}"
        return told or type(fault).__name__
    return None


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
