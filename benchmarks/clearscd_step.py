"""What a step of clearscd costs beside a step with its plain terms alone, on the same network and batch.

    python benchmarks/clearscd_step.py [--rounds 6] [--threads 2]

Forward, losses and backward of 2 pairs of 512² with 3 bands and 7 classes through EfficientNet-B0 and FPN, float32,
with a memory that is full, so that every part is at work; laid out as in training. Both take turns, and a ratio is of
two steps of the same turn.
"""

from __future__ import annotations

import argparse

import torch

from c2fnet_step import as_in_training, step
from mapmend.methods import METHODS
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec
from trials import machine, ratios, table

BATCH, SIDE, BANDS, CLASSES = 2, 512, 3, 7
FILLS = 8  # steps, of 64 keys of a class, that fill a memory of 512
PLAIN = {"local": 0.0, "memory": 0.0, "bscc": 0.0}
KINDS = {"plain terms": PLAIN, "all terms": {}, "without contrast": PLAIN | {"bscc": 0.1}}


def prepared(kind: str) -> tuple[torch.nn.Module, dict[str, dict[str, torch.Tensor]]]:
    """A method, and a batch of patches of 64 pixels, a tenth of which change."""
    torch.manual_seed(0)
    method = METHODS["clearscd"]
    config = method.config_class(**KINDS[kind])
    spec = NetworkSpec(
        "tf_efficientnet_b0", "fpn", BANDS, CLASSES, (127.0,) * BANDS, (50.0,) * BANDS, pair=method.pair(config)
    )
    made = as_in_training(method(build_network(spec)[0], config, [1] * CLASSES))
    small = torch.randint(0, CLASSES, (BATCH, 2, 8, 8))
    small[:, 1] = torch.where(torch.rand(BATCH, 8, 8) < 0.1, small[:, 1], small[:, 0])
    mask = small.repeat_interleave(SIDE // 8, 2).repeat_interleave(SIDE // 8, 3)
    image = (mask[:, :, None] * 25 + torch.randn(BATCH, 2, BANDS, SIDE, SIDE) * 20 + 60).clamp(0, 255)
    batch = {
        "image": image.to(torch.uint8),
        "mask": mask,
        "change": (mask[:, 0] != mask[:, 1]).long(),
        "valid": torch.ones(BATCH, 2, 1, SIDE, SIDE, dtype=torch.bool),
        "trust": torch.ones(BATCH, dtype=torch.long),
    }
    return made, {"labelled": batch}


def main() -> None:
    """Time the kinds in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    made = {kind: prepared(kind) for kind in KINDS}
    for one in made.values():
        step(*one, 0)
    for number in range(1, FILLS):
        step(*made["all terms"], number)
    turns = [{kind: step(*one, number) for kind, one in made.items()} for number in range(given.rounds)]
    rows = [[kind, *ratios(turns, kind, "plain terms")] for kind in KINDS]
    print(f"`python benchmarks/clearscd_step.py --rounds {given.rounds} --threads {given.threads}`\n")
    print(table(("step", "seconds", "ratio to plain terms (least – most)"), rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
