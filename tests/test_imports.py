"""The layout's promise: imports point one way."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mapmend"

MAY_IMPORT = {
    "core": set(),
    "raster": {"core"},
    "data": {"core", "raster"},
    "nn": {"core"},
    "losses": {"core"},
    "accuracy": {"core"},
    "methods": {"core", "nn", "losses"},
    "train": {"core", "data", "nn", "losses", "methods", "accuracy"},
    "predict": {"core", "raster", "nn", "losses"},
    "change": {"core", "raster"},
    "pseudo": {"core", "raster", "data", "nn", "predict"},
    "report": {"core", "raster", "data", "accuracy", "change"},
    "doctor": {"core", "raster", "data", "project", "beforehand"},
    "row": {"core"},
    "step_settings": {"core", "methods", "train", "change", "pseudo"},
    "project": {"core", "methods", "change", "pseudo", "row", "step_settings"},
    "stages": {"core", "data", "project", "pseudo", "row", "step_settings"},
    "beforehand": {"core", "data", "project"},
    "maps": {"core", "raster", "data", "predict", "change", "project"},
    "calibrate": {"core", "data", "accuracy", "nn", "predict"},
    "certain": {"core", "accuracy", "raster", "predict"},
    "training": {
        "core",
        "data",
        "losses",
        "nn",
        "train",
        "calibrate",
        "project",
        "maps",
        "methods",
        "stages",
        "step_settings",
    },
    "steps": {
        "core",
        "beforehand",
        "raster",
        "data",
        "nn",
        "predict",
        "pseudo",
        "certain",
        "change",
        "project",
        "maps",
        "training",
        "row",
        "stages",
    },
    "reporting": {"core", "raster", "data", "nn", "train", "change", "accuracy", "report", "project", "maps", "stages"},
    "run": {"core", "project", "steps", "stages", "training", "reporting"},
    "scoring": {"core", "raster", "accuracy"},
    "demo": {"core", "data", "accuracy", "project", "reporting", "run"},
    "bench": {
        "core",
        "raster",
        "data",
        "accuracy",
        "train",
        "project",
        "maps",
        "reporting",
        "run",
        "audit",
        "step_settings",
    },
    "sampling": {"core", "raster", "change", "accuracy"},
    "assessing": {"core", "raster", "accuracy", "sampling"},
    "audit": {
        "core",
        "raster",
        "data",
        "nn",
        "predict",
        "change",
        "report",
        "project",
        "maps",
        "training",
        "steps",
    },
    "cli": {
        "audit",
        "certain",
        "core",
        "raster",
        "nn",
        "predict",
        "train",
        "change",
        "doctor",
        "scoring",
        "project",
        "step_settings",
        "steps",
        "run",
        "demo",
        "sampling",
        "assessing",
        "bench",
        "pseudo",
    },
    "__main__": {"cli"},
}
NO_TORCH = {"core", "raster", "accuracy", "scoring", "change", "doctor", "report", "sampling", "assessing"}


def _files():
    return sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem in MAY_IMPORT)


def _room(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported(path):
    """Modules named by any import statement of a file, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "mapmend":
                yield from (f"mapmend.{alias.name}" for alias in node.names if not alias.name.startswith("__"))


def test_every_room_has_a_rule():
    rooms = {_room(path) for path in SOURCE.rglob("*.py")} - {"__init__"}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    room = _room(path)
    for module in _imported(path):
        parts = module.split(".")
        if parts[0] == "mapmend" and len(parts) > 1:
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{room} must not import {module}"
        if parts[0] in ("torch", "timm", "torchvision"):
            assert room not in NO_TORCH, f"{room} must not import {module}"
