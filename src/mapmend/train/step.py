"""One optimiser step, whatever the method: backward on each loss as it comes, then one update if all is finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from mapmend.methods.method import Batch, Method, StepState
from mapmend.train.optimiser import learning, set_rate
from mapmend.train.processes import Processes
from mapmend.train.state import TrainingState


@dataclass(frozen=True)
class Outcome:
    """What a step came to.

    Attributes:
        finite: whether losses and gradients were, in all processes; if not, nothing has changed.
        asked: whether any process was asked to stop.
        seconds: the first process's clock, in all of them.
        losses: this process's, by name.
        notes: what the method noted, by name.
    """

    finite: bool
    asked: bool
    seconds: float
    losses: dict[str, float]
    notes: dict[str, float]


def take_step(
    state: TrainingState,
    batches: Mapping[str, Batch],
    now: StepState,
    rate: float,
    clip: float,
    fabric: Fabric,
    processes: Processes,
    *,
    asked: bool,
    seconds: float,
) -> Outcome:
    """Train on one batch of each loader.

    Args:
        state: changed in place.
        batches: by loader, on the device.
        now: the step.
        rate: of learning.
        clip: the largest norm of the gradient; 0 for any.
        fabric: for precision and backward.
        processes: whose gradients are averaged.
        asked: whether this process was asked to stop.
        seconds: this process's clock.
    """
    method, optimiser = state.method, state.optimiser
    parameters = list(learning(method).values())
    # a batch that is not finite spoils batch norm's statistics in the forward pass already
    before = {name: buffer.clone() for name, buffer in method.named_buffers()}
    set_rate(optimiser, rate)
    losses = _backward_on_each(method, batches, now, fabric)
    told = [value.float().to(processes.device) for value in (*losses.values(), *now.notes.values())]
    bad = ~torch.stack(told[: len(losses)]).isfinite().all()
    flags = torch.stack([bad.float(), *torch.tensor([float(asked), seconds * processes.first], device=bad.device)])
    flags = processes.average_gradients(parameters, flags)
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip or math.inf).to(processes.device)
    # all that the host wants to know in one transfer, for each one waits until the device has caught up
    any_bad, any_asked, clock, length, *numbers = torch.cat([flags, torch.stack([norm, *told])]).tolist()
    finite = not any_bad and math.isfinite(length)
    if finite:
        optimiser.step()
        method.after_step(now)
    else:
        _put_back(method, before)
    optimiser.zero_grad(set_to_none=True)
    processes.share(method.buffers())
    return Outcome(
        finite,
        bool(any_asked),
        clock,
        dict(zip(losses, numbers, strict=False)),
        dict(zip(now.notes, numbers[len(losses) :], strict=True)),
    )


@torch.no_grad()
def _put_back(method: Method, buffers: Mapping[str, Tensor]) -> None:
    for name, buffer in method.named_buffers():
        buffer.copy_(buffers[name])


def _backward_on_each(
    method: Method, batches: Mapping[str, Batch], now: StepState, fabric: Fabric
) -> dict[str, Tensor]:
    losses: dict[str, Tensor] = {}
    pending = iter(method.training_step(batches, now))
    while True:
        with fabric.autocast():  # the forward pass alone: backward follows the types that it chose
            name, loss = next(pending, ("", None))
        if loss is None:
            return losses
        fabric.backward(loss)
        losses[name] = loss.detach()
