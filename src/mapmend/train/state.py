"""All that a training is at a step: gathered for a checkpoint, and put back from one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mapmend.core.errors import JobError
from mapmend.methods.method import Method
from mapmend.train.checkpoint import Checkpoint, load_checkpoint
from mapmend.train.ema import Average, put, tensors_of
from mapmend.train.optimiser import learning
from mapmend.train.processes import Processes


@dataclass
class Counters:
    """The numbers of a training, all of JSON's types.

    Attributes:
        step: steps done, skipped ones included.
        updates: steps in which the optimiser moved.
        bad: non-finite steps in a row, up to now.
        caution: what the rate is multiplied with after non-finite steps.
        rate: the last learning rate.
        seconds: of training, over all sessions.
        evaluation_seconds: of the last evaluation.
        sums: per loss or note: sum and count since the last row of the log.
        history: evaluations, as the log has them.
        best_step: of the best evaluation.
        best: its criterion.
        stale: evaluations since then.
        log_rows: rows of the log that belong to what is done.
        stopped: why training is over: steps, patience or minutes; empty while it is not.
    """

    step: int = 0
    updates: int = 0
    bad: int = 0
    caution: float = 1.0
    rate: float = 0.0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_step: int | None = None
    best: float = 0.0
    stale: int = 0
    log_rows: int = 0
    stopped: str = ""


@dataclass
class TrainingState:
    """Method, optimiser, average, best weights and counters.

    Attributes:
        average: None without an average.
        chosen: weights of the best evaluation, on the CPU; empty before the first.
    """

    method: Method
    optimiser: Optimizer
    average: Average | None
    chosen: dict[str, Tensor]
    counters: Counters

    def averaged(self) -> AbstractContextManager[None]:
        """The deployed network computes with the average inside of the block, where there is one."""
        return self.average.in_place() if self.average else nullcontext()

    def keep_chosen(self) -> None:
        """Remember the weights that were evaluated as the best."""
        source = self.average.tensors if self.average else tensors_of(self.method.deployed())
        self.chosen = {name: tensor.detach().cpu().clone() for name, tensor in source.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under `method/`, `average/`, `chosen/` or `optimiser/<key>/`."""
        found = {f"method/{name}": tensor for name, tensor in self.method.state_dict().items()}
        if self.average:
            found |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        found |= {f"chosen/{name}": tensor for name, tensor in self.chosen.items()}
        for name, parameter in learning(self.method).items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                found[f"optimiser/{key}/{name}"] = value
        return found

    def scalars(self) -> dict[str, Any]:
        """The counters as plain values."""
        return asdict(self.counters)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state, bit for bit."""
        groups: dict[str, dict[str, Tensor]] = {"method": {}, "average": {}, "chosen": {}, "optimiser": {}}
        for path, tensor in checkpoint.tensors.items():
            group, _, name = path.partition("/")
            groups[group][name] = tensor
        self.method.load_state_dict(groups["method"])
        if self.average:
            for name, tensor in self.average.tensors.items():
                tensor.copy_(groups["average"][name])
        self.chosen = groups["chosen"]
        self._restore_optimiser(groups["optimiser"])
        counters = {name: value for name, value in checkpoint.scalars.items() if name != "identity"}
        self.counters = Counters(**counters)

    def deploy(self) -> None:
        """Put the weights that are to be used into the deployed network: the chosen ones, else the average."""
        if self.chosen:
            put(self.method.deployed(), self.chosen)
        elif self.average:
            put(self.method.deployed(), self.average.tensors)

    def _restore_optimiser(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = learning(self.method)
        for path, tensor in tensors.items():
            key, _, name = path.partition("/")
            parameter = parameters[name]
            if tensor.shape == parameter.shape and key != "step":
                # in the parameter's memory layout and device, as the optimiser itself would have made it
                tensor = torch.empty_like(parameter).copy_(tensor).detach()
            self.optimiser.state[parameter][key] = tensor


def resume(state: TrainingState, folder: Path, identity: str, processes: Processes) -> None:
    """Restore the newest whole checkpoint, the same one in all processes; without one the state stays as it is."""
    checkpoint = load_checkpoint(folder, identity) if processes.first else None
    step = processes.agree(checkpoint.step if checkpoint else None)
    if step is None:
        return
    checkpoint = checkpoint or load_checkpoint(folder, identity, at=step)
    if checkpoint is None:
        raise JobError(f"checkpoint {step} is seen by one process only", where=folder, fix="use a shared folder")
    state.restore(checkpoint)
    if state.counters.stopped == "minutes":  # the limit may have been raised since
        state.counters.stopped = ""
