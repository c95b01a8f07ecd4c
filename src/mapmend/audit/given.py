"""A label judged by a given model, which must not have learned from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mapmend.audit.held_out import Judged, predict_block
from mapmend.audit.label_files import label_file
from mapmend.audit.record import LabelFile
from mapmend.core.errors import LabelError, ManifestError
from mapmend.core.legend import Legend
from mapmend.core.manifest import Row
from mapmend.core.preemption import Preempted, watch_signals
from mapmend.core.provenance import file_hash, file_stamp, value_hash
from mapmend.core.sensor import Sensor
from mapmend.data.folds import equal_blocks
from mapmend.data.prepare import prepare
from mapmend.nn.model_folder import model_hash, read_card
from mapmend.predict.predictor import load_predictor
from mapmend.predict.scene import Scene, check_sensors
from mapmend.training import LABELS

_SIDE = 1024  # of the blocks that are predicted
_FIX = "audit a project, whose labels are judged by models that were trained on other ground"


def judged_by_model(
    model: Path, images: Sequence[Path], label: Path, work: Path, label_legend: str | None, device: str
) -> tuple[Judged, Legend, LabelFile, str]:
    """Predict a place by a model that has not seen its label.

    Args:
        model: its folder.
        images: one per sensor of the model.
        label: of the place.
        work: folder for what is prepared and predicted; what is there already is used again.
        label_legend: what the label's codes are.
        device: auto, cpu, cuda or mps.

    Returns:
        The judged place, the model's legend, the label's file, and a hash of all that the probabilities depend on.

    Raises:
        LabelError: the model was trained on this label, or cannot tell.
        MapmendError: an input does not fit.
        Preempted: a signal came.
    """
    card = read_card(model)
    legend = Legend.from_dict(card.legend, where=model)
    for path in (label, *images):
        if not path.is_file():
            raise ManifestError("no such file", where=path, fix="correct the path")
    _check_unseen(card.provenance.get(LABELS), label, model)
    sensors = {name: Sensor.from_dict(sensor, where=model) for name, sensor in card.sensors.items()}
    if len(images) != len(sensors):
        raise ManifestError(
            f"{len(images)} images, the model wants {len(sensors)} ({', '.join(sensors)})",
            where="--image",
            fix="give one per sensor of the model, in this order",
        )
    rows = [
        Row(site=images[0].stem, sensor=name, image=(str(image),), label=str(label), label_legend=label_legend)
        for name, image in zip(sensors, images, strict=True)
    ]
    prepared = prepare(rows, sensors, legend, work / "prepared")
    site = prepared.sites[0]
    scene = Scene(site.name, site.sources, site.grid, site.date)
    check_sensors(scene, list(sensors.values()))
    predictor = load_predictor(model, device=device)
    identity = value_hash([model_hash(model), [file_stamp(image) for image in images]])
    judged = Judged(site, tuple(equal_blocks(site.grid, _SIDE)), None, work / "held_out" / identity[:16])
    with watch_signals() as watch:
        for done, block in enumerate(judged.blocks):
            if watch.asked:
                raise Preempted(done, len(judged.blocks), "blocks")
            predict_block(predictor, judged, block)
    return judged, legend, label_file(rows[0], site, legend, Path()), identity


def _check_unseen(seen: object, label: Path, model: Path) -> None:
    """Refuse a model that knows the label's errors by heart."""
    if not isinstance(seen, list):
        raise LabelError(
            "does not say which labels it was trained on, and may have seen this one", where=model, fix=_FIX
        )
    own = file_hash(label)
    if any(isinstance(one, dict) and one.get("sha256") == own for one in seen):
        raise LabelError(
            f"the model {model} was trained on this label, and would confirm its errors", where=label, fix=_FIX
        )
