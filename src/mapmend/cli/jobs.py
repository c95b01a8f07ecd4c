"""What `predict` says of mapping jobs without working on them: how far they are, and whether their files are whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from mapmend.cli.options import emit, folder_of
from mapmend.core.errors import JobError, ProjectError


def tell_of_jobs(
    inputs: Sequence[Path], out: Path | None, data: Path | None, json_file: str | None, *, check: bool
) -> bool:
    """Say how far jobs are, or compare their files with their checksums.

    Args:
        inputs: folders of maps, or of a project's results, or a project; images say nothing, `out` then does.
        out: folder of a project's results, or of a map.
        data: as for `load_project`.
        json_file: where the JSON goes.
        check: compare instead.

    Returns:
        Whether a file is not as it was written.

    Raises:
        JobError: there is no job.
    """
    from mapmend.predict.ledger import JOB
    from mapmend.predict.status import check_job, job_status

    if inputs[0].suffix in (".yaml", ".yml"):
        from mapmend.project import load_project

        places: Sequence[Path] = [folder_of(out, load_project(inputs[0], data).name)]
    else:
        places = inputs if inputs[0].is_dir() else [out] if out is not None else []
    if not places:
        raise ProjectError("is no folder of a map", where=inputs[0], fix="give a map's folder, a project, or --out")
    folders = [file.parent for place in places for file in sorted(place.rglob(JOB))]
    if not folders:
        raise JobError("holds no mapping job", where=places[0], fix="give the folder that `predict --out` was given")
    if check:
        results = [check_job(folder) for folder in folders]
        for result in results:
            typer.echo(result.describe(), err=json_file == "-")
        emit({"jobs": [asdict(result) for result in results]}, json_file)
        return any(result.damaged for result in results)
    states = [job_status(folder) for folder in folders]
    for state in states:
        typer.echo(state.describe(), err=json_file == "-")
    emit({"jobs": [state.to_dict() for state in states]}, json_file)
    return False
