"""`demo`: the main job on an embedded, generated landscape whose truth is known."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.accuracy.metrics import MapMetrics, map_metrics
from mapmend.core.durable import replace_file
from mapmend.core.errors import JobError
from mapmend.data.landscape import write_landscape
from mapmend.project import load_project
from mapmend.reporting import RunResult
from mapmend.run import run

_PROJECT = """\
# An embedded landscape of {size} × {size} m at two dates, and a map that is coarse, old and partly wrong.
name: demo
legend: landscape
sensors: {{optical: naip, radar: sentinel1}}
scenes: landscape/scenes.csv
reference: landscape/refs.csv
seed: {seed}
steps:
  - train: {{decoder: unet, steps: {steps}, batch: 8, crop: 128, validate_every: {every}}}
  - predict: {{window: 256, overlap: 64}}
  - change: {{mmu_ha: 0.01}}
  - report: {{title: "mapmend demo: an embedded landscape"}}
"""


def demo(out: Path, *, size: int = 1024, steps: int = 300, seed: int = 0, device: str = "auto") -> RunResult:
    """Generate a landscape of two dates below `out`, map it from its imperfect label, and print how good it became.

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
    if result.change_accuracy is not None:
        console.print(change_table(result.change_accuracy))
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


def change_table(accuracy: ChangeAccuracy, most: int = 6) -> Table:
    """What was found of the true change, in percent, and the largest transitions' areas beside the true ones."""
    metrics = change_metrics(accuracy)
    table = Table(title="change against the truth")
    for column in ("", "truth", "map", "difference"):
        table.add_column(column, justify="left" if not column else "right")
    found = {"IoU": metrics.iou_changed, "precision": metrics.precision_changed, "recall": metrics.recall_changed}
    for name, value in found.items():
        table.add_row(f"{name} of change, %", "", "-" if value is None else f"{100 * value:.1f}", "")
    truth, mapped = accuracy.truth_areas, accuracy.map_areas
    pairs = [(i, j) for i in range(len(truth)) for j in range(len(truth)) if i != j]
    _add_area(table, f"changed, {accuracy.unit}", *(sum(areas[pair] for pair in pairs) for areas in (truth, mapped)))
    for i, j in sorted(pairs, key=lambda pair: -truth[pair])[:most]:
        _add_area(table, f"  {accuracy.names[i]} → {accuracy.names[j]}", truth[i, j], mapped[i, j])
    return table


def _add_area(table: Table, name: str, truth: float, mapped: float) -> None:
    table.add_row(name, f"{truth:.2f}", f"{mapped:.2f}", f"{mapped - truth:+.2f}")


def _percent(before: float | None, after: float | None) -> tuple[str, str, str]:
    texts = ["-" if value is None else f"{100 * value:.1f}" for value in (before, after)]
    return texts[0], texts[1], "-" if before is None or after is None else f"{100 * (after - before):+.1f}"
