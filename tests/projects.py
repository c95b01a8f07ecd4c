"""A small project on disk, and the command line called in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.data.scenery import grid, halves, image_of, write

from mapmend import cli

TINY = {"encoder": "resnet10t", "decoder": "fpn", "decoder_widths": [32, 32], "weights": "none", "crop": 64, "batch": 2}
LOOP = {"steps": 6, "validate_every": 3, "checkpoint_every": 2, "workers": 0, "log_every": 2}
LEGEND = {
    "name": "two",
    "classes": [{"id": 1, "name": "left", "color": "#aa5500"}, {"id": 2, "name": "right", "color": "#0055aa"}],
}


def small_project(folder: Path, **changes: Any) -> Path:
    """A scene of 192×256 pixels whose label is half a block off, with its truth; the project file."""
    ids = halves(192, 256)
    label = ids.copy()
    label[:, 112:128] = 2
    write(folder / "image.tif", image_of(ids), grid(192, 256))
    write(folder / "label.tif", label, grid(192, 256), nodata=255)
    write(folder / "truth.tif", ids, grid(192, 256), nodata=255)
    plain = {
        "name": "small",
        "legend": LEGEND,
        "sensors": {"optical": "rgb"},
        "scenes": [{"site": "here", "image": "image.tif", "label": "label.tif"}],
        "reference": [{"site": "here", "label": "truth.tif"}],
        "steps": [{"train": {**TINY, **LOOP}}, {"predict": {"window": 64, "overlap": 16}}, {"report": {}}],
        **changes,
    }
    path = folder / "project.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


def two_date_project(folder: Path, **changes: Any) -> Path:
    """The same place at two dates, the boundary 40 pixels further right at the second; truth of both; `change`."""
    scenes, references = [], []
    for date, edge in (("2010-06-01", 128), ("2020-06-01", 168)):
        ids = halves(192, 256)
        ids[:, :edge], ids[:, edge:] = 1, 2
        image = image_of(ids, seed=edge)
        image[2] = 240 - image[0]  # a colour of its own, which a few steps teach
        write(folder / f"image_{date}.tif", image, grid(192, 256))
        write(folder / f"truth_{date}.tif", ids, grid(192, 256), nodata=255)
        scene = {"site": "here", "date": date, "image": f"image_{date}.tif"}
        scenes.append({**scene, "label": f"truth_{date}.tif"})
        references.append({"site": "here", "date": date, "label": f"truth_{date}.tif"})
    steps = [
        {
            "train": {
                **TINY,
                **LOOP,
                "steps": 60,
                "validate_every": 60,
                "checkpoint_every": 60,
                "batch": 4,
                "lr": 0.003,
                "ema_decay": 0,
                "validation_share": 0,
            }
        },
        {"predict": {"window": 64, "overlap": 16}},
        {"change": {"mmu_pixels": 20}},
        {"report": {}},
    ]
    return small_project(folder, scenes=scenes, reference=references, steps=steps, **changes)


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `mapmend ARGUMENTS`."""
    monkeypatch.setattr("sys.argv", ["mapmend", *map(str, arguments)])
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    captured = capsys.readouterr()
    return code, captured.out, captured.err
