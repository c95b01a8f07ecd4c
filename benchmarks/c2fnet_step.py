"""What a step of c2fnet costs beside a step of plain cross-entropy, on the same network and batch.

    python benchmarks/c2fnet_step.py [--rounds 6]

Forward, losses and backward of 4 crops of 128² with 4 bands and 4 classes, cells of 15 pixels, half-way through
training, so that every part is at work. The kinds take turns, and a ratio is of two steps of the same turn; peak memory
is that of a process of its own. About five minutes on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch

from mapmend.methods import METHODS
from mapmend.methods.method import StepState
from mapmend.nn.allocator import keep_large_blocks
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec
from trials import machine, ratios, table

NETWORKS = {
    "errb64": ("errb64", "concat"),
    "rp64, no edges": ("rp64", "concat"),
    "lite0 U-Net": ("tf_efficientnet_lite0", "unet"),
}
KINDS = {
    "cross-entropy": ("supervised", {}),
    "c2fnet": ("c2fnet", {}),
    "without two views": ("c2fnet", {"self_supervised": 0.0}),
    "confident areas alone": ("c2fnet", {"self_supervised": 0.0, "vague": 0.0}),
}
BATCH, SIDE, BANDS, CLASSES, CELL = 4, 128, 4, 4, 15


def as_in_training(method: torch.nn.Module) -> torch.nn.Module:
    """A method whose memory is laid out and kept as `fit` does it."""
    keep_large_blocks()
    for module in method.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return method.train()


def prepared(network: str, kind: str) -> tuple[torch.nn.Module, dict[str, dict[str, torch.Tensor]]]:
    """A method, and a batch whose labels lie in patches of 30 pixels."""
    torch.manual_seed(0)
    encoder, decoder = NETWORKS[network]
    name, settings = KINDS[kind]
    spec = NetworkSpec(encoder, decoder, BANDS, CLASSES, (127.0,) * BANDS, (50.0,) * BANDS, head="cosine")
    method = METHODS[name]
    config = method.config_class(**({"cell": CELL} if name == "c2fnet" else {}), **settings)
    made = as_in_training(method(build_network(spec)[0], config, [1] * CLASSES))
    coarse = torch.randint(0, CLASSES, (BATCH, 1, 5, 5))
    mask = coarse.repeat_interleave(30, 2).repeat_interleave(30, 3)[..., :SIDE, :SIDE]
    image = (mask[:, :, None] * 40 + torch.randn(BATCH, 1, BANDS, SIDE, SIDE) * 25 + 60).clamp(0, 255)
    valid = torch.ones(BATCH, 1, 1, SIDE, SIDE, dtype=torch.bool)
    trust = torch.ones(BATCH, dtype=torch.long)
    return made, {"labelled": {"image": image.to(torch.uint8), "mask": mask, "valid": valid, "trust": trust}}


def step(method: torch.nn.Module, batches: dict[str, dict[str, torch.Tensor]], number: int) -> float:
    """Seconds of forward, losses and backward."""
    state = StepState(50, 100, 0, 1, torch.Generator().manual_seed(number))
    started = time.perf_counter()
    for _, loss in method.training_step(batches, state):
        loss.backward()
    method.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def peak(network: str, kind: str) -> float:
    """Peak memory in MiB of a process that takes two steps."""
    out = subprocess.run(
        [sys.executable, __file__, "--peak", network, kind], capture_output=True, text=True, check=True
    )
    return float(out.stdout)


def main() -> None:
    """Time the kinds in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        made = prepared(*given.peak)
        for number in range(2):
            step(*made, number)
        status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the process that started this one
        print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return
    rows = []
    for network in NETWORKS:
        made = {kind: prepared(network, kind) for kind in KINDS}
        for one in made.values():
            step(*one, 0)
        turns = [{kind: step(*one, number) for kind, one in made.items()} for number in range(given.rounds)]
        for kind in KINDS:
            rows.append([network, kind, *ratios(turns, kind, "cross-entropy"), f"{peak(network, kind):.0f}"])
    print(f"`python benchmarks/c2fnet_step.py --rounds {given.rounds}`\n")
    print(table(("network", "step", "seconds", "ratio to cross-entropy (least – most)", "peak memory, MiB"), rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
