"""A network run by OpenVINO, which is several times as fast as PyTorch on processors with bfloat16."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mapmend.core.errors import ModelError
from mapmend.core.legend import Legend
from mapmend.core.sensor import Sensor
from mapmend.predict.lattice import Lattice
from mapmend.predict.pair import knows_pairs, takes_any
from mapmend.predict.predictor import TorchPredictor

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def has_openvino() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoPredictor:
    """The network of a predictor in PyTorch, compiled for this processor at the first batch; `Predictor` for the rest.

    Args:
        single: of one date, on the processor; its precision is kept.

    Raises:
        ModelError: OpenVINO is not installed, or the network or the device is not for it.
    """

    def __init__(self, single: TorchPredictor) -> None:
        if not has_openvino():
            raise ModelError("OpenVINO is not installed", fix="pip install 'mapmend[openvino]', or --backend torch")
        if single.identity["device"] != "cpu":
            raise ModelError("OpenVINO runs on the processor here", fix="--device cpu, or --backend torch")
        if type(single) is not TorchPredictor or knows_pairs(single.network):
            raise ModelError("OpenVINO runs networks of one date", fix="use --backend torch")
        if takes_any(single.network):
            raise ModelError("OpenVINO runs no model that does without an image", fix="use --backend torch")
        self._network, self._precision = single.network, str(single.identity["precision"])
        self.legend: Legend = single.legend
        self.sensors: Sequence[Sensor] = single.sensors
        self.lattice: Lattice = single.lattice
        self.batch, self.calibration = single.batch, single.calibration
        self.identity: Mapping[str, object] = {**single.identity, "backend": "openvino"}
        self._compiled: dict[object, Any] = {}

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Softmax of the network's logits, in float32; shapes as in `Predictor`."""
        key = (pixels.shape, pixels.dtype, valid.shape)
        if key not in self._compiled:
            self._compiled[key] = self._compile(pixels, valid)
        logits = self._compiled[key].infer([pixels, valid])[0]
        return torch.from_numpy(logits).softmax(dim=1)

    def _compile(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> Any:
        import openvino
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        shapes = [list(pixels.shape), list(valid.shape)]
        example = (torch.from_numpy(pixels), torch.from_numpy(valid))
        with warnings.catch_warnings(), _quiet(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's, of branches on shapes: these are fixed
            # Without the tracer's checks, which run the network several times: two thirds of the conversion.
            told = {"example_input": example, "trace_kwargs": {"check_trace": False}}
            traced = TorchScriptPythonDecoder(_Stored(self._network).eval(), **told)
            model = openvino.convert_model(traced, example_input=example, input=shapes)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self._precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # several workers on one machine would be pinned to the same cores
        }
        return openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __getstate__(self) -> dict[str, Any]:
        """What is compiled stays in its process."""
        return {**self.__dict__, "_compiled": {}}


class _Stored(nn.Module):
    """The network on pixels as they are stored."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._inner = network

    def forward(self, image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._inner(image.float(), valid)
        return logits.float()


class _quiet:
    """Silences the converter's log lines."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)

    def __exit__(self, *exception: object) -> None:
        logging.disable(logging.NOTSET)
