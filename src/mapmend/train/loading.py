"""Batches by step: what a batch holds depends on (step, rank, position) and on nothing that ran before."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from mapmend.core.errors import MapmendError, TrainError
from mapmend.core.preemption import SIGNALS
from mapmend.methods.method import Batch
from mapmend.train.config import LoopConfig

_GRACE = 30  # seconds that a reader goes on after SIGTERM

Key = tuple[int, int, int]
Collate = Callable[[list[Any]], Batch]
Batches = Generator[Batch, None, None]
"""To be closed: that ends the processes that read for it."""


class StepKeys(Sampler[list[Key]]):
    """The keys (step, rank, i) of one batch per step, from a step on."""

    def __init__(self, start: int, stop: int, rank: int, batch: int) -> None:
        self._steps, self._rank, self._batch = range(start, stop), rank, batch

    def __iter__(self) -> Iterator[list[Key]]:
        return (keys_of(step, self._rank, self._batch) for step in self._steps)

    def __len__(self) -> int:
        return len(self._steps)


def keys_of(step: int, rank: int, batch: int) -> list[Key]:
    """The keys of one batch."""
    return [(step, rank, i) for i in range(batch)]


def training_batches(
    dataset: Dataset[Any],
    config: LoopConfig,
    start: int,
    rank: int,
    collate: Collate = default_collate,
    pin: bool = False,
) -> Batches:
    """One batch for each step from `start` to the last; faults as in `_faultless`."""
    return _faultless(_loader(dataset, StepKeys(start, config.steps, rank, config.batch), config, collate, pin))


class ValidationBatches:
    """This process's share of the validation set, in the same order each time it is gone through.

    Attributes:
        most: how many batches the largest share has.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        config: LoopConfig,
        rank: int,
        world: int,
        collate: Collate = default_collate,
        pin: bool = False,
    ) -> None:
        share = list(range(rank, len(dataset), world))  # type: ignore[arg-type]
        batches = [share[i : i + config.batch] for i in range(0, len(share), config.batch)]
        self._loader = _loader(dataset, batches, config, collate, pin)
        self.most = math.ceil(math.ceil(len(dataset) / world) / config.batch)  # type: ignore[arg-type]

    def __iter__(self) -> Batches:
        return _faultless(self._loader)


class _Guarded(Dataset[Any]):
    """Hands a fault on as a value: a worker's exception would arrive as its traceback in the message."""

    def __init__(self, dataset: Dataset[Any], collate: Collate) -> None:
        self._dataset, self._collate = dataset, collate

    def __getitem__(self, key: Any) -> Any:
        try:
            return self._dataset[key]
        except MapmendError as fault:
            return fault

    def collate(self, samples: list[Any]) -> Any:
        return next((sample for sample in samples if isinstance(sample, MapmendError)), None) or self._collate(samples)


def _loader(dataset: Dataset[Any], keys: Any, config: LoopConfig, collate: Collate, pin: bool) -> DataLoader[Any]:
    guarded = _Guarded(dataset, collate)
    return DataLoader(
        guarded,
        batch_sampler=keys,
        num_workers=config.workers,
        collate_fn=guarded.collate,
        pin_memory=pin,
        worker_init_fn=outlive_signals,
    )


def _faultless(loader: DataLoader[Any]) -> Batches:
    """Go through a loader.

    Raises:
        MapmendError: a sample could not be made, as the data set said it.
        TrainError: a worker was killed.
    """
    with _signals_held():
        batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, MapmendError):
                raise batch
            yield batch
    except RuntimeError as fault:
        if "DataLoader worker" not in str(fault):
            raise
        raise TrainError(
            "a process that reads samples was killed", fix="set fewer workers, or 0, or give the job more memory"
        ) from fault
    finally:
        # left to the garbage collector, workers would live on for as long as a traceback refers to them
        if loader.num_workers:
            batches._shutdown_workers()  # type: ignore[attr-defined]


@contextmanager
def _signals_held() -> Iterator[None]:
    """Signals wait while readers are started, which inherit that: none must get one before it can outlive it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def outlive_signals(worker: int) -> None:
    """In a reading process: a signal to the whole group must not kill the readers of the last step.

    SIGTERM is a request to be gone in half a minute, for it is also what a reader that does not answer is ended with.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE) and None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
