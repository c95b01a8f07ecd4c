"""Which ways to train a bench compares: named train settings, shipped and of a user's own file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mapmend.core.errors import ProjectError
from mapmend.core.plain import read_yaml, suggestion

Preset = Mapping[str, Any]
"""Keys of a project's `train`, put over those of the bench's data."""

BASELINE = "ce_ema"
"""What every other preset is compared with."""

MENDED = "mended"
"""No map, but the label itself: what `audit` finds more likely wrong than right is replaced."""

WITH_LABEL = "+label"
"""After a preset's name: mapped with `prior: label`, so that the label counts beside the image."""

PRESETS: Mapping[str, Preset] = {
    "ce": {"ema_decay": 0},
    BASELINE: {},
    MENDED: {},
    "c2fnet": {"method": "c2fnet"},
    "c2fnet_published": {"method": "c2fnet", "robust": "none", "everywhere": 0, "plain_first": 0.1},
    "beliefs": {"robust": "posterior", "head": "cosine"},
    "plat": {"method": "plat"},
    "sce": {"robust": "sce"},
    "gce": {"robust": "gce"},
    "bootstrap_soft": {"robust": "bootstrap_soft"},
    "bootstrap_hard": {"robust": "bootstrap_hard"},
    "elr": {"robust": "elr"},
    "correction": {"correction": "objects"},
    "proportions": {"ce": 0, "proportions": 1},
    "ce_proportions": {"proportions": 1},
}


def choose(names: Sequence[str], own: Path | None = None) -> dict[str, Preset]:
    """Presets by name, each once, in the order that is asked for.

    Args:
        names: of shipped presets and of those in `own`, `WITH_LABEL` after them or not.
        own: YAML file of presets, name → train settings; they may not take a shipped name.

    Raises:
        ProjectError: an unknown name, or a file that is no such mapping.
    """
    known: dict[str, Preset] = dict(PRESETS)
    for name, given in (read_yaml(own, ProjectError) if own is not None else {}).items():
        if name in PRESETS:
            raise ProjectError(f"method '{name}' is shipped already", where=own, fix="give yours another name")
        if not isinstance(given, Mapping | None):
            raise ProjectError(f"'{name}' is no mapping of train settings", where=own, fix=f"{name}: {{robust: sce}}")
        known[name] = dict(given or {})
    for name in names:
        if name.removesuffix(WITH_LABEL) not in known or name == MENDED + WITH_LABEL:
            raise ProjectError(f"unknown method '{name}'", where="--methods", fix=suggestion(name, known))
    return {name: known[name.removesuffix(WITH_LABEL)] for name in names}
