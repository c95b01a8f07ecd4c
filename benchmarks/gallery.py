"""The gallery: every example run as a user runs it, with its figures and its picture.

    python benchmarks/gallery.py --data DIR [--work DIR] [--pictures docs/img] [NAME ...]

Minutes an example on two cores. One that is finished in `--work` is not run again. Where an example has no reference,
its figure is that of the places held out for validation, which also chose the model: it flatters.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image

from mapmend.nn.model_folder import read_card
from mapmend.project import load_project
from mapmend.reporting import RunResult
from mapmend.run import run
from trials import machine, table

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ("joplin", "nc_landsat7", "chesapeake_tile", "chesapeake_tile_mended", "levir", "taizhou")
WIDTH = 1400  # pixels of a picture


def figures(name: str, result: RunResult, minutes: float) -> list[str]:
    """A row of the table: what was scored on, overall accuracy and mean IoU of label and map, change, minutes."""
    scores: dict[str, Any] = result.scores()
    accuracy = scores["accuracy"]
    if accuracy is not None:
        on, label, map_ = "reference", accuracy["label"], accuracy["map"]
    else:
        assert result.model is not None
        on, label, map_ = "held-out places", None, read_card(result.model).metrics["validation"]
    changed = scores["change"]["iou_changed"] if scores["change"] else _of_class(map_, "changed")
    return [name, on, *_pair(label), *_pair(map_), _percent(changed), f"{minutes:.1f}"]


def _of_class(metrics: dict[str, Any], name: str) -> float | None:
    return next((one["iou"] for one in metrics["classes"] if one["name"] == name), None)


def _pair(metrics: dict[str, Any] | None) -> tuple[str, str]:
    return ("–", "–") if metrics is None else (_percent(metrics["oa"]), _percent(metrics["miou"]))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def picture(source: Path, target: Path) -> None:
    """The report's panel, small enough for a page."""
    with Image.open(source) as panel:
        small = panel.convert("RGB")
        small.thumbnail((WIDTH, WIDTH))
        small.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("gallery"))
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    rows = []
    for name in given.names:
        out = given.work / name
        result = run(load_project(EXAMPLES / f"{name}.yaml", given.data), out)
        minutes = sum(json.loads((out / "run.json").read_text())["seconds"].values()) / 60
        rows.append(figures(name, result, minutes))
        if given.pictures is not None:
            picture(out / "panel.png", given.pictures / f"gallery_{name}.png")
    head = ["example", "scored on", "label OA", "label mIoU", "map OA", "map mIoU", "change IoU", "minutes"]
    print(table(head, rows))
    print(machine())


if __name__ == "__main__":
    main()
