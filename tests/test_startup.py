"""What needs no network does not wait for torch, which takes seconds to load."""

import subprocess
import sys

import pytest
from tests.data.scenery import grid, halves, image_of, write

CODE = """
import sys
from mapmend import cli
try:
    cli.main()
except SystemExit as stop:
    code = stop.code
heavy = [name for name in ("torch", "timm", "segmentation_models_pytorch", "torchgeo") if name in sys.modules]
print(code, *heavy, file=sys.stderr)
"""


@pytest.mark.parametrize("verb", ["help", "doctor", "change", "a missing project"])
def test_torch_is_not_loaded(tmp_path, verb):
    ids = halves(64, 64)
    files = [write(tmp_path / f"{name}.tif", ids, grid(64, 64), nodata=255) for name in "ab"]
    write(tmp_path / "image.tif", image_of(ids), grid(64, 64))
    arguments, expected = {
        "help": (["--help"], "0"),
        "doctor": (["doctor", tmp_path], "0"),
        "change": (["change", *files, "--legend", "chesapeake", "--out", tmp_path / "out"], "0"),
        "a missing project": (["run", tmp_path / "none.yaml"], "2"),
    }[verb]
    done = subprocess.run([sys.executable, "-c", CODE, *map(str, arguments)], capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == expected, done.stderr
