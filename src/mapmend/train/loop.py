"""The training loop: steps, evaluations, checkpoints, and a way back from any interruption.

A run that was killed or stopped at any moment and started again ends with the same bits as one that was not, on the CPU
at equal threads: draws depend on (seed, step, rank) alone, and a checkpoint holds all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import Dataset, default_collate

from mapmend.core.errors import TrainError
from mapmend.core.preemption import Preempted, watch_signals
from mapmend.methods.method import Method
from mapmend.nn.allocator import keep_large_blocks
from mapmend.train.config import LoopConfig
from mapmend.train.ema import Average
from mapmend.train.holding import held
from mapmend.train.identity import claim, made_of
from mapmend.train.loading import Collate, ValidationBatches, training_batches
from mapmend.train.log import Log
from mapmend.train.optimiser import make_optimiser
from mapmend.train.processes import Processes, launch
from mapmend.train.progress import TrainingProgress
from mapmend.train.session import Augment, Session
from mapmend.train.state import Counters, TrainingState, resume
from mapmend.train.step import Outcome

OnStep = Callable[[int, Outcome], None]


@dataclass(frozen=True)
class FitResult:
    """What a training came to; the method's deployed network holds the chosen weights.

    Attributes:
        steps: done in all.
        stopped: why it ended: steps, patience or minutes.
        best_step: whose weights were chosen.
        criterion: what chose them, in words.
        metrics: of the chosen weights on the validation set; None without one.
        history: every evaluation: step, miou, metrics.
        seconds: of training, over all sessions.
        first: whether this process is the one that writes files.
    """

    steps: int
    stopped: str
    best_step: int
    criterion: str
    metrics: dict[str, Any] | None
    history: tuple[dict[str, Any], ...]
    seconds: float
    first: bool


def fit(
    method: Method,
    training: Dataset[Any] | Mapping[str, Dataset[Any]],
    validation: Dataset[Any] | None,
    config: LoopConfig,
    out: Path,
    *,
    classes: Sequence[str],
    identity: Mapping[str, Any],
    header: Mapping[str, Any] | None = None,
    collate: Collate = default_collate,
    augment: Augment | None = None,
    fabric: Fabric | None = None,
    on_step: OnStep | None = None,
) -> FitResult:
    """Train a method, or go on with its training; writes `checkpoints/`, `log.jsonl` and `training.json` under `out`.

    Args:
        method: with its first weights, the same ones in every session.
        training: samples by key (step, rank, i), pure functions of it; by name where the method needs several loaders.
        validation: samples by index, or None.
        config: of the loop.
        out: this training's own folder.
        classes: names in the legend's order.
        identity: hashes of what the weights come from and the loop cannot see: data, network, first weights.
        header: what else the log's first row shall say.
        collate: samples to a batch.
        augment: applied to each training batch on the device.
        fabric: of `launch`; None launches here.
        on_step: told how many steps are done, and what the last one came to.

    Raises:
        Preempted: SIGTERM or SIGUSR1 came and a checkpoint was written; the same call goes on.
        JobError: `out` is another training's, or another process trains there.
        LabelError: the validation set has no label.
        TrainError: losses stay non-finite, memory is out, or a loader is missing.
        DiskError: the disk is full.
    """
    fabric = fabric or launch(config)
    processes = Processes(fabric)
    datasets = _by_loader(method, training)
    content = made_of(method, config, processes.world, identity)
    with ExitStack() as stack:
        if processes.first:
            stack.enter_context(held(out))
        name = claim(out, content, write=processes.first)
        state = _set_up(method, config, processes)
        resume(state, out / "checkpoints", name, processes)
        if not state.counters.stopped:
            rank, world, start = processes.rank, processes.world, state.counters.step
            pin = processes.device.type == "cuda"
            streams = {
                loader: stack.enter_context(closing(training_batches(dataset, config, start, rank, collate, pin)))
                for loader, dataset in datasets.items()
            }
            heldout = None
            if validation is not None:
                heldout = ValidationBatches(validation, config, rank, world, collate, pin)
            watch = stack.enter_context(watch_signals())
            bar = stack.enter_context(TrainingProgress(config.steps, start, processes.first))
            log = None
            if processes.first:
                log = stack.enter_context(closing(_open_log(out, config, state.counters, content, header or {})))
            session = Session(
                state, config, streams, heldout, classes, augment, fabric, processes, watch, log, bar, out, name
            )
            _loop(session, on_step)
    state.deploy()
    method.eval()
    _lay_out(method, torch.contiguous_format)
    return _result(state, processes)


def _loop(session: Session, on_step: OnStep | None) -> None:
    session.state.method.train()
    counters = session.state.counters
    asked_to_stop = False
    while True:
        ending = session.ending()
        session.report(ending)
        if session.evaluation_due(ending) and not asked_to_stop:
            asked_to_stop = not session.evaluate()
            ending = ending or session.patience()
        if asked_to_stop:
            session.save(stopped="")
            raise Preempted(counters.step, session.config.steps, "steps")
        if ending or session.checkpoint_due():
            session.save(stopped=ending)
        if ending:
            return
        outcome = session.step()
        asked_to_stop = outcome.asked
        if on_step:
            on_step(counters.step, outcome)


def _set_up(method: Method, config: LoopConfig, processes: Processes) -> TrainingState:
    """The state before the first step, the same in all processes."""
    keep_large_blocks()
    method.to(processes.device)
    _lay_out(method, torch.channels_last if config.channels_last else torch.contiguous_format)
    processes.share([*method.parameters(), *method.buffers()])
    average = Average(method.deployed(), config.ema_decay) if config.ema_decay else None
    return TrainingState(method, make_optimiser(method, config), average, {}, Counters())


def _by_loader(method: Method, training: Dataset[Any] | Mapping[str, Dataset[Any]]) -> dict[str, Dataset[Any]]:
    given = dict(training) if isinstance(training, Mapping) else {method.loaders[0]: training}
    if set(given) != set(method.loaders):
        raise TrainError(
            f"method '{method.name}' needs samples for {', '.join(method.loaders)}, not {', '.join(given)}",
            fix="give every site the labels or the dates that the method needs",
        )
    return {name: given[name] for name in method.loaders}


def _lay_out(method: Method, layout: torch.memory_format) -> None:
    """Convolutions' weights alone: a method's memories may be four-dimensional too, and are indexed as they are."""
    for module in method.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)


def _open_log(
    out: Path, config: LoopConfig, counters: Counters, content: Mapping[str, Any], header: Mapping[str, Any]
) -> Log:
    events = out / "tensorboard" if config.tensorboard else None
    log = Log(out / "log.jsonl", counters.log_rows, counters.step, events)
    if log.rows == 0:
        log.write({"kind": "start", "step": 0, **header, "training": content})
    return log


def _result(state: TrainingState, processes: Processes) -> FitResult:
    counters = state.counters
    weights = "the running average of the weights" if state.average else "the weights"
    chosen = next((row for row in counters.history if row["step"] == counters.best_step), None)
    criterion = (
        f"highest {state.method.criterion} of {weights} on the validation set" if chosen else f"last step; {weights}"
    )
    return FitResult(
        counters.step,
        counters.stopped,
        counters.best_step if chosen and counters.best_step is not None else counters.step,
        criterion,
        chosen["metrics"] if chosen else None,
        tuple(counters.history),
        counters.seconds,
        processes.first,
    )
