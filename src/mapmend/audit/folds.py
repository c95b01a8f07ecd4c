"""Cross-fitting: a model per fold, trained on the other folds' labels, predicts the fold's blocks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from mapmend.audit.held_out import Judged, earlier_of, predict_block
from mapmend.core.grid import Window
from mapmend.core.preemption import Preempted, watch_signals
from mapmend.data.folds import fold_sites
from mapmend.data.sites import PreparedSite, load_prepared
from mapmend.data.splits import SitePart
from mapmend.maps import PREPARED
from mapmend.predict.assembled import Tricks, assembled_predictor
from mapmend.project import Project
from mapmend.training import console, train_unseen


def cross_fit(
    project: Project, out: Path, work: Path, sites: Sequence[PreparedSite], folds: int, device: str
) -> tuple[Judged, ...]:
    """Train a model per fold and predict its blocks; what is done is not done again.

    Args:
        project: whose `train` and `predict` settings are used.
        out: holds what `prepare_step` left.
        work: of the folds' trainings, models and predictions.
        sites: labelled ones, all of which are judged.
        folds: how many.
        device: auto, cpu, cuda or mps.

    Raises:
        LabelError: the labels cannot be cut into so many folds, or show one class only.
        Preempted: a signal came; the same call goes on.
    """
    settings = project.train_settings()
    parts = fold_sites(sites, folds=folds, block=settings.data.crop, seed=settings.loop.seed)
    every = load_prepared(out / PREPARED).sites
    for number, of_fold in enumerate(parts):
        folder = work / f"fold{number}"
        todo = [_judged(part, every, work) for part in of_fold if part.blocks]
        if all(judged.file(block, "p").is_file() for judged in todo for block in judged.blocks):
            continue
        console.print(f"fold {number + 1} of {folds}", soft_wrap=True, highlight=False)
        model = folder / "model"
        train_unseen(project, out, of_fold, folder / "training", model, device=device)
        shutil.rmtree(folder / "training" / "checkpoints", ignore_errors=True)
        _predict(project, model, todo, device)
    return tuple(
        Judged(site, _blocks_of(site, parts), earlier_of(site, every), _folder(site, work))
        for site in sites
        if _blocks_of(site, parts)
    )


def _predict(project: Project, model: Path, todo: Sequence[Judged], device: str) -> None:
    settings = project.predict_settings()
    predictor = assembled_predictor(
        [model],
        Tricks(settings.views, settings.suppress),
        window=settings.window,
        overlap=settings.overlap,
        batch=settings.batch,
        precision=settings.precision,
        device=device,
    )
    blocks = [(judged, block) for judged in todo for block in judged.blocks]
    with watch_signals() as watch:
        for done, (judged, block) in enumerate(blocks):
            if watch.asked:
                raise Preempted(done, len(blocks), "blocks")
            predict_block(predictor, judged, block)


def _judged(part: SitePart, every: Sequence[PreparedSite], work: Path) -> Judged:
    return Judged(part.site, part.blocks, earlier_of(part.site, every), _folder(part.site, work))


def _blocks_of(site: PreparedSite, parts: Sequence[Sequence[SitePart]]) -> tuple[Window, ...]:
    return tuple(block for of_fold in parts for part in of_fold if part.site is site for block in part.blocks)


def _folder(site: PreparedSite, work: Path) -> Path:
    return work / "held_out" / site.name / (site.date or "undated")
