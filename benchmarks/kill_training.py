"""Kill a small training job with SIGKILL at random moments and compare its last bits with an undisturbed run's.

    python benchmarks/kill_training.py [--kills 100] [--signals KILL] [--steps 100] [--threads 1] [--seed 0]

The job has what makes training hard to repeat: batch norm, dropout, AdamW, an average of the weights, evaluations that
choose the best, a reader in another process, a log. It is forked from this process, so that torch is imported once. A
job is killed at random moments, its start included, until one session of it reaches the end; then the next job begins,
until there were as many kills as asked for. With `--signals TERM` the job and its reader are asked to stop instead;
with `--signals KILL TERM` one of the two is drawn each time. Exit code 1 if a bit differs.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from mapmend.core.preemption import Preempted
from mapmend.methods import METHODS
from mapmend.train.config import LoopConfig
from mapmend.train.loop import fit

SIDE, CLASSES = 32, ("dark", "middle", "bright")


class Samples(Dataset):
    """Noisy cells of three greys, by key or by index."""

    def __len__(self):
        return 6

    def __getitem__(self, key):
        rng = np.random.default_rng([5, *np.atleast_1d(key)])
        mask = np.kron(rng.integers(3, size=(4, 4)), np.ones((8, 8), np.int64))
        image = (60 * mask + rng.integers(0, 80, size=(3, SIDE, SIDE))).astype(np.uint8)
        return {
            "image": torch.from_numpy(image)[None],
            "mask": torch.from_numpy(mask)[None],
            "valid": torch.from_numpy(rng.random((1, 1, SIDE, SIDE)) > 0.05),
        }


class Network(nn.Module):
    """Two convolutions with batch norm and dropout."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout2d(0.2))
        self.decoder = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image, valid):
        """Logits B×3×H×W."""
        return self.decoder(self.encoder((image.float() / 128 - 1) * valid))


def train(out: Path, steps: int, threads: int) -> None:
    """The job, from its start or from where it was killed."""
    torch.manual_seed(0)
    kind = METHODS["supervised"]
    method = kind(Network(), kind.config_class(dice=1.0, label_smoothing=0.05), (1, 1, 1))
    config = LoopConfig(
        steps=steps,
        batch=4,
        validate_every=7,
        checkpoint_every=5,
        log_every=3,
        workers=1,
        threads=threads,
        accelerator="cpu",
    )
    fit(method, Samples(), Samples(), config, out, classes=CLASSES, identity={"job": "kill"})


def start(out: Path, steps: int, threads: int) -> int:
    """Fork the job in a process group of its own; its process id."""
    child = os.fork()
    if child:
        os.setpgid(child, child)  # here, or a kill could come before the child has done it
        return child
    try:
        train(out, steps, threads)
        os._exit(0)
    except Preempted as stopped:
        os._exit(stopped.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def ended(child: int, seconds: float | None, number: signal.Signals = signal.SIGKILL) -> bool:
    """Wait for the job; after so many seconds send it and its reader the signal. Whether it came to its end."""
    deadline = time.monotonic() + seconds if seconds is not None else None
    while deadline is None or time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG if deadline is not None else 0)
        if done:
            if os.waitstatus_to_exitcode(status):
                raise SystemExit("the job failed")
            return True
        time.sleep(0.002)
    os.killpg(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -number, Preempted.code):
        raise SystemExit(f"the job ended with {code} at signal {number}")
    return code == 0


def last_bits(out: Path) -> str:
    """Hash of the last checkpoint's tensors (weights, average, best, optimiser) and of the log but its clock."""
    folder = max((out / "checkpoints").iterdir())
    digest = hashlib.sha256((folder / "state.safetensors").read_bytes())
    for line in (out / "log.jsonl").read_text().splitlines():
        row = {name: value for name, value in json.loads(line).items() if name not in ("seconds", "samples_per_second")}
        digest.update(json.dumps(row, sort_keys=True).encode())
    return f"{folder.name}:{digest.hexdigest()}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--signals", nargs="+", choices=("KILL", "TERM"), default=["KILL"])
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path)
    args = options.parse_args()
    folder = args.out or Path(tempfile.mkdtemp(prefix="kill-training-"))
    draws = random.Random(args.seed)

    began = time.monotonic()
    ended(start(folder / "undisturbed", args.steps, args.threads), None)
    whole = time.monotonic() - began
    expected = last_bits(folder / "undisturbed")

    kills = jobs = different = 0
    while kills < args.kills:
        jobs += 1
        out = folder / f"killed-{jobs}"
        while True:
            patience = draws.uniform(0, whole / 2) if kills < args.kills else None
            number = signal.Signals[f"SIG{draws.choice(args.signals)}"]
            if ended(start(out, args.steps, args.threads), patience, number):
                break
            kills += 1
        different += last_bits(out) != expected
        shutil.rmtree(out)
    seconds = time.monotonic() - began
    print(f"{kills} kills of {jobs} jobs of {args.steps} steps ({whole:.1f} s undisturbed) in {seconds:.0f} s")
    print(f"jobs whose last bits differ from the undisturbed run's: {different}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} thread(s), torch {torch.__version__}")
    if not args.out:
        shutil.rmtree(folder)
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
