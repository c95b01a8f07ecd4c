"""Mapping beside TorchGeo, TerraTorch and geoai: the same scene, network, windows and overlap.

    python benchmarks/mapping/peers.py [--work DIR] [--only NAME ...] [--threads N] [--rounds 3]

Each peer is installed from PyPI into an environment of its own below `--work` (some 6 GB each; one that takes longer
than ten minutes is left out, unless it was made there before), and mapped with by its driver in `peer_drivers/`, in a
process of its own.
Speed is that of a U-Net on EfficientNet-B0 over 4096² pixels, from the file to the finished file of classes, in rounds
that take turns. Memory is the peak of the process over 4096² and 8192² pixels with one convolution as the network,
beside what the U-Net takes at 4096²; at 16384² a straight line through both is drawn, and mapmend is measured there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from efficiency import make_scene

from trials import Trials, machine, table

DRIVERS = Path(__file__).parent / "peer_drivers"
LONGEST = 600  # seconds of an installation
SPEED, MEMORY, FAR = 4096, (4096, 8192), 16384


@dataclass(frozen=True)
class Peer:
    """Who maps.

    Attributes:
        driver: `with_<driver>.py` in `peer_drivers`.
        package: on PyPI; empty for this project, in the running environment.
        more: packages that it imports and does not ask for.
        backend: of mapmend: backend and precision.
    """

    driver: str
    package: str = ""
    more: tuple[str, ...] = ()
    backend: str = ""


PEERS = {
    "mapmend": Peer("mapmend", backend="torch/float32"),
    "mapmend, bfloat16": Peer("mapmend", backend="torch/bfloat16"),
    "mapmend, OpenVINO": Peer("mapmend", backend="openvino/bfloat16"),
    "TorchGeo, pasted": Peer("torchgeo", "torchgeo", ("requests",)),
    "TerraTorch": Peer("terratorch", "terratorch"),
    "geoai": Peer("geoai", "geoai-py"),
}


def interpreter(peer: Peer, work: Path) -> Path | None:
    """The peer's own Python, installed where it is not yet; None where that takes too long or fails."""
    if not peer.package:
        return Path(sys.executable)
    folder = work / "environments" / peer.package
    python, told = folder / "bin" / "python", folder / "installed.json"
    if not told.is_file():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", peer.package, *peer.more]
        try:
            subprocess.run(command, check=True, timeout=LONGEST)
            version = subprocess.run(
                [str(python), "-c", f"from importlib.metadata import version; print(version('{peer.package}'))"],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout.strip()
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            version = f"not installed: {type(error).__name__}"
        told.write_text(json.dumps({"version": version, "seconds": time.perf_counter() - start}))
    return None if json.loads(told.read_text())["version"].startswith("not") else python


def version(peer: Peer, work: Path) -> str:
    """Of the peer's package."""
    if not peer.package:
        return ""
    return str(json.loads((work / "environments" / peer.package / "installed.json").read_text())["version"])


def mapped(peer: Peer, python: Path, scene: Path, network: str, threads: int) -> dict[str, Any]:
    """One map by one peer in a process of its own."""
    out = scene.parent / f"map-{peer.driver}-{time.time_ns()}.tif"
    command = [str(python), str(DRIVERS / f"with_{peer.driver}.py"), str(scene), str(out), "--network", network]
    environment = {**os.environ, "BACKEND": peer.backend, "OMP_NUM_THREADS": str(threads)}
    if peer.package:
        environment.pop("PYTHONPATH", None)
    text = subprocess.run(
        [*command, "--threads", str(threads)], check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
    subprocess.run(["rm", "-rf", str(out)], check=True)
    told: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return told


def mean_and_deviation(values: list[float]) -> str:
    """With two digits."""
    more = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{more}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/peers"))
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    work = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    scenes = {}
    for side in (*MEMORY, FAR):
        (work / "scenes" / str(side)).mkdir(parents=True, exist_ok=True)
        make_scene(work / "scenes" / str(side), side)
        scenes[side] = work / "scenes" / str(side) / f"scene{side}.tif"
    ready = {name: interpreter(PEERS[name], work) for name in options.only}
    trials, speed = Trials(work / "results.jsonl"), {name: [] for name in options.only}
    for turn in range(options.rounds):
        for name, python in ready.items():
            if python is not None:
                key = {"peer": name, "side": SPEED, "network": "unet", "threads": options.threads, "round": turn}
                run = (PEERS[name], python, scenes[SPEED], "unet", options.threads)
                speed[name].append(trials.run(key, lambda run=run: mapped(*run)))
    memory: dict[str, dict[int, float]] = {}
    for name, python in ready.items():
        for side in (*MEMORY, *([FAR] if not PEERS[name].package else [])) if python is not None else ():
            key = {"peer": name, "side": side, "network": "light", "threads": options.threads}
            run = (PEERS[name], python, scenes[side], "light", options.threads)
            memory.setdefault(name, {})[side] = trials.run(key, lambda run=run: mapped(*run))["peak_mib"]
    rows = []
    for name in options.only:
        if not speed[name]:
            rows.append([name, version(PEERS[name], work), *["–"] * 6])
            continue
        pixels, of_light = SPEED**2 / 1e6, memory[name]
        slope = (of_light[MEMORY[1]] - of_light[MEMORY[0]]) / (MEMORY[1] ** 2 - MEMORY[0] ** 2)
        far = of_light.get(FAR, of_light[MEMORY[0]] + slope * (FAR**2 - MEMORY[0] ** 2))
        rows.append(
            [
                name,
                version(PEERS[name], work),
                f"{statistics.median(pixels / one['seconds'] for one in speed[name]):.2f}",
                mean_and_deviation([one["work"] / pixels for one in speed[name]]),
                f"{speed[name][0]['peak_mib']:.0f}",
                *(f"{of_light[side]:.0f}" for side in MEMORY),
                f"{far:.0f}",
            ]
        )
    head = ["", "release", "Mpx/s", "processor s per Mpx", f"MiB at {SPEED}², U-Net"]
    print(table([*head, *(f"MiB at {side}², light" for side in (*MEMORY, FAR))], rows))
    print(f"\n{options.rounds} rounds, {options.threads} threads; {machine()}")


if __name__ == "__main__":
    main()
