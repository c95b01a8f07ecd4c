"""A mapping job: from a model and a scene to a map folder, block by block, to be stopped and gone on with at will."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mapmend.core.errors import EmptyMapError, JobError, MapmendError
from mapmend.core.preemption import Preempted, watch_signals
from mapmend.predict.assembly import MapResult, finished_map, put_together
from mapmend.predict.batches import settle_batch
from mapmend.predict.blocks import Block
from mapmend.predict.estimate import Estimate, check_memory, disk_bytes, estimate_job
from mapmend.predict.executors.local import Executor, work_through
from mapmend.predict.executors.shard import Shard
from mapmend.predict.ledger import Ledger
from mapmend.predict.plan import Job, plan_job
from mapmend.predict.predictor import Predictor
from mapmend.predict.progress import MappingProgress
from mapmend.predict.run_block import BlockResult
from mapmend.predict.scene import Scene
from mapmend.raster.writing import check_disk

__all__ = ["Estimate", "MapResult", "Preempted", "Scene", "estimate_scene", "predict_scene", "predict_shard"]


def predict_scene(
    model: Path | Predictor,
    scene: Scene,
    out: Path,
    *,
    block: int | None = None,
    progress: bool = True,
    probabilities: str | Sequence[str] = (),
    entropy: bool = False,
    executor: Executor = work_through,
) -> MapResult:
    """Map a scene; the same call goes on where an earlier one stopped, and returns at once when all is done.

    Several such calls may work in one folder at once, and beside shards: they share the blocks.

    Args:
        model: a model folder, or a predictor from `load_predictor`, which has more settings.
        scene: what is mapped.
        out: the map folder; made if it is not there.
        block: side of a block in pixels, at most; it does not change the map.
        progress: show a progress line on a terminal.
        probabilities: classes whose probability is written too, as `probability_<class>.tif`, or `all`.
        entropy: write how undecided the model is too, as `entropy.tif`.
        executor: what does the blocks: this process by default, or a cluster (`executors.ray.Ray`).

    Raises:
        LegendError: the model has no such class.
        SensorError: the scene is not what the model was made for.
        JobError: the folder belongs to another job, or some blocks failed; the same call tries these again.
        DiskError: the disk is full, or will be.
        RasterError: no block can be done, or nothing in the scene is valid.
        Preempted: SIGTERM or SIGUSR1 came; what is done is kept.
    """
    job = plan_job(model, scene, block, probabilities, entropy)
    ledger = _claimed(job, out)
    if (finished := finished_map(out, job.layers)) is None:
        try:
            _work(job, ledger, job.blocks, progress, executor, shared=False)
        except MapmendError:
            if not ledger.started:
                ledger.discard()
            raise
        finished = _finish(job, ledger)
    ledger.clean()
    return finished


def predict_shard(
    model: Path | Predictor,
    scene: Scene,
    out: Path,
    shard: Shard,
    *,
    block: int | None = None,
    progress: bool = True,
    probabilities: str | Sequence[str] = (),
    entropy: bool = False,
) -> MapResult | None:
    """Do a shard's blocks of `predict_scene`'s job; whichever shard finds all blocks done puts the map together.

    Args:
        model: as in `predict_scene`, and so are the other arguments and the errors.
        scene: what is mapped.
        out: the map folder, which all shards see.
        shard: whose blocks are done.
        block: side of a block in pixels, the same for all shards.
        progress: show a progress line on a terminal.
        probabilities: classes whose probability is written too.
        entropy: write how undecided the model is too.

    Returns:
        The map; None where other shards' blocks are not done.
    """
    job = plan_job(model, scene, block, probabilities, entropy)
    ledger = _claimed(job, out)
    if (finished := finished_map(out, job.layers)) is None:
        _work(job, ledger, shard.part(job.blocks), progress, work_through, shared=True)
        if all(entry is not None and entry.state == "done" for entry in map(ledger.state, job.blocks)):
            finished = _finish(job, ledger)
        else:
            finished = finished_map(out, job.layers)  # another shard may have put it together by now
    if finished is not None:
        ledger.clean()
    return finished


def estimate_scene(
    model: Path | Predictor,
    scene: Scene,
    *,
    block: int | None = None,
    probabilities: str | Sequence[str] = (),
    entropy: bool = False,
) -> Estimate:
    """What `predict_scene` with the same arguments would take; a batch is predicted, nothing is written.

    Raises:
        MapmendError: as `predict_scene`.
    """
    job = plan_job(model, scene, block, probabilities, entropy)
    return estimate_job(job.predictor, job.scene, job.blocks, job.layers)


def _claimed(job: Job, out: Path) -> Ledger:
    """The ledger of a folder that is this job's from now on, if it was not before."""
    check_memory(job.predictor, job.scene, job.blocks)
    ledger = Ledger(out, job.layers)
    settled = settle_batch(job, out)
    ledger.claim({**job.identity, **settled})
    return ledger


def _work(
    job: Job, ledger: Ledger, blocks: Sequence[Block], progress: bool, executor: Executor, *, shared: bool
) -> None:
    check_disk(ledger.folder, disk_bytes(blocks, job.layers))
    ledger.plan(job.side, job.blocks, shared=shared)
    area = sum(block.window.area for block in blocks)
    with (
        ledger.at_work(),
        watch_signals() as watch,
        MappingProgress(job.scene.name, area, shown=progress) as bar,
    ):
        if finished_map(ledger.folder, job.layers) is not None:
            return  # in the meantime; its blocks are gone
        executor(job, ledger, blocks, watch, bar)
        failed = {block: entry.error for block in blocks if (entry := ledger.state(block)) and entry.state == "failed"}
    if failed:
        block, error = next(iter(failed.items()))
        raise JobError(
            f"{len(failed)} of {len(blocks)} blocks failed; the first, {block.id}: {error}",
            where=ledger.folder,
            fix="the same command tries them again",
        )


def _finish(job: Job, ledger: Ledger) -> MapResult:
    """Put the map together, unless another process has done so in the meantime."""
    with ledger.alone():
        if (finished := finished_map(ledger.folder, job.layers)) is not None:
            return finished
        results: list[BlockResult] = []
        for block in job.blocks:
            result = ledger.done(block)
            if result is None:
                raise JobError(f"lost block {block.id}", where=ledger.folder, fix="run the same command again")
            results.append(result)
        if not any(result.pixels for result in results):
            ledger.discard()
            raise EmptyMapError(
                "has no valid pixel", where=f"scene '{job.scene.name}'", fix="check its nodata value, masks and area"
            )
        return put_together(job, ledger.folder, results)
