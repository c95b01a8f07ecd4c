"""A mapping job before it begins: what is mapped by what, in which blocks, and all that its bytes depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mapmend.core.grid import grid_to_dict
from mapmend.core.provenance import file_hash
from mapmend.nn.allocator import keep_large_blocks
from mapmend.predict.blocks import Block, batch_size, block_side, plan_blocks
from mapmend.predict.layers import Layers, choose_layers
from mapmend.predict.pair import channels, disagrees, fitted
from mapmend.predict.predictor import Predictor, load_predictor
from mapmend.predict.scene import Scene, SceneReader, check_sensors
from mapmend.raster.remote import stamp


@dataclass(frozen=True)
class Job:
    """What is mapped by what.

    Attributes:
        predictor: gives probabilities.
        scene: what is mapped.
        side: of a block in pixels.
        blocks: all of them, in row-major order.
        layers: that are written.
    """

    predictor: Predictor
    scene: Scene
    side: int
    blocks: tuple[Block, ...]
    layers: Layers

    @property
    def identity(self) -> dict[str, object]:
        """All that the map's bytes depend on; the blocks' side is not among it."""
        predictor, scene = self.predictor, self.scene
        sources = scene.every
        files = [file for source in sources for file in (*source.files, source.valid) if file is not None]
        return {
            **predictor.identity,
            "window": predictor.lattice.size,
            "overlap": predictor.lattice.overlap,
            "batch": batch_size(scene.grid, predictor.lattice, predictor.batch),
            "legend": predictor.legend.to_dict(),
            "scene": scene.name,
            "date": scene.date,
            **({"date_before": scene.date_before} if scene.before else {}),
            "grid": grid_to_dict(scene.grid),
            "sources": [stamp(file) for file in files],
            "bands": [list(source.bands) for source in sources],
            "aoi": file_hash(scene.aoi) if scene.aoi is not None else None,
            **({"absent": [list(one) for one in scene.absent]} if scene.partial else {}),
            **({"probabilities": list(self.layers.names)} if self.layers.names else {}),
            **({"entropy": True} if self.layers.entropy else {}),
            **({"zone": scene.zone.name} if scene.zone is not None else {}),
            **({"prior": scene.prior.identity} if scene.prior is not None else {}),
        }


def plan_job(
    model: Path | Predictor, scene: Scene, block: int | None, probabilities: str | Sequence[str], entropy: bool
) -> Job:
    """The job of a model and a scene; arguments and errors as in `predict_scene`."""
    keep_large_blocks()
    predictor, scene = fitted(load_predictor(Path(model)) if isinstance(model, str | Path) else model, scene)
    if predictor.sensors:
        check_sensors(scene, predictor.sensors)
    side = block_side(predictor.lattice, channels(predictor), block)
    apart = disagrees(predictor)
    layers = choose_layers(
        predictor.legend, scene.dates, probabilities, entropy=entropy, used=scene.partial, disagreement=apart
    )
    return Job(predictor, scene, side, tuple(plan_blocks(scene.grid, side, SceneReader(scene).bounds)), layers)
