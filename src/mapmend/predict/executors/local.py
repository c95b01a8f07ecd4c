"""Blocks of a job done one after the other by this process, beside any others that work on the same job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mapmend.core.errors import DiskError, MapmendError
from mapmend.core.preemption import Preempted, Watch
from mapmend.predict.blocks import Block
from mapmend.predict.ledger import Ledger
from mapmend.predict.plan import Job
from mapmend.predict.progress import MappingProgress
from mapmend.predict.run_block import BlockResult, run_block

MOST_FAILURES = 8  # in a row; then it is not the blocks
Executor = Callable[[Job, Ledger, Sequence[Block], Watch, MappingProgress], None]
"""Does blocks, and writes down in the ledger what becomes of each; see `work_through`."""

_LOOK = 1.0  # seconds between looks at blocks that others work on
_BEAT = 30.0  # seconds between signs of life


def work_through(job: Job, ledger: Ledger, blocks: Sequence[Block], watch: Watch, bar: MappingProgress) -> None:
    """Do the blocks that are not done, and write down what becomes of each; a block that fails does not stop others.

    Blocks that another process works on are waited for, and taken over if it dies.

    Raises:
        DiskError: the disk is full.
        MapmendError: eight blocks in a row failed, or all of them; this is the last one's error.
        Preempted: a signal came.
    """
    waiting, done, failures = list(blocks), 0, 0
    fault: MapmendError | None = None
    while waiting:
        elsewhere = []
        for block in waiting:
            if ledger.done(block) is not None:
                bar.skip(block.window.area)
                done += 1
            elif watch.asked:
                raise Preempted(done, len(blocks), "blocks")
            elif not ledger.take(block):
                elsewhere.append(block)
            else:
                try:
                    run_one(job, block, ledger, watch, bar, Preempted(done, len(blocks), "blocks"))
                    done, failures = done + 1, 0
                except DiskError:
                    raise
                except MapmendError as error:
                    fault, failures = error, failures + 1
                    if failures == MOST_FAILURES:
                        raise
        if len(elsewhere) == len(waiting):
            time.sleep(_LOOK)
        waiting = elsewhere
    if fault is not None and not done:
        raise fault


def run_one(job: Job, block: Block, ledger: Ledger, watch: Watch, bar: MappingProgress, stop: Preempted) -> BlockResult:
    """Do a block that was taken; it is then done, or failed, or given back.

    Args:
        job: that the block belongs to.
        block: taken in the ledger.
        ledger: of the job.
        watch: for a signal.
        bar: is told of the rows.
        stop: raised where a signal came and the block takes too long.

    Raises:
        MapmendError: the block failed.
        Preempted: `stop`.
    """
    beaten = time.monotonic()

    def on_rows(rows: int) -> None:
        nonlocal beaten
        bar.advance(rows * block.window.width)
        if watch.urgent:
            raise stop
        if time.monotonic() - beaten > _BEAT:
            beaten = time.monotonic()
            ledger.beat(block)

    try:
        result = run_block(job.predictor, job.scene, block, ledger.own, layers=job.layers, on_rows=on_rows)
        return ledger.record(block, result)
    except DiskError:
        ledger.release(block)
        raise
    except MapmendError as error:
        ledger.fail(block, error)
        raise
    except BaseException:
        ledger.release(block)
        raise
