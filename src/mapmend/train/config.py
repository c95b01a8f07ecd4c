"""Settings of the training loop, whatever the method."""

from typing import Annotated, Literal

from pydantic import Field

from mapmend.core.settings import settings

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

FREE = ("workers", "threads", "max_minutes", "accelerator", "devices", "log_every", "checkpoint_every", "tensorboard")
"""Fields that may differ between two sessions of one training."""


@settings
class LoopConfig:
    """How long, how fast and on what a method is trained; the defaults suit minutes on a CPU.

    Attributes:
        steps: optimiser steps.
        batch: samples per step, process and loader.
        lr: learning rate of the encoder after warm-up.
        head_lr: what the learning rate is multiplied with outside of the encoder.
        weight_decay: AdamW's; norms, biases and position embeddings have none.
        warmup: share of the training over which the rate rises linearly from 0.
        schedule: poly (power 1) or cosine, both to 0 at the end, or constant.
        clip: the gradient's norm is cut to this; 0 leaves it.
        ema_decay: of the running average of weights and buffers, which is validated and deployed; 0 for none.
        precision: 32-true or bf16-mixed.
        validate_every: steps between evaluations on the validation set.
        patience: evaluations without a better one after which training stops; 0 never stops.
        max_minutes: training ends cleanly about here, the last evaluation included, and the rate falls to 0 by then.
            What is learned then depends on the machine's speed: such a run cannot be reproduced bit for bit.
        seed: of every random draw in the loop.
        workers: processes that read samples; 0 reads in the training process.
        threads: of torch on the CPU; None leaves torch's choice. Bits repeat at equal threads only.
        accelerator: auto, cpu, cuda or mps.
        devices: how many on this machine; None is one process, or what torchrun or SLURM started.
        channels_last: memory layout in which convolutions are fast.
        log_every: steps between rows of the log.
        checkpoint_every: steps between checkpoints.
        tensorboard: write events beside the log as well.
    """

    steps: Positive = 600
    batch: Positive = 8
    lr: Annotated[float, Field(gt=0)] = 1e-3
    head_lr: Annotated[float, Field(gt=0)] = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Share = 0.05
    schedule: Literal["poly", "cosine", "constant"] = "cosine"
    clip: Annotated[float, Field(ge=0)] = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    validate_every: Positive = 100
    patience: Whole = 0
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    seed: Whole = 0
    workers: Whole = 2
    threads: Positive | None = None
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Positive | None = None
    channels_last: bool = True
    log_every: Positive = 10
    checkpoint_every: Positive = 100
    tensorboard: bool = False
