"""`demo`: the main job on an embedded, generated landscape whose truth is known."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from mapmend.accuracy.metrics import MapMetrics, map_metrics
from mapmend.core.durable import replace_file
from mapmend.core.errors import JobError
from mapmend.data.landscape import write_landscape
from mapmend.project import load_project
from mapmend.run import RunResult, run

_PROJECT = """\
# An embedded landscape of {size} × {size} m: two images, and a map that is coarse, old and partly wrong.
name: demo
legend: landscape
sensors: {{optical: naip, radar: sentinel1}}
scenes: landscape/scenes.csv
reference: landscape/refs.csv
seed: {seed}
steps:
  - train: {{decoder: unet, steps: {steps}, batch: 8, crop: 128, validate_every: {every}}}
  - predict: {{window: 256, overlap: 64}}
  - report: {{title: "mapmend demo: an embedded landscape"}}
"""


def demo(out: Path, *, size: int = 1024, steps: int = 300, seed: int = 0, device: str = "auto") -> RunResult:
    """Generate a landscape below `out`, map it from its imperfect label, and print both maps' accuracy.

    Args:
        out: folder for the landscape, the project file and the results.
        size: side of the scene in pixels of one metre.
        steps: of training.
        seed: of landscape and training.
        device: to train and predict on.

    Raises:
        JobError: `out` holds another demo.
    """
    console = Console()
    project_file = out / "project.yaml"
    project = _PROJECT.format(size=size, seed=seed, steps=steps, every=max(1, steps // 6))
    if project_file.exists() and project_file.read_text(encoding="utf-8") != project:
        raise JobError("holds a demo of other size, steps or seed", where=out, fix="choose another --out, or delete it")
    if not project_file.exists():
        with console.status(f"generating {size} × {size} pixels of landscape"):
            write_landscape(out / "landscape", size, seed)
        replace_file(project_file, project)
    result = run(load_project(project_file), out, device=device)
    assert result.accuracy is not None and result.accuracy.label is not None
    console.print(accuracy_table(map_metrics(result.accuracy.label), map_metrics(result.accuracy.map)))
    console.print(f"report: {result.report}", soft_wrap=True)
    return result


def accuracy_table(label: MapMetrics, map_: MapMetrics) -> Table:
    """The given label beside the new map, both against the truth, in percent."""
    table = Table(title="against the truth")
    for column in ("", "label", "map", "difference"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("overall accuracy", *_percent(label.oa, map_.oa))
    table.add_row("mean IoU", *_percent(label.miou, map_.miou))
    before, after = ({one.name: one.iou for one in metrics.classes} for metrics in (label, map_))
    for name in dict.fromkeys([*before, *after]):
        table.add_row(f"  IoU {name}", *_percent(before.get(name), after.get(name)))
    return table


def _percent(before: float | None, after: float | None) -> tuple[str, str, str]:
    texts = ["-" if value is None else f"{100 * value:.1f}" for value in (before, after)]
    return texts[0], texts[1], "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
