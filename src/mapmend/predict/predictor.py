"""What turns windows of pixels into probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mapmend.core.calibration import Calibration
from mapmend.core.errors import ModelError
from mapmend.core.legend import Legend
from mapmend.core.sensor import Sensor
from mapmend.predict.lattice import Lattice

Precision = Literal["float32", "bfloat16"]
Say = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_BATCH_PIXELS = {"cpu": 2**20, "cuda": 2**22}  # more gains nothing: 4 windows of 512 pixels keep a processor busy


class Predictor(Protocol):
    """A model, or whatever else gives every pixel of a window a probability for every class.

    Attributes:
        legend: the K classes.
        sensors: cards of the images it takes, one per modality, in order; empty to take any.
        lattice: side and overlap of the windows.
        batch: windows per call at most; every call for a map has the same number.
        identity: what its numbers depend on, as plain values: weights, backend, precision, threads, calibration.
        calibration: of its blended probabilities, or None.
    """

    legend: Legend
    sensors: Sequence[Sensor]
    lattice: Lattice
    batch: int
    identity: Mapping[str, object]
    calibration: Calibration | None

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Class probabilities.

        Args:
            pixels: N×C×W×W in the stored type, 0 where invalid.
            valid: N×C×W×W, or N×1×W×W where all channels share one validity.

        Returns:
            N×K×W×W float32 on any device; the caller may overwrite it. What a window gets must not depend on its place
            in the batch, nor on its neighbours there.
        """
        ...


class TorchPredictor:
    """A network in PyTorch.

    Args:
        network: image N×C×H×W, valid → logits N×K×H×W.
        legend: its classes.
        sensors: cards of the images it takes.
        lattice: side and overlap of the windows.
        device: auto, cpu, cuda or cuda:N.
        precision: of convolutions and products of matrices; normalisation and probabilities are float32 always.
        batch: windows per call; by default as many as keep the device busy.
        weights: hash of the weights.
        calibration: of the blended probabilities; `probabilities` are not calibrated.

    Raises:
        ModelError: the device or the precision is not there.
    """

    def __init__(
        self,
        network: nn.Module,
        legend: Legend,
        sensors: Sequence[Sensor],
        lattice: Lattice,
        *,
        device: str = "auto",
        precision: Precision = "float32",
        batch: int | None = None,
        weights: str = "",
        calibration: Calibration | None = None,
    ) -> None:
        self._device = choose_device(device)
        if precision not in ("float32", "bfloat16"):
            raise ModelError(f"precision '{precision}' is unknown", fix="choose float32 or bfloat16")
        self._network = network.eval().to(self._device).to(memory_format=torch.channels_last)
        self._precision = precision
        self.legend, self.lattice, self.calibration = legend, lattice, calibration
        self.sensors: Sequence[Sensor] = tuple(sensors)
        self.batch = batch or max(1, _BATCH_PIXELS.get(self._device.type, 2**20) // lattice.size**2)
        self.identity: Mapping[str, object] = {
            "weights": weights,
            "backend": "torch",
            "device": self._device.type,
            "threads": torch.get_num_threads() if self._device.type == "cpu" else 0,
            "precision": precision,
            **({"calibration": calibration.to_dict()} if calibration is not None else {}),
        }

    @property
    def network(self) -> nn.Module:
        """As given, on the device."""
        return self._network

    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Softmax of the network's logits; shapes as in `Predictor`."""
        return self.computed(pixels, valid, lambda image, mask: self._network(image, mask).float().softmax(dim=1))

    def computed(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_], say: Say) -> torch.Tensor:
        """What `say` makes of windows on the device: image and valid → maps, in the precision that was chosen."""
        with torch.inference_mode(), self._autocast():
            image = torch.from_numpy(pixels).to(self._device, non_blocking=True)
            mask = torch.from_numpy(valid).to(self._device, non_blocking=True)
            return say(image.float().contiguous(memory_format=torch.channels_last), mask).contiguous()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == "bfloat16")


def load_predictor(
    folder: Path,
    *,
    window: int | None = None,
    overlap: int | None = None,
    batch: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
) -> TorchPredictor:
    """The predictor of a model folder; window and overlap are the model's own where not given.

    Raises:
        ModelError: the folder holds no model, or it has been changed.
        ProjectError: window and overlap do not fit together.
    """
    # Here, because it imports timm: seconds that other predictors do not need.
    from mapmend.nn.model_folder import load_model, model_hash
    from mapmend.nn.spec import CHANGE_ALONE
    from mapmend.predict.pair import ChangePredictor

    network, card = load_model(folder)
    kind = ChangePredictor if card.spec.pair == CHANGE_ALONE else TorchPredictor
    side = window or card.window
    # A window of the user's own with the model's overlap would be refused where it is small.
    shared = overlap if overlap is not None else min(card.overlap, side // 4) if window else card.overlap
    return kind(
        network,
        Legend.from_dict(card.legend, where=folder),
        [Sensor.from_dict(sensor, where=folder) for sensor in card.sensors.values()],
        Lattice(side, shared),
        device=device,
        precision=precision,
        batch=batch,
        weights=model_hash(folder),
        calibration=card.calibration,
    )


def choose_device(name: str) -> torch.device:
    """The device that a name means; `auto` is the first GPU, or the processor.

    Raises:
        ModelError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device '{name}' cannot be used ({reason})", fix="use --device cpu or auto") from None
    return device
