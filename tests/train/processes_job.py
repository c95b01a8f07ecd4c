"""Trains in one and in two processes and leaves what came of it in a folder; started by tests, once for all of them.

    python processes_job.py OUT

Processes are forked from this one, which has computed nothing yet, so that torch is imported once; their environment is
what torchrun gives.
"""

import os
import signal
import socket
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_training import TrainingSamples, ValidationSamples, classes_of, network_of

from mapmend.core.preemption import Preempted
from mapmend.methods import METHODS
from mapmend.train.config import LoopConfig
from mapmend.train.loop import fit

BATCH = 4


def train(out, rank, world, *, method="supervised", norm=True, dropout=0.1, shared=False, stop=None, steps=4):
    """One process of a training; its last weights go to weights-<rank>.safetensors."""
    torch.set_num_threads(1)
    kind = METHODS[method]
    classes = classes_of(kind)
    trained = kind(network_of(kind, norm, dropout, seed=rank), kind.config_class(), (1,) * len(classes))
    # invalid pixels differ in number between halves of a batch, and so would the mean of the halves' means
    how = {"ranks_share": BATCH // world, "whole": True} if shared else {}
    config = LoopConfig(steps=steps, batch=BATCH // world, validate_every=2, workers=0, accelerator="cpu", lr=0.05)

    def on_step(step, outcome):
        if stop == (rank, step):
            os.kill(os.getpid(), signal.SIGTERM)

    data = {name: TrainingSamples(dates=kind.dates, **how) for name in kind.loaders}
    held = ValidationSamples(3, dates=kind.dates)
    try:
        fit(trained, data, held, config, out, classes=classes, identity={}, on_step=on_step)
    except Preempted as preempted:
        (out / f"preempted-{rank}").write_text(str(preempted.done))
    else:
        save_file(
            {name: tensor.contiguous() for name, tensor in trained.state_dict().items()},
            out / f"weights-{rank}.safetensors",
        )


def start(out, world, **how):
    """Fork the processes of one training and wait for them."""
    out.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child:
            children.append(child)
            continue
        try:
            if world > 1:
                names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
                names |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
                os.environ.update({name: str(value) for name, value in names.items()})
            train(out, rank, world, **how)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(codes):
        raise SystemExit(f"{out.name}: exit codes {codes}")


def main():
    out = Path(sys.argv[1])
    plain = {"norm": False, "dropout": 0.0, "shared": True}
    start(out / "whole", 1, **plain)
    start(out / "halves", 2, **plain)
    for name in METHODS:
        start(out / name, 2, method=name)
    stopped = {"stop": (1, 3), "steps": 6}
    start(out / "stopped", 2, **stopped)
    start(out / "stopped", 2, steps=6)
    start(out / "unstopped", 2, steps=6)


if __name__ == "__main__":
    main()
