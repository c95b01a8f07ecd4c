"""What the machine has, against what a project will need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mapmend.doctor.finding import Finding

_LIKELY = 0.6  # of the bytes counted; written were 0.58 of them for tiles of NAIP, 0.44 for Sentinel-2 as 8-bit colours
MAP_BYTES = 3  # class and confidence of a pixel, as blocks and as a map, at most
PAIR_BYTES = 8  # the same of two dates, with the probability of change
CHANGE_BYTES = 5  # four rasters of a comparison, at most, of which one may have 16 bits
_BASE = 1_200_000_000  # bytes of a training process with its libraries
_PER_WORKER = 400_000_000
_PER_PIXEL = 2500  # bytes that a training step holds per pixel of its batch, in 32 bits, for a small encoder
_TIGHT = 0.8


@dataclass(frozen=True)
class Machine:
    """Memory in bytes that is free to use (None: unknown), cores, GPUs."""

    memory: int | None
    cores: int
    gpus: int


@dataclass(frozen=True)
class Need:
    """What a project will write and hold.

    Attributes:
        prepared: bytes of prepared images and labels, uncompressed: the most there can be.
        maps: bytes of maps.
        batch_pixels: pixels of a training batch.
        workers: processes that read for training.
    """

    prepared: int
    maps: int
    batch_pixels: int
    workers: int

    @property
    def memory(self) -> int:
        """Bytes that training holds at its peak, roughly."""
        return _BASE + self.workers * _PER_WORKER + self.batch_pixels * _PER_PIXEL


def this_machine(root: Path = Path("/")) -> Machine:
    """This machine as far as this process may use it, limits of its container included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = len(list((root / "dev").glob("nvidia[0-9]*")))
    return Machine(available_memory(root), cores, gpus + (sys.platform == "darwin"))


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that may be used: what the machine has free, or the rest of the container's limit."""
    free = [value for value in (_meminfo(root), _cgroup(root)) if value is not None]
    return min(free, default=None)


def disk(need: Need, out: Path, free: Callable[[Path], int] | None = None) -> list[Finding]:
    """Whether what will be written fits on the disk of the output folder."""
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    space = (free or _free)(place)
    likely, most = int(need.prepared * _LIKELY) + need.maps, need.prepared + need.maps
    what = f"will write about {_size(likely)}, {_size(most)} at most; {_size(space)} are free"
    if likely > space:
        return [Finding("error", "disk", what, str(out), "free space, or choose another disk with --out")]
    if most > space:
        return [Finding("warning", "disk", what, str(out), "free space, or choose another disk with --out")]
    return [Finding("note", "disk", what, str(out))]


def memory(need: Need, machine: Machine) -> list[Finding]:
    """Whether training fits into memory."""
    if machine.memory is None:
        return []
    what = f"training holds about {_size(need.memory)}; {_size(machine.memory)} are available"
    if need.memory > machine.memory:
        return [Finding("warning", "memory", what, "this machine", "lower train's `batch`, `crop` or `workers`")]
    tight = need.memory > _TIGHT * machine.memory
    return [Finding("note", "memory", what, "this machine", "close other programs" if tight else "")]


def processors(machine: Machine) -> list[Finding]:
    """Cores and GPUs."""
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    if machine.gpus:
        return [Finding("note", "processors", f"{cores}, {machine.gpus} GPU", "this machine")]
    fix = "small encoders (tf_efficientnet_lite0) train on cores in minutes; larger ones want a GPU"
    return [Finding("note", "processors", f"{cores}, no GPU", "this machine", fix)]


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _meminfo(root: Path) -> int | None:
    try:
        lines = (root / "proc" / "meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup(root: Path) -> int | None:
    """What the container's limit leaves; caches that the kernel would give back count as free."""
    folder = root / "sys" / "fs" / "cgroup"
    for limit, usage, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = ((folder / name).read_text().strip() for name in (limit, usage))
            stat = (folder / limit).with_name("memory.stat").read_text().split()
        except OSError:
            continue
        if most.isdigit() and int(most) < 2**60:
            held = int(stat[stat.index(cache) + 1]) if cache in stat else 0
            return int(most) - int(used) + held
    return None


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
