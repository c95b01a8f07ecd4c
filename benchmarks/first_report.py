"""From nothing to a report of one's own two GeoTIFFs: an image and an old map, as the ten-minute start does it.

    python benchmarks/first_report.py [--work DIR] [--side 1024] [--cold]

A new environment, the installation (with `--cold` all packages are downloaded, else they come from the installer's
cache as far as it has them), `mapmend doctor`, and `mapmend run` on an image and a coarse label of a generated
landscape: a project file of ten lines, 300 steps. Times are of this machine, its network and its cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = """\
name: mytown
legend: landscape
sensors: {optical: naip}
scenes:
  - {site: mytown, date: 2023-05-16, image: {optical: image.tif}, label: oldmap.tif, trust: coarse}
steps:
  - train: {steps: 300, crop: 128}
  - predict
  - report
"""
DRAW = """
import sys, shutil
from pathlib import Path
from mapmend.data.landscape import write_landscape
folder = Path(sys.argv[1])
write_landscape(folder / "landscape", int(sys.argv[2]), 3)
shutil.copy(folder / "landscape/optical_2023-05-16.tif", folder / "image.tif")
shutil.copy(folder / "landscape/label.tif", folder / "oldmap.tif")
"""


def timed(name: str, command: list[str], folder: Path, **environment: str) -> None:
    """Run a command and print how long it took."""
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, **environment})
    print(f"| {name} | {time.perf_counter() - start:.0f} s |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("first_report"))
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    work = given.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    python, mapmend = str(work / "env/bin/python"), str(work / "env/bin/mapmend")
    timed("environment", [sys.executable, "-m", "venv", "env"], work)
    timed("installer", [python, "-m", "pip", "install", "--quiet", "uv"], work)
    install = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    cache = ["--no-cache"] if given.cold else []
    timed("installation", [*install, *cache, *constraints, f"mapmend[weights] @ {ROOT.as_uri()}"], work)
    subprocess.run([python, "-c", DRAW, str(work), str(given.side)], check=True)
    (work / "mytown.yaml").write_text(PROJECT)
    timed("doctor", [mapmend, "doctor", "mytown.yaml"], work)
    timed("run, from two GeoTIFFs to the report", [mapmend, "run", "mytown.yaml", "--out", "results"], work)
    assert (work / "results/report.html").is_file()


if __name__ == "__main__":
    main()
