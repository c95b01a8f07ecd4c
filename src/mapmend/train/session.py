"""One session of a training: what the loop does at a step's end, with the files and processes it does it on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mapmend.core.durable import replace_json
from mapmend.core.errors import TrainError
from mapmend.core.preemption import Watch
from mapmend.methods.method import Batch, StepState
from mapmend.train.batches import settle, unseen_unlabelled
from mapmend.train.checkpoint import save_checkpoint
from mapmend.train.config import LoopConfig
from mapmend.train.loading import ValidationBatches, keys_of
from mapmend.train.log import Log
from mapmend.train.processes import Processes
from mapmend.train.progress import TrainingProgress
from mapmend.train.randomness import seed_everything
from mapmend.train.schedule import rate_factor
from mapmend.train.state import TrainingState
from mapmend.train.step import Outcome, take_step
from mapmend.train.validation import evaluate

Augment = Callable[[Batch, torch.Generator], Batch]

MOST_BAD = 10  # non-finite steps in a row
_RECOVERY = 2 ** (1 / 50)  # a rate halved after a non-finite step is back after 50 good ones
_LEAST_CAUTION = 1 / 64
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass
class Session:
    """State, settings and surroundings of a training while it runs.

    Attributes:
        state: what a checkpoint holds.
        config: of the loop.
        streams: batches by loader, from the step at which the session starts.
        heldout: batches of the validation set, or None.
        classes: names in the legend's order.
        augment: applied to each training batch, or None.
        fabric: precision and backward.
        processes: that train together.
        watch: whether a signal came.
        log: None in all processes but the first.
        bar: progress.
        out: the training's folder.
        identity: the training's hash.
    """

    state: TrainingState
    config: LoopConfig
    streams: Mapping[str, Iterator[Batch]]
    heldout: ValidationBatches | None
    classes: Sequence[str]
    augment: Augment | None
    fabric: Fabric
    processes: Processes
    watch: Watch
    log: Log | None
    bar: TrainingProgress
    out: Path
    identity: str
    _last_row: tuple[int, float] = field(init=False)
    _saved: int = field(init=False)

    def __post_init__(self) -> None:
        counters = self.state.counters
        self._began = time.monotonic() - counters.seconds
        self._last_row = (counters.step, counters.seconds)
        self._saved = counters.step

    def step(self) -> Outcome:
        """Take the next step and count it.

        Raises:
            TrainError: memory is out, or this was one non-finite step too many.
        """
        counters, config, rank = self.state.counters, self.config, self.processes.rank
        with _memory_advice():
            batches = {name: settle(next(stream), self.processes.device) for name, stream in self.streams.items()}
            # after the batches: a loader that starts with the session draws from torch's generator
            generator = seed_everything(config.seed, counters.step, rank)
            now = StepState(counters.step, config.steps, rank, self.processes.world, generator)
            if self.augment:
                plain = self.state.method.as_they_are
                batches = {
                    name: batch if name in plain else unseen_unlabelled(self.augment(batch, generator))
                    for name, batch in batches.items()
                }
            outcome = take_step(
                self.state,
                batches,
                now,
                self._rate(),
                config.clip,
                self.fabric,
                self.processes,
                asked=self.watch.asked,
                seconds=time.monotonic() - self._began,
            )
        counters.step += 1
        counters.seconds = outcome.seconds
        if outcome.finite:
            self._take_in(outcome)
        else:
            self._skip(outcome)
        self.bar.step(counters.step)
        return outcome

    def ending(self) -> str:
        """Why training is over now: steps, minutes, or nothing yet."""
        counters, limit = self.state.counters, self.config.max_minutes
        if counters.step >= self.config.steps:
            return "steps"
        if limit and counters.step and counters.seconds + self._evaluation_seconds() >= 60 * limit:
            return "minutes"
        return ""

    def report(self, ending: str) -> None:
        """Write a row of means if it is time to."""
        counters = self.state.counters
        if not counters.sums or not (ending or counters.step % self.config.log_every == 0):
            return
        row: dict[str, Any] = {"losses": {}, "notes": {}}
        for (kind, name), (total, count) in ((key.split("/", 1), value) for key, value in counters.sums.items()):
            row[kind][name] = total / count if math.isfinite(total) else None  # a note may be: JSON has no word for it
        step, seconds = self._last_row
        samples = (counters.step - step) * self.config.batch * len(self.streams) * self.processes.world
        elapsed = counters.seconds - seconds
        self._write("train", lr=counters.rate, **row, samples_per_second=round(samples / max(elapsed, 1e-6), 2))
        self.bar.loss(sum(row["losses"].values()))
        self._last_row = (counters.step, counters.seconds)
        counters.sums = {}

    def evaluation_due(self, ending: str) -> bool:
        """Whether the state at hand is to be evaluated and has not been."""
        counters = self.state.counters
        if self.heldout is None or not counters.step:
            return False
        done = counters.history[-1]["step"] if counters.history else 0
        return done < counters.step and bool(ending or counters.step % self.config.validate_every == 0)

    def evaluate(self) -> bool:
        """Score the average (or the weights) on the validation set, keep the best; False if a signal cut it short."""
        assert self.heldout is not None
        counters, state = self.state.counters, self.state
        with state.averaged(), _memory_advice():
            found = evaluate(
                state.method, self.heldout, self.classes, self.processes, self.fabric.autocast, lambda: self.watch.asked
            )
        if found is None:
            return False
        counters.stale += 1
        if counters.best_step is None or found.criterion > counters.best:
            counters.best_step, counters.best, counters.stale = counters.step, found.criterion, 0
            state.keep_chosen()
        counters.history.append({"step": counters.step, "miou": found.miou, "metrics": found.to_dict()})
        counters.evaluation_seconds = found.seconds
        self._write("validation", miou=found.miou, metrics=found.to_dict())
        self.bar.miou(found.miou)
        return True

    def patience(self) -> str:
        """Why training is over after an evaluation: patience, or nothing."""
        most = self.config.patience
        return "patience" if most and self.state.counters.stale >= most else ""

    def checkpoint_due(self) -> bool:
        """Whether it is time for one."""
        step = self.state.counters.step
        return step != self._saved and step % self.config.checkpoint_every == 0

    def save(self, stopped: str) -> None:
        """Write a checkpoint; `stopped` says why training is over, if it is."""
        counters = self.state.counters
        counters.stopped = stopped
        if self.log:
            self.log.sync()
            counters.log_rows = self.log.rows
            scalars = {"identity": self.identity, **self.state.scalars()}
            save_checkpoint(self.out / "checkpoints", counters.step, self.state.tensors(), scalars)
        self.processes.barrier()
        self._saved = counters.step

    def _rate(self) -> float:
        """The learning rate of the next step; under a time limit it falls as fast as time runs out."""
        counters, limit = self.state.counters, self.config.max_minutes
        progress = counters.step / self.config.steps
        if limit:
            progress = max(progress, min(1.0, counters.seconds / (60 * limit)))
        counters.rate = self.config.lr * rate_factor(progress, self.config) * counters.caution
        return counters.rate

    def _take_in(self, outcome: Outcome) -> None:
        counters = self.state.counters
        counters.bad, counters.caution = 0, min(1.0, counters.caution * _RECOVERY)
        if self.state.average:
            self.state.average.update(counters.updates)
        counters.updates += 1
        for kind, values in (("losses", outcome.losses), ("notes", outcome.notes)):
            for name, value in values.items():
                total, count = counters.sums.get(f"{kind}/{name}", (0.0, 0))
                counters.sums[f"{kind}/{name}"] = [total + value, count + 1]

    def _skip(self, outcome: Outcome) -> None:
        counters = self.state.counters
        counters.bad += 1
        counters.caution = max(_LEAST_CAUTION, counters.caution / 2)
        losses = {name: str(value) for name, value in outcome.losses.items()}
        self._write("skipped", lr=counters.rate, losses=losses, in_a_row=counters.bad)
        if counters.bad < MOST_BAD:
            return
        path = self.out / "nonfinite.json"
        if self.log:
            steps = range(counters.step - counters.bad, counters.step)
            ranks = range(self.processes.world)
            keys = [keys_of(step, rank, self.config.batch) for step in steps for rank in ranks]
            replace_json(path, {"step": counters.step, "lr": counters.rate, "losses": losses, "keys": keys})
        raise TrainError(
            f"loss or gradient was not finite in {counters.bad} steps in a row; the batches' keys are in {path}",
            where=f"step {counters.step}",
            fix="lower lr, or look for values outside the sensor's range",
        )

    def _evaluation_seconds(self) -> float:
        """How long the last evaluation will take; before the first, half of a step's time for each batch."""
        counters = self.state.counters
        if self.heldout is None or counters.history:
            return counters.evaluation_seconds
        return self.heldout.most * counters.seconds / counters.step / 2

    def _write(self, kind: str, **row: Any) -> None:
        if self.log:
            counters = self.state.counters
            self.log.write({"kind": kind, "step": counters.step, **row, "seconds": round(counters.seconds, 3)})


@contextmanager
def _memory_advice() -> Iterator[None]:
    """Name the way out where memory is out; a smaller batch is not tried unasked, for it would change batch norm."""
    try:
        yield
    except RuntimeError as fault:
        if not any(sign in str(fault) for sign in _OUT_OF_MEMORY):
            raise
        raise TrainError(
            "memory is out", fix="set a smaller batch or crop, a smaller encoder, or precision bf16-mixed"
        ) from fault
