"""The processes that train together: how they start, and how they stay equal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn

from mapmend.core.errors import TrainError
from mapmend.train.config import LoopConfig


def launch(config: LoopConfig) -> Fabric:
    """Choose the device and join the other processes; with `devices` above 1 the command is started once more for each.

    To be called early, for each process does all that comes after.

    Raises:
        TrainError: there is no such device.
    """
    # must stand before CUDA starts; without it cuBLAS may add in another order each time
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    devices, nodes = _layout(config)
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            precision=config.precision,
        )
        fabric.launch()
    except (RuntimeError, ValueError) as fault:
        raise TrainError(
            f"cannot start on '{config.accelerator}' ({fault})", fix="choose another accelerator"
        ) from None
    return fabric


def _layout(config: LoopConfig) -> tuple[int, int]:
    """Processes on this machine, and machines."""
    environment = os.environ
    if TorchElasticEnvironment.detect():
        here, all_ = int(environment["LOCAL_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
    elif int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:  # set by srun alone; a batch script is one process
        all_ = int(environment["SLURM_STEP_NUM_TASKS"])
        here = all_ // int(environment.get("SLURM_STEP_NUM_NODES", 1))
    else:
        return config.devices or 1, 1
    if config.devices not in (None, here):
        raise TrainError(
            f"devices: {config.devices}, but {here} processes were started on this machine", fix="leave 'devices' out"
        )
    return here, all_ // here


class Processes:
    """Collective operations; with one process each is nothing.

    Attributes:
        rank: this process.
        world: how many there are.
        device: this process's.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.world, self.device = fabric.global_rank, fabric.world_size, fabric.device
        self._fabric = fabric

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all."""
        self._fabric.barrier()

    def agree(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        return self._fabric.broadcast(value)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.world > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def average_gradients(self, parameters: Sequence[nn.Parameter], flags: Tensor) -> Tensor:
        """Set gradients to their mean over the processes and return the flags' sum, in one message.

        A parameter without gradient counts as zeros; one that has none in any process is left without, as in a run by a
        single process, so that the optimiser passes it over.
        """
        if self.world == 1:
            return flags
        present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=self.device)
        pieces = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in parameters]
        sizes = [len(piece) for piece in pieces]
        message = torch.cat([*pieces, present, flags])
        dist.all_reduce(message)
        *gradients, present, flags = torch.split(message, [*sizes, len(present), len(flags)])
        for parameter, gradient, owners in zip(parameters, gradients, present.tolist(), strict=True):
            if owners:
                # like the parameter in its memory layout, which view_as alone would not keep
                parameter.grad = torch.empty_like(parameter).copy_(gradient.view_as(parameter)).div_(self.world)
        return flags

    @torch.no_grad()
    def share(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors to the first process's, in one message for each type."""
        if self.world == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for dtype, group in by_type.items():
            message = torch.cat([tensor.detach().reshape(-1) for tensor in group])
            if dtype == torch.bool:
                message = message.to(torch.uint8)
            dist.broadcast(message, 0)
            for tensor, piece in zip(group, torch.split(message, [tensor.numel() for tensor in group]), strict=True):
                tensor.copy_(piece.view_as(tensor))
